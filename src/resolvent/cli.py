"""The command line: parses, calls, prints."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from resolvent import __version__
from resolvent.datasets import read_npy
from resolvent.diagnose_command import diagnose_command
from resolvent.doctor import doctor_command
from resolvent.experiments import FIGURES, SCALES
from resolvent.explorer.command import explore_command
from resolvent.models.pooled import NAMED_WEIGHTS, PooledSequences
from resolvent.planning import plan
from resolvent.positions import Correlated, Prefix, SingleFactor
from resolvent.spikes import TABLES
from resolvent.tables import NOISES

__all__ = ["main"]

INTERRUPTED = 130


class _Refused(click.ClickException):
    exit_code = 2


class _Commands(click.Group):
    """Turns refused input into one line and status 2, and Ctrl-C into a line and status 130."""

    def invoke(self, ctx: click.Context) -> Any:
        warnings.showwarning = lambda message, *rest: click.echo(f"Warning: {message}", err=True)
        try:
            return super().invoke(ctx)
        except ValueError as error:
            raise _Refused(str(error)) from None
        except MemoryError as error:
            raise _Refused(f"these sizes do not fit in memory: {error}") from None
        except OSError as error:
            raise _Refused(
                f"{error.filename2 or error.filename or 'a file'} cannot be used: {error.strerror or error}"
            ) from None
        except KeyboardInterrupt:
            kept = " What had finished is kept: the same command continues."
            click.echo(f"\nInterrupted.{kept if ctx.invoked_subcommand == 'reproduce' else ''}", err=True)
            ctx.exit(INTERRUPTED)


@click.group(
    cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="resolvent")
def main() -> None:
    """Exact high-dimensional theory of attention.

    A sequence of T tokens is pooled into one vector by weights; tokens come from a table of V
    embeddings in d dimensions, N sequences are observed. Will the hidden signal survive?

    \b
    Try:
      resolvent predict -d 400 -V 1600 -N 1200 -T 50 --prefix 10 --signal 0.8
      resolvent simulate -d 400 -V 1600 -N 1200 -T 50 --prefix 10 --signal 0.8 --draws 10
      resolvent plan --overlap 0.7 -d 400 -V 1600 --snr 5 --signal 1
      resolvent diagnose embeddings.npy
      resolvent reproduce --out report
      resolvent doctor
    """


def _model_options(function: Callable[..., Any]) -> Callable[..., Any]:
    options = (
        click.option("-d", "--dimension", type=int, required=True, help="Embedding dimension d."),
        click.option("-V", "--vocabulary", type=int, required=True, help="Tokens in the table V (even)."),
        click.option("-N", "--samples", type=int, required=True, help="Number of sequences N."),
        click.option("-T", "--length", type=int, help="Sequence length T (with --prefix)."),
        click.option("--prefix", type=int, help="The first PREFIX positions carry the same sign."),
        click.option(
            "--loadings", help="Correlation of each position with the label, comma-separated or a .npy file."
        ),
        click.option("--correlation", help="Correlation matrix R of the positions, a .npy file."),
        click.option(
            "--weights",
            default="mean",
            show_default=True,
            help=f"{', '.join(NAMED_WEIGHTS)}, or numbers: comma-separated or a .npy file.",
        ),
        click.option("--signal", type=float, required=True, help="Signal norm ‖mu‖."),
        click.option(
            "--table",
            type=click.Choice(TABLES),
            default="mixture",
            show_default=True,
            help="mixture is the table itself; balanced (class means without noise) is where the published "
            "formulas hold.",
        ),
        click.option("--uncentred", is_flag=True, help="Second-moment matrix, with its spurious mean spike."),
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
    )
    for option in reversed(options):
        function = option(function)
    return function


def _numbers(name: str, text: str) -> np.ndarray:
    if text.endswith(".npy"):
        if not Path(text).is_file():
            raise ValueError(f"--{name} must be an existing .npy file, got {text!r}")
        try:
            return read_npy(Path(text))
        except Exception as error:  # whatever a damaged file makes the reader raise
            raise ValueError(f"--{name} {text!r} cannot be read as .npy: {error}") from None
    try:
        return np.array([float(part) for part in text.split(",")])
    except ValueError:
        names = f"{', '.join(NAMED_WEIGHTS)}, " if name == "weights" else ""
        raise ValueError(
            f"--{name} must be {names}comma-separated numbers or a .npy file, got {text!r}"
        ) from None


def _model(noise: str = "gaussian", **given: Any) -> PooledSequences:
    chosen = [name for name in ("prefix", "loadings", "correlation") if given[name] is not None]
    if len(chosen) != 1:
        raise ValueError("positions need exactly one of --prefix (with --length), --loadings, --correlation")
    if given["prefix"] is not None:
        if given["length"] is None:
            raise ValueError("--prefix needs --length")
        if not 0 <= given["prefix"] <= given["length"]:
            raise ValueError(
                f"--prefix must lie between 0 and --length {given['length']}, got {given['prefix']}"
            )
        positions: Any = Prefix(given["length"], given["prefix"])
    elif given["loadings"] is not None:
        positions = SingleFactor(_numbers("loadings", given["loadings"]))
    else:
        positions = Correlated(_numbers("correlation", given["correlation"]))
    if given["length"] not in (None, positions.length):
        raise ValueError(f"--length {given['length']} does not match the {positions.length} positions given")
    weights = given["weights"]
    return PooledSequences(
        given["dimension"],
        given["vocabulary"],
        given["samples"],
        positions,
        weights if weights in NAMED_WEIGHTS else _numbers("weights", weights),
        given["signal"],
        table=given["table"],
        noise=noise,
        centred=not given["uncentred"],
    )


@main.command()
@_model_options
def predict(as_json: bool, **given: Any) -> None:
    """Predict outlier, threshold and alignment from the exact theory.

    \b
    Examples:
      resolvent predict -d 400 -V 1600 -N 1200 -T 50 --prefix 10 --signal 0.8
      resolvent predict -d 400 -V 1600 -N 1200 --loadings 0.9,0.5,0.2 --weights optimal --signal 1 --json

    \b
    The rows (eigenvalues are those of the covariance of the pooled vectors):
      alpha, kappa, snr   pooled signal, pooled noise, their ratio: all that the weights decide
      q, threshold        strength of the spike, and what it must exceed to show
      critical_signal     the signal from which on it does
      edge, outlier       right edge of the noise bulk; the eigenvalue beyond it, if there is one
      overlap             squared cosine of its eigenvector with the signal: the product of what
                          a finite table (population_overlap), finite data (sample_overlap) and
                          the noise of the class means (direction_factor) leave of it
    The last column has the formulas as published, for a balanced table.
    """
    prediction = _model(**given).predict()
    if as_json:
        click.echo(json.dumps(_plain(prediction), indent=2))
        return
    published = prediction.published
    assert published is not None
    click.echo(f"{'':20}{'exact':>12}  {'as published':>12}")
    for name in (
        "alpha",
        "kappa",
        "snr",
        "q",
        "threshold",
        "critical_signal",
        "edge",
        "outlier",
        "overlap",
        "population_overlap",
        "sample_overlap",
        "direction_factor",
    ):
        values = [float(getattr(p, name)) for p in (prediction, published)]
        click.echo(f"{name:20}{_show(values[0]):>12}  {_show(values[1]):>12}")
    if prediction.mean_spike is not None:
        spike = prediction.mean_spike
        click.echo(
            f"spurious mean spike: q {_show(spike.q)}, outlier {_show(spike.outlier)} (carries no signal)"
        )
    click.echo(_verdict(prediction))


def _verdict(prediction: Any) -> str:
    if np.isnan(float(prediction.outlier)):
        return (
            f"No outlier: q is not above its threshold. The signal shows from ‖mu‖ = "
            f"{_show(prediction.critical_signal)} on."
        )
    return (
        f"An outlier at {_show(prediction.outlier)}, beyond the edge {_show(prediction.edge)}; its eigenvector has "
        f"squared overlap {_show(prediction.overlap)} with the signal."
    )


@main.command()
@_model_options
@click.option(
    "--noise", type=click.Choice(NOISES), default="gaussian", show_default=True, help="Table noise."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the first draw.")
@click.option("--draws", type=click.IntRange(min=1), default=1, show_default=True, help="Number of draws.")
@click.option("--top", type=int, help="Only the TOP largest eigenvalues, by Lanczos (for large d).")
@click.option("--jobs", type=int, help="Parallel jobs; -1: one a core.")
def simulate(
    as_json: bool, noise: str, seed: int, draws: int, top: int | None, jobs: int | None, **given: Any
) -> None:
    """Draw tables and sequences, and set the result beside the theory.

    \b
    Example:
      resolvent simulate -d 400 -V 1600 -N 1200 -T 50 --prefix 10 --signal 0.8 --draws 10
    """
    from resolvent.arguments import seed_number
    from resolvent.sweeps import run_all

    if jobs == 0:
        raise ValueError("--jobs must not be 0; -1 takes one a core")
    model = _model(noise, **given)
    tasks = [{"model": model, "seed": seed_number(seed) + i, "top": top} for i in range(draws)]
    found = run_all(_simulate_one, tasks, label="draws", jobs=jobs, progress=sys.stderr.isatty())
    if as_json:
        click.echo(json.dumps([_plain(draw) for draw in found], indent=2))
        return
    prediction = model.predict()
    spike = prediction.mean_spike
    click.echo(f"{'':20}{'theory':>12}  {'simulation':>12}  {'std. error':>12}")
    for name in ("top_eigenvalue", "second_eigenvalue", "overlap", "mean_outlier", "mean_overlap"):
        values = [getattr(draw, name) for draw in found]
        if values[0] is None:
            continue
        limit = getattr(spike, name[5:]) if name.startswith("mean_") else getattr(prediction, name)
        error = _show(np.std(values, ddof=1) / np.sqrt(draws)) if draws > 1 else ""
        click.echo(f"{name:20}{_show(limit):>12}  {_show(np.mean(values)):>12}  {error:>12}")


def _simulate_one(model: PooledSequences, seed: int, top: int | None) -> Any:
    return model.simulate(seed, top=top)


@main.command("plan")
@click.option(
    "--overlap", type=float, required=True, help="Wanted squared overlap with the signal, in (0, 1)."
)
@click.option("-d", "--dimension", type=int, required=True, help="Embedding dimension d.")
@click.option("-V", "--vocabulary", type=int, help="Tokens in the table V (even).")
@click.option("-N", "--samples", type=int, help="Number of sequences N.")
@click.option("--snr", type=float, help="alpha/kappa of the pooling weights.")
@click.option("--signal", type=float, help="Signal norm ‖mu‖.")
@click.option("--table", type=click.Choice(TABLES), default="mixture", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plan_command(as_json: bool, overlap: float, **given: Any) -> None:
    """Find the smallest samples, vocabulary, snr or signal that reaches an alignment.

    Leave out the one quantity to be solved for.

    \b
    Examples:
      resolvent plan --overlap 0.7 -d 400 -V 1600 --snr 5 --signal 1      (how many sequences?)
      resolvent plan --overlap 0.7 -d 400 -V 1600 -N 1200 --signal 1      (which snr?)
    """
    answer = plan(overlap, **given)
    click.echo(json.dumps(_plain(answer), indent=2) if as_json else str(answer))


@main.command()
@click.option("--out", default="report", show_default=True, type=click.Path(path_type=Path), help="Folder.")
@click.option("--scale", type=click.Choice(SCALES), default="quick", show_default=True, help="How large.")
@click.option(
    "--only",
    multiple=True,
    metavar="FIGURE",
    type=click.Choice(list(FIGURES)),
    help=f"Only this figure (repeatable): {', '.join(FIGURES)}.",
)
@click.option(
    "--table",
    "tables",
    multiple=True,
    help="Add your own table to Figure 7: FILE.npy, FILE.safetensors or FILE.safetensors:TENSOR.",
)
@click.option("--jobs", type=int, default=-1, show_default=True, help="Parallel jobs; -1: one a core.")
@click.option("--redraw", is_flag=True, help="Only draw again, from the data of an earlier run.")
def reproduce(
    out: Path, scale: str, only: tuple[str, ...], tables: tuple[str, ...], jobs: int, redraw: bool
) -> None:
    """Reproduce the paper: every figure, its data, and a report.

    Writes OUT/index.html (self-contained), OUT/figures and OUT/data. Finished work is kept in OUT/cache,
    so that the same command continues after an interruption.
    """
    try:
        import jinja2  # noqa: F401
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ValueError(f"figures need the plot extra: pip install 'resolvent[plot]' ({error})") from None
    import resolvent.reproduce as work

    if str(out) in ("", "."):
        raise ValueError("--out must name a folder of its own, not the current one")
    if tables and only and "real_tables" not in only:
        raise ValueError("--table adds to the figure real_tables, which --only leaves out")

    if redraw:
        report = work.redraw(out, only=only)
    else:
        if jobs == 0:
            raise ValueError("--jobs must not be 0; -1 takes one a core")
        report = work.reproduce(
            out,
            scale=scale,
            only=only,
            tables=tables,
            jobs=jobs,
            progress=sys.stderr.isatty(),
            say=click.echo,
        )
    click.echo(f"Report: {report}")


main.add_command(diagnose_command)
main.add_command(explore_command)
main.add_command(doctor_command)


def _show(value: Any) -> str:
    value = float(value)
    return "none" if np.isnan(value) else f"{value:.5g}"


def _plain(value: Any) -> Any:
    """Dataclasses, laws and arrays as JSON knows them; NaN and infinity become null."""
    from resolvent.laws import Law

    if isinstance(value, Law):
        assert is_dataclass(value)
        parameters = {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
        return parameters | {"support": _plain(list(value.support)), "atom": _plain(value.atom)}
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value) if field.repr}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return [_plain(v) for v in value] if value.ndim else _plain(value.item())
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    if isinstance(value, np.integer):
        return int(value)
    return value
