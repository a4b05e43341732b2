"""Verdicts on what goes beyond the paper: finite samples, classes, queries, vocabularies, depth, classifiers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from resolvent.downstream.classifier import CLASSIFIER_ALLOWANCE
from resolvent.experiments import load
from resolvent.finite_length import SHORT, THEORIES, heaviest_token
from resolvent.models.claims import ALLOWANCE, WINDOW
from resolvent.models.classes import SPIKE_ALLOWANCE
from resolvent.models.finite_size import EIGENVALUE_ALLOWANCE
from resolvent.models.query_attention import OUTLIER_ALLOWANCE
from resolvent.models.value_layers import OUTLIER_ALLOWANCE as DEPTH_ALLOWANCE
from resolvent.verdicts.comparisons import Verdict, at, mean_and_error, size_of, together, within

__all__ = ["JUDGES"]

# c of the allowance c/d where a model does not state its own
OBJECTIVE_ALLOWANCE = 9.0  # tests/test_downstream.py: where one position takes all, tokens repeat
LEARNED_EXCESS = 19.0  # downstream.md, section 2: what learned weights of a finite sample add to the error
RARE = 40  # sequences that carry the signal, below which a sample is worse than its limit
CONTROL = 2.0  # times the distance of Gaussian features to the law they have


def _finite_length(data: Any) -> Verdict:
    """Each theory where it speaks: the map from T_eff = 2, trees wherever they were solved."""
    size = data.simulated.where(data["quantity"] != "overlap", 1.0)
    allowed = (EIGENVALUE_ALLOWANCE / size_of("finite_length", data) * size).values
    difference = (data.simulated - data.predicted).transpose("theory", "length", "quantity").values
    difference[1, data.length.values < SHORT] = np.nan
    lost = np.array([_lost_among_tokens(data, int(length)) for length in data.length.values])
    difference[2, lost] = np.nan
    limit, by_map, on_trees = (
        within(values, data.error.values, allowed, plus=" plus 1/d of it", what=f"points of the {name}")
        for name, values in zip((THEORIES[0], f"{THEORIES[1]}, T ≥ {SHORT:g},", THEORIES[2]), difference)
    )
    where = ", ".join(f"T = {length}" for length in data.length.values[lost])
    tokens = f" (not judged: {where}, where a token is a stronger spike than the signal)" if where else ""
    naive = limit.detail.partition(" points")[0]
    return together(by_map, on_trees, more=f"{tokens}. The infinite length at all T: {naive}")


def _lost_among_tokens(data: Any, length: int) -> bool:
    """Whether the most used token is a stronger spike than the signal, and mixes with it (finite_length.md, section 5)."""
    module = load("finite_length")
    model = module.setting(int(size_of("finite_length", data)), length, module.SIGNAL)
    limit = model.predict(theory=THEORIES[0])
    sizes = (model.dimension, model.vocabulary, model.samples)
    return heaviest_token(model.pooling_weights, *sizes).share > float(limit.q / limit.threshold)


def _error_bars(data: Any) -> Verdict:
    """Shares of draws inside 95 % intervals: 92 to 98 % are claimed, and settings are independent."""
    module = load("error_bars")
    half = (module.WANTED[1] - module.WANTED[0]) / 2
    shares = np.concatenate([data[f"{name}_coverage"].values for name in module.QUANTITIES])
    random = data.random_coverage.values

    def claim(share: np.ndarray, draws: float) -> Verdict:
        error = np.sqrt(module.NOMINAL * (1 - module.NOMINAL) / draws)
        return within(
            share - module.NOMINAL,
            np.full(share.shape, error),
            half,
            what=f"shares of {draws:g} draws",
            plus=" of 92 to 98 %",
        )

    return together(
        claim(shares, data.attrs["draws"]),
        claim(random, data.attrs["random_draws"]),
        more=f"; mean over random settings {np.nanmean(random):.3f}",
    )


def _query_outliers(data: Any) -> Verdict:
    """Leading eigenvalues of a query across the signal; overlaps of one that knows part of it."""
    module = load("query_outliers")
    across, aligned = (float(build.dimension) for build in (module.across(0.1), module.aligned("cosh", 0, 0)))
    named = data.outlier.interp(fine_beta=data.beta.values)
    largest_first = -np.sort(-named.where(named.notnull(), -np.inf).transpose("fine_beta", "name").values)
    expected = np.where(np.isfinite(largest_first[:, :2]), largest_first[:, :2], np.nan)
    mean, error = mean_and_error(data.eigenvalues)
    outliers = within(
        mean.transpose("beta", "rank").values - expected,
        error.transpose("beta", "rank").values,
        OUTLIER_ALLOWANCE / across * np.abs(expected),
        what="outliers",
        plus=f" plus {OUTLIER_ALLOWANCE:g}/d of it, d = {across:g}",
    )
    difference, errors = [], []
    for theory, simulated, axis in (
        ("predicted", "simulated", "beta"),
        ("predicted_by_alignment", "simulated_by_alignment", "alignment"),
    ):
        mean, error = mean_and_error(data[simulated])
        limit = at(data[theory], **{f"fine_{axis}": data[axis]})
        dims = ("score", axis, "part")
        difference.append(np.ravel(mean.transpose(*dims).values - limit))
        errors.append(np.ravel(error.transpose(*dims).values))
    overlaps = within(
        np.concatenate(difference),
        np.concatenate(errors),
        OUTLIER_ALLOWANCE / aligned,
        what="overlaps",
        plus=f" plus {OUTLIER_ALLOWANCE:g}/d, d = {aligned:g}",
    )
    return together(outliers, overlaps)


def _several_classes(data: Any) -> Verdict:
    """Spikes apart by themselves, close ones by their plane, class-dependent correlations by the exact theory."""
    dimension = size_of("several_classes", data)
    allowance = SPIKE_ALLOWANCE / dimension
    found = load("several_classes").classes(int(dimension), data.signal.values).predict()
    ratio = found.q / np.asarray(found.threshold)[..., None]
    alone = (found.group[..., :, None] == found.group[..., None, :]).sum(axis=-1) == 1
    known = alone & (ratio > WINDOW[1])
    outliers = within(
        np.where(known, data.simulated_outlier.values / found.outlier - 1, np.nan),
        data.outlier_error.values / found.outlier,
        allowance,
        what="outliers apart from others",
        plus=f" plus {SPIKE_ALLOWANCE:g}/d, d = {dimension:g}",
    )
    overlaps = within(
        np.where(known, data.simulated_overlap.values - found.overlap, np.nan),
        data.overlap_error.values,
        allowance,
        what="of their overlaps",
        plus=None,
    )
    plane = within(
        data.plane_overlap.values - data.limit.mean("pair").values,
        data.plane_error.values,
        allowance,
        what="overlaps with planes of two",
        plus=None,
    )
    exact, shared = (
        within(
            data.unequal_simulated.values / data[name].values - 1,
            data.unequal_error.values / data[name].values,
            allowance,
            what="outliers where correlations depend on the class",
            plus=None,
        )
        for name in ("unequal_outlier", "neglected_outlier")
    )
    neglected = shared.detail.partition(" outliers")[0]
    return together(
        outliers, overlaps, plane, exact, more=f". With one R for all classes {neglected} of the last"
    )


def _mixed_correlations(data: Any) -> Verdict:
    """Mean spectrum, its spread and the accuracy, where enough sequences carry the signal."""
    dimension = size_of("mixed_correlations", data)
    theory = data.interp(grid=data.share.values)
    enough = (data.share.values * dimension >= RARE) | (np.arange(data.sizes["kind"])[:, None] > 0)
    verdicts: list[Verdict] = []
    for name, unit in (
        ("outlier", theory.outlier.values),
        ("overlap", 1.0),
        ("spread", theory.spread.values),
    ):
        difference = (data[f"simulated_{name}"].values - theory[name].values) / unit
        error = data[f"{name}_error"].values / unit
        verdicts.append(
            within(
                np.where(enough, difference, np.nan),
                error,
                SPIKE_ALLOWANCE / dimension,
                what={"outlier": "outliers", "overlap": "overlaps", "spread": "spreads"}[name],
                plus=None if verdicts else f" plus {SPIKE_ALLOWANCE:g}/d, d = {dimension:g}",
            )
        )
    accuracy = data.simulated_accuracy.values - theory.accuracy.values
    last = within(
        accuracy,
        data.accuracy_error.values,
        CLASSIFIER_ALLOWANCE / dimension,
        what="accuracies",
        plus=None,
    )
    rule = f". Not judged: fewer than {RARE} sequences that carry the signal"
    return together(*verdicts, last, more=rule)


def _real_vocabulary(data: Any) -> Verdict:
    """Outlier and overlap off the critical signal; permuted text is as near to its law as Gaussian features."""
    module, dimension = load("real_vocabulary"), size_of("real_vocabulary", data)
    ratio = data.signal.values / np.maximum(data.critical_signal.values[:, None], 1e-9)
    far = (ratio < WINDOW[0]) | (ratio > WINDOW[1])
    overlap = at(data.overlap, curve=data.signal)
    mean, error = mean_and_error(data.simulated_overlap)
    overlaps = within(
        np.where(far, mean.values - overlap, np.nan),
        error.values,
        ALLOWANCE / dimension,
        what="overlaps off the critical signal",
        plus=f" plus {ALLOWANCE:g}/d, d = {dimension:g}",
    )
    outlier = at(data.outlier, curve=data.signal)
    mean, error = mean_and_error(data.simulated_outlier)
    outliers = within(
        np.where(far & (overlap > module.ALIGNED), mean.values / outlier - 1, np.nan),
        error.values / outlier,
        ALLOWANCE / dimension,
        what="outliers",
        plus=None,
    )
    permuted, real = (
        data[f"{text}_distance"].values / data.control_distance.values for text in ("permuted", "real")
    )
    text = (
        f"distance of permuted text to its law {permuted.max():.2f} times that of Gaussian features at most (allowed "
        f"{CONTROL:g}), of real text {real.min():.1f} times at least"
    )
    spectra = Verdict("agree" if (permuted < CONTROL).all() else "differ", text)
    return together(overlaps, outliers, spectra)


def _depth_and_heads(data: Any) -> Verdict:
    dimension = size_of("depth_and_heads", data)
    found: list[Verdict] = []
    for name, what, c in (
        ("overlap", "overlaps with the image of mu", ALLOWANCE),
        ("pulled_back_overlap", "pulled back", DEPTH_ALLOWANCE),
    ):
        mean, error = mean_and_error(data[name])
        plus = f" plus {c:g}/d, d = {dimension:g}"
        found.append(within(mean - data[f"predicted_{name}"], error, c / dimension, what=what, plus=plus))
    return together(*found)


def _loss_landscape(data: Any) -> Verdict:
    """Objective, errors and accuracies of given weights; learned ones by where they end and what they add."""
    dimension = size_of("loss_landscape", data)

    def held(
        name: str, axis: str, allowance: float, what: str, part: Any = None, plus: str | None = None
    ) -> Verdict:
        theory, simulated = data[f"predicted_{name}"], data[name]
        if part is not None:
            theory, simulated = theory.sel(weights=part), simulated.sel(weights=part)
        mean, error = mean_and_error(simulated)
        fine, few = ("kappa", "near_kappa") if axis == "kappa" else ("fine_ridge", "few_ridge")
        return within(
            mean.values - at(theory, **{fine: data[few]}),
            error.values,
            allowance / dimension,
            what=what,
            plus=plus,
        )

    given, rule = ["optimal", "discriminant"], f" plus {CLASSIFIER_ALLOWANCE:g}/d, d = {dimension:g}"
    found = [
        held("accuracy", "ridge", CLASSIFIER_ALLOWANCE, "accuracies of given weights", given, rule),
        held("error", "ridge", CLASSIFIER_ALLOWANCE, "of their errors", given),
        held("classifier", "ridge", CLASSIFIER_ALLOWANCE, "accuracies of classifiers"),
        held(
            "objective", "kappa", OBJECTIVE_ALLOWANCE, "objectives", plus=f" plus {OBJECTIVE_ALLOWANCE:g}/d"
        ),
        held(
            "error",
            "ridge",
            LEARNED_EXCESS,
            "errors of learned weights",
            ["learned"],
            f" plus {LEARNED_EXCESS:g}/d",
        ),
    ]
    ridges, ends = data.few_ridge.values, data.window.values[data.window.values > 0]
    clear = (np.abs(np.log(ridges[:, None] / ends)) > np.log(1.25)).all(axis=1)
    middle = (1 + float(data.predicted_kappa.min())) / 2
    alone = at(data.predicted_kappa, fine_ridge=data.few_ridge) > middle
    right = ((data.learned_kappa.values > middle) == alone[..., None])[:, clear]
    word = "agree" if right.all() else "differ"
    text = f"{right.sum()} of {right.size} learned weights end spread, or at one position, as predicted"
    return together(*found, Verdict(word, text))


JUDGES: dict[str, Callable[[Any], Verdict]] = {
    "finite_length": _finite_length,
    "error_bars": _error_bars,
    "query_outliers": _query_outliers,
    "several_classes": _several_classes,
    "mixed_correlations": _mixed_correlations,
    "real_vocabulary": _real_vocabulary,
    "depth_and_heads": _depth_and_heads,
    "loss_landscape": _loss_landscape,
}
