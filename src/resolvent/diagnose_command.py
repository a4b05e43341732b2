"""The command ``resolvent diagnose``: a file of embeddings in, the number of real components out."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from resolvent.diagnosis import Diagnosis

__all__ = ["diagnose_command"]

PICTURES = (".png", ".svg", ".pdf")


@click.command("diagnose")
@click.argument("file")
@click.option("--tensor", help="Array of an .npz or tensor of a .safetensors file.")
@click.option("--column", help="Column of a .parquet, .arrow or .feather file.")
@click.option(
    "--law",
    type=click.Choice(["auto", "plain", "product"]),
    default="auto",
    show_default=True,
    help="Bulk: one Marchenko-Pastur factor, two, or two only where one does not fit.",
)
@click.option("--uncentred", is_flag=True, help="Second-moment matrix: column means are not subtracted.")
@click.option(
    "--level", type=float, default=0.01, show_default=True, help="How often pure noise may show a component."
)
@click.option(
    "--permutations",
    type=int,
    default=0,
    show_default=True,
    help="Draws of parallel analysis; 0 takes its exact limit.",
)
@click.option(
    "--tokens",
    help="Token ids (N, T), a file of the same kinds: FILE is then the embedding table, and pooled documents are "
    "tested against tokens drawn independently.",
)
@click.option(
    "--weights", type=click.Choice(["mean", "causal"]), help="Of pooling, with --tokens.  [default: mean]"
)
@click.option("--plot", type=click.Path(path_type=Path), help="Draw it: OUT.png, OUT.svg or OUT.pdf.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def diagnose_command(
    file: str,
    tensor: str | None,
    column: str | None,
    law: str,
    uncentred: bool,
    level: float,
    permutations: int,
    tokens: str | None,
    weights: str | None,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Say how many components of the embeddings in FILE are real, and how sure that is.

    FILE holds a real matrix, one sample a row: .npy, .npz, .safetensors, .parquet, .arrow or .feather.

    \b
    Examples:
      resolvent diagnose embeddings.npy
      resolvent diagnose model.safetensors --tensor embeddings.weight --plot spectrum.png
      resolvent diagnose table.npy --tokens ids.npy --weights mean --json

    \b
    How to read it (eigenvalues are those of the covariance: squared units of the data):
      bulk          the law of pure noise, and how far the data are from it
      rule          each usual rule, its threshold and its count; the last line goes by Tracy-Widom
      void          the assumption of a rule does not hold here: the warning says why, and what to do
      spike         variance along the component, noise included, that the eigenvalue overstates
      overlap       squared cosine of the component found with the true one; in span: with the span
                    of all true ones
      p-value       how often pure noise shows so large an eigenvalue
    """
    if tokens is None and weights is not None:
        raise ValueError("--weights pool tokens: they need --tokens")
    if tokens is not None:
        for option, given in (("--law", law != "auto"), ("--uncentred", uncentred)):
            if given:
                raise ValueError(f"{option} cannot be used with --tokens: the null fixes law and centring")
    if plot is not None:
        _check_plot(plot)
    from resolvent import datasets, nulls
    from resolvent.diagnosis import diagnose

    x = datasets.read(file, tensor=tensor, column=column)
    null = None
    if tokens is not None:
        null = nulls.token_noise(datasets.read_tokens(tokens), x, weights or "mean")
        x = null.features
    report = diagnose(x, null=null, law=law, centred=not uncentred, level=level, permutations=permutations)
    if plot is not None:
        _draw(plot, report)
    click.echo(json.dumps(report.to_dict(), indent=2, allow_nan=False) if as_json else str(report))


def _check_plot(path: Path) -> None:
    """Refuse a picture that cannot be drawn before anything is computed."""
    if path.suffix not in PICTURES:
        raise ValueError(f"--plot must end in .png, .svg or .pdf, got {str(path)!r}")
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ValueError(f"figures need the plot extra: pip install 'resolvent[plot]' ({error})") from None
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise ValueError(f"--plot {str(path)!r} cannot be written: {error.strerror}") from None
    if path.is_dir():
        raise ValueError(f"--plot must be a file, got the folder {str(path)!r}")


def _draw(path: Path, report: Diagnosis) -> None:
    """Write beside the target and rename, so that nothing half-written is ever seen."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    from resolvent import plots

    part = path.with_name(f".{path.stem}.part{path.suffix}")
    stamp: dict[str, Any] = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    with rc_context(plots.STYLE):
        figure = Figure(figsize=(7, 4.2))
        plots.diagnosis(figure.add_subplot(), report)
        try:
            figure.savefig(part, metadata=stamp.get(path.suffix))
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
