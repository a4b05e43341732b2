"""What the data of a figure say of its theory: agree, differ, or void where nothing can be compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from resolvent import spikes
from resolvent.compare import ALLOWANCE, SPARSE_TOKEN_ALLOWANCE
from resolvent.comparisons import ERRORS, Verdict, at, both, mean_and_error, none_expected, size_of, within
from resolvent.experiments import load

if TYPE_CHECKING:
    import xarray

__all__ = ["verdict"]

WINDOW = (0.6, 1.5)  # of q to its threshold: there limits are approached only as d^(-1/3)


def verdict(name: str, dataset: xarray.Dataset) -> Verdict:
    """Hold the simulation of a figure's data against its theory.

    Parameters
    ----------
    name : str
        One of `resolvent.experiments.FIGURES`.
    dataset : xarray.Dataset
        What `run` of that figure gives, with ``scale`` among its attributes.

    Returns
    -------
    Verdict
        "agree" where every difference lies within four standard errors plus what a finite dimension may add, "differ"
        where one does not, "void" where there is nothing to compare.

    Examples
    --------
    >>> import xarray
    >>> verdict("real_tables", xarray.Dataset()).word
    'void'
    """
    if name in UNPREDICTED:
        return Verdict("void", UNPREDICTED[name])
    try:
        return JUDGES[name](dataset)
    except (AttributeError, KeyError) as error:  # how xarray says that a variable is not there
        return Verdict("void", f"these data are of another version, and lack what is compared ({error})")


def _far(
    signal: Any,
    snr: Any,
    delta: Any,
    gamma: Any,
    table: str = "mixture",
    window: tuple[float, float] = WINDOW,
) -> np.ndarray:
    """Whether a pooled model lies away from its transition."""
    q = snr * (np.square(signal) + (delta if table == "mixture" else 0.0)) - delta
    ratio = np.asarray(q / spikes.threshold(delta, gamma))
    return (ratio <= window[0]) | (ratio >= window[1])


def _alignment(data: xarray.Dataset) -> Verdict:
    mean, error = mean_and_error(data.overlap)
    far = _far(data.signal.values, data.snr.values[..., None], 1 / 4, 1 / 3)  # as V = 4d, N = 3d
    dims = ("panel", "weights", "signal")
    difference = (mean - data.predicted_overlap).transpose(*dims).values
    return _pooled(
        np.where(far, difference, np.nan), error.transpose(*dims).values, size_of("alignment", data)
    )


def _pooled(
    difference: Any, error: Any, dimension: float, where: str = ", away from the transition"
) -> Verdict:
    plus = f" plus {ALLOWANCE:g}/d, d = {dimension:g}{where}"
    return within(difference, error, ALLOWANCE / dimension, plus=plus)


def _heat_map(data: xarray.Dataset) -> Verdict:
    """Rows of the map are independent: each gives the mean of its differences."""
    theory = data.alignment.interp(delta=data.simulated_delta.values, signal=data.simulated_signal.values)
    boundary = data.boundary.interp(delta=data.simulated_delta.values).values[..., None]
    far = np.abs(data.simulated_signal.values - boundary) > 0.25
    difference = np.where(far, data.simulated.values - theory.values, np.nan)
    rows = np.nanmean(difference, axis=-1)
    error = rows.std(axis=-1, ddof=1) / np.sqrt(rows.shape[-1])
    allowance = ALLOWANCE / size_of("heat_map", data)
    return within(
        rows.mean(axis=-1),
        error,
        allowance,
        what="maps, mean difference off the boundary",
        plus=f" plus {ALLOWANCE:g}/d",
    )


def _spectra(data: xarray.Dataset) -> Verdict:
    from resolvent.laws import MarchenkoPasturProduct

    found, good = [], True
    for name in data["weights"].values:
        part = data.sel(weights=name)
        law = MarchenkoPasturProduct((data.delta, data.gamma), float(part.kappa))
        values = part.eigenvalues.values
        beyond = int((values > 1.02 * law.support[-1][1]).sum())
        expected = int(np.isfinite(part.outlier))
        bulk = values[beyond:]
        distance = float(np.abs(law.cdf(bulk) - np.arange(bulk.size, 0, -1) / bulk.size).max())
        good &= beyond == expected and distance < ALLOWANCE / values.size
        found.append(
            f"{name} weights: {beyond} beyond the bulk, {expected} predicted, at {values[0]:.4g} against "
            f"{float(part.outlier):.4g}; distance of the bulk {distance:.4f}"
        )
    return Verdict("agree" if good else "differ", "; ".join(found) + " (one draw each)")


def _critical_signal(data: xarray.Dataset) -> Verdict:
    exact = data.critical_signal.sel(prefix=data.simulated_prefix.values).values
    seen = exact > 0  # else every signal shows, and there is no crossing
    difference = np.where(seen, data.crossing.values - exact, np.nan)
    return within(difference, data.crossing_error.values, what="crossings")


def _ridge(data: xarray.Dataset) -> Verdict:
    mean, error = mean_and_error(data.accuracy.sel(weights=data.fixed.values))
    theory = at(data.predicted_accuracy, fine_signal=data.signal)
    return within(
        mean.values - theory,
        error,
        1 / size_of("ridge", data),
        plus=f" plus 1/d, d = {size_of('ridge', data):g}",
    )


def _published(data: xarray.Dataset) -> Verdict:
    mean, error = mean_and_error(data.overlap)
    module, own = load("published"), {}
    for formula, table in (("exact", "mixture"), ("published", "balanced")):
        theory = at(data[formula], fine_signal=data.signal)
        delta = data.delta.values[:, None]
        far = _far(data.signal.values, float(module.INFORMATIVE), delta, module.GAMMA, table)
        for drawn in ("mixture", "balanced"):
            both = far & _far(data.signal.values, float(module.INFORMATIVE), delta, module.GAMMA, drawn)
            difference = np.where(both, mean.sel(table=drawn).values - theory, np.nan)
            own[formula, drawn] = _pooled(
                difference, error.sel(table=drawn).values, size_of("published", data)
            )
    exact, balanced = own["exact", "mixture"], own["published", "balanced"]
    wrong = own["published", "mixture"].detail.partition(" points")[0]
    word = "agree" if exact.word == balanced.word == "agree" else "differ"
    return Verdict(
        word,
        f"exact formula on its own table: {exact.detail}; published formula on a balanced table: {balanced.detail}. "
        f"The published formula on the mixture table: {wrong}",
    )


def _finite_size(data: xarray.Dataset) -> Verdict:
    bias = within(
        data.scaled_bias,
        data.scaled_bias_error,
        ALLOWANCE,
        what="biases times d",
        plus=f" plus {ALLOWANCE:g}",
    )
    lengths = data.length.values.astype(float)
    theory = 1 / lengths**2 - 1 / lengths[-1] ** 2
    short = within(
        data.excess.values[:-1] - theory[:-1], data.excess_error.values[:-1], what="fourth moments"
    )
    return both(bias, short)


def _agreement(data: xarray.Dataset) -> Verdict:
    agrees, z = data.agrees.values.astype(bool), np.abs(data.z.values)
    text = f"{agrees.sum()} of {agrees.size} within {ERRORS:g} standard errors plus the allowance"
    other = int(data.other_agrees.sum())
    return Verdict(
        "agree" if agrees.all() else "differ",
        f"{text}; median |z| {np.median(z):.1f}; against the other convention {other} do",
    )


def _query_alignment(data: xarray.Dataset) -> Verdict:
    theory = data.predicted.sel(fine_alpha=data.alpha.values)
    mean, error = mean_and_error(np.abs(data.alignment))
    dimension = size_of("query_alignment", data)
    plus = f" plus {SPARSE_TOKEN_ALLOWANCE:g}/d, d = {dimension:g}"
    difference = mean.values - np.abs(theory.values)
    return within(difference, error.values, SPARSE_TOKEN_ALLOWANCE / dimension, plus=plus)


def _learning_curves(data: xarray.Dataset) -> Verdict:
    module = load("learning_curves")
    off = np.abs(np.log2(data.alpha.values[:, None] / np.array([1.0, module.LENGTH]))).min(axis=1) > 0.4
    mean, error = mean_and_error(data.error)
    theory = at(data.predicted_error, fine_alpha=data.alpha)
    dims = ("trained_on", "classifier", "alpha")
    difference = np.where(off, mean.transpose(*dims).values - theory, np.nan)
    wide = (data.classifier.values == "vectorised")[:, None] & (data.alpha.values > module.WIDE)
    sizes = [size_of("learning_curves", data, key) for key in ("wide_dimension", "dimension")]
    allowance = SPARSE_TOKEN_ALLOWANCE / np.where(wide, *sizes)
    plus = f" plus {SPARSE_TOKEN_ALLOWANCE:g}/d, off the peaks"
    return within(difference, error.transpose(*dims).values, allowance, what="test errors", plus=plus)


def _separability(data: xarray.Dataset) -> Verdict:
    mean, error = mean_and_error(data.by_signal)
    theory = at(data.predicted_by_signal, fine_signal=data.signal)
    sizes = [
        size_of("separability", data, "wide_dimension" if name == "vectorised" else "dimension")
        for name in data.classifier.values
    ]
    return within(
        mean.values - theory,
        error.values,
        SPARSE_TOKEN_ALLOWANCE * theory / np.array(sizes)[:, None],
        plus=f" plus {SPARSE_TOKEN_ALLOWANCE:g}/d of the capacity",
    )


def _oracle_error(data: xarray.Dataset) -> Verdict:
    """Attention's best temperature can only help, and nothing beats Bayes."""
    hard = at(data.hardmax, fine_length=data.length)
    above = np.maximum(data.attention.values - hard, 0)
    first = within(above, data.attention_spread.values, what="errors of attention at most the hard max's,")
    below = np.maximum(data.bayes.values - data.attention.values, 0)
    spread = np.hypot(data.attention_spread.values, data.bayes_spread.values)
    second = within(below, spread, what="errors of Bayes at most attention's,")
    return both(first, second)


def _crossover(data: xarray.Dataset) -> Verdict:
    """Sides that theory and simulation give to a point, where the simulation decides."""
    mean, error = mean_and_error(data.difference)
    side = np.sign(
        data.log_ratio.interp(map_signal=data.signal.values, map_alignment=data.alignment.values).values
    )
    decided = np.abs(mean.values) > ERRORS * error.values
    wrong = int((decided & (np.sign(mean.values) != side)).sum())
    text = f"{int(decided.sum()) - wrong} of {int(decided.sum())} points that lie {ERRORS:g} standard errors from a tie"
    return Verdict(
        "differ" if wrong else "agree", f"{text} are on the predicted side; {int((~decided).sum())} undecided"
    )


def _equivalence(data: xarray.Dataset) -> Verdict:
    reached = data.reached.values.astype(bool)
    return Verdict(
        "agree" if reached.all() else "differ",
        f"{reached.sum()} of {reached.size} trained layers are the predicted gradient step, at its risk",
    )


def _drift(data: xarray.Dataset) -> Verdict:
    parts = [
        ((data.simulated - data.exact).values, data.standard_error.values),
        ((data.fitted - data.weights).values, data.fitted_error.values),
        ((data.simulated_excess - data.excess).values, data.excess_error.values),
    ]
    return within(*(np.concatenate([np.ravel(part[i]) for part in parts]) for i in range(2)))


def _low_rank(data: xarray.Dataset) -> Verdict:
    by_length = data.by_length.sel(fine_length=data.length.values).values
    exact = {"by_rank": data.by_rank.values, "by_length": by_length, "adapted": data.adapted.values}
    difference = [np.ravel(data[f"simulated_{key}"].values - exact[key]) for key in exact]
    return within(
        np.concatenate(difference), np.concatenate([np.ravel(data[f"error_{key}"].values) for key in exact])
    )


def _task_correlation(data: xarray.Dataset) -> Verdict:
    exact = data.exact.sel(fine_length=data.length.values).values
    return within(data.simulated.values - exact, data.standard_error.values)


def _bad_minima(data: xarray.Dataset) -> Verdict:
    reached = data.reached.astype(bool)
    good, stuck = reached.sel(start="structured"), ~reached.sel(start="random")
    return Verdict(
        "agree" if good.all() else "differ",
        f"{int(good.sum())} of {good.size} structured starts reach the optimum; {int(stuck.sum())} of {stuck.size} random "
        "ones do not",
    )


def _nadaraya_watson(data: xarray.Dataset) -> Verdict:
    """Where few coordinates matter, the oracle's metric errs less than the isotropic one."""
    few = data.error.isel(function=0)
    gain, error = mean_and_error(few.sel(metric="isotropic") - few.sel(metric="oracle"))
    better = gain.values > 2 * error.values
    return Verdict(
        "agree" if better.all() else "differ",
        f"{better.sum()} of {better.size} sample sizes at which the oracle's metric errs less, by over two standard errors, "
        f"where two of eight coordinates matter",
    )


def _metric_snr(data: xarray.Dataset) -> Verdict:
    mean, error = mean_and_error(data.snr)
    theory = at(data.predicted_snr, fine_beta=data.beta)
    dimension = float(load("metric_snr").DIMENSION)
    return within(
        mean.values - theory,
        error.values,
        ALLOWANCE * np.abs(theory) / dimension,
        plus=f" plus {ALLOWANCE:g}/d of it",
    )


def _spurious_outlier(data: xarray.Dataset) -> Verdict:
    mean, error = mean_and_error(data.overlap)
    theory = at(data.predicted_overlap, fine_beta=data.beta)
    return _pooled(mean.values - theory, error.values, float(load("spurious_outlier").DIMENSION), "")


def _components(data: xarray.Dataset) -> Verdict:
    """The rule that `diagnose` answers with may fail at its level of 1 %, no oftener."""
    from scipy import stats

    first = data["count"].isel(rule=0)
    wrong, many = int((first != data.spikes).sum()), first.size
    return Verdict(
        "agree" if wrong <= stats.binom.ppf(0.999, many, 0.01) else "differ",
        f"{first.rule.item()} is right in {many - wrong} of {many} samples (level 1 %)",
    )


def _elliptical_claims(data: xarray.Dataset) -> Verdict:
    found = data.verdict.values
    yes, no, open_ = (int((found == value).sum()) for value in (1, -1, 0))
    word = "differ" if no else "agree" if yes == found.size else "void"
    return Verdict(
        word, f"of {found.size} published claims {yes} reproduce, {no} do not, {open_} are undecided"
    )


JUDGES: dict[str, Callable[[Any], Verdict]] = {
    "heat_map": _heat_map,
    "spectra": _spectra,
    "alignment": _alignment,
    "critical_signal": _critical_signal,
    "ridge": _ridge,
    "published": _published,
    "finite_size": _finite_size,
    "agreement": _agreement,
    "static_null": lambda data: none_expected(data.whitened_null_tests, "components of permuted text"),
    "salad_null": lambda data: none_expected(data.salad_tests, "components of held-out salad"),
    "components": _components,
    "learning_curves": _learning_curves,
    "query_alignment": _query_alignment,
    "separability": _separability,
    "oracle_error": _oracle_error,
    "crossover": _crossover,
    "equivalence": _equivalence,
    "task_correlation": _task_correlation,
    "low_rank": _low_rank,
    "drift": _drift,
    "bad_minima": _bad_minima,
    "nadaraya_watson": _nadaraya_watson,
    "metric_snr": _metric_snr,
    "spurious_outlier": _spurious_outlier,
    "elliptical_claims": _elliptical_claims,
}

# figures of measurements that no theory predicts, or whose data are not enough for a verdict
UNPREDICTED = {
    "real_tables": "nothing is drawn from a model: laws are fitted, and their distances stand in the caption",
    "depth_similarity": "trained networks are measured, and no theory predicts their numbers",
    "pooling_static": "accuracies on real text are measured, and no theory predicts them",
    "pooling_contextual": "accuracies on real text are measured, and no theory predicts them",
    "finite_length": "not judged here: tests/test_finite_length.py holds the three theories against simulation",
    "error_bars": "not judged here: tests/test_fluctuations.py counts how often intervals hold",
    "query_outliers": "not judged here: tests/test_query_attention.py holds ten settings against simulation",
    "several_classes": "not judged here: tests/test_classes.py holds random settings against simulation",
    "mixed_correlations": "not judged here: tests/test_classes.py holds mixtures against simulation",
    "real_vocabulary": "not judged here: tests/test_vocabulary.py holds random settings against simulation",
    "depth_and_heads": "not judged here: tests/test_heads.py holds ten settings against simulation",
    "loss_landscape": "not judged here: tests/test_downstream.py holds ten settings against simulation",
}
