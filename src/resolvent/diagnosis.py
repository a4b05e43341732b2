"""How many components of a covariance are real: a bulk law, its outliers, and every usual rule side by side."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from textwrap import wrap
from typing import Any

import numpy as np

from resolvent import counting
from resolvent.arguments import natural, number, one_of
from resolvent.bulk import SMALLEST_RATIO, bulk_law
from resolvent.counting import Count
from resolvent.covariance import check_matrix, excess_kurtosis, features, sample_spectrum
from resolvent.laws import Law, MarchenkoPastur, Wachter
from resolvent.nulls import Null
from resolvent.outliers import Outliers, estimate_outliers

__all__ = ["Diagnosis", "diagnose"]

WORST_DISTANCE = 0.05
RULES = ("bulk edge", "Tracy-Widom", "Gavish-Donoho", "parallel analysis")


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """Answer of `diagnose`; prints as a table.

    Attributes
    ----------
    samples, dimension, rank : int
        N, d, and the dimensions in which the data vary.
    ratio : float
        rank / degrees of freedom, the gamma of the bulk.
    centred : bool
    null : str or None
        What the data were whitened by, in words.
    eigenvalues : array, shape (rank,)
        Decreasing, of the covariance normalised by its degrees of freedom (after whitening); zeros
        included where the rank exceeds them.
    law : Law
        The bulk.
    law_name : str
        In words, with its parameters.
    distance : float
        Kolmogorov–Smirnov distance of the bulk eigenvalues to the law.
    noise : float
        Noise variance.
    noise_method : str
        How it was found.
    outliers : Outliers
        Eigenvalues that Tracy–Widom calls real, with spike, overlap, bands and p-values.
    below : int
        Eigenvalues below the lower edge.
    counts : tuple of Count
        One a rule: threshold, count, and why it is void, if it is.
    level : float
        Of the Tracy–Widom test.
    design_effect, document_effect, effective_tokens : float
        tr(covariance) / tr S₀ on the null and on the documents, and T over the latter; NaN where there is none.
    warnings : tuple of str
    vectors : array, shape (d, k), or None
        Eigenvectors of the outliers (of the whitened data, shape (rank, k), where there is a null); None
        where counting is void.
    """

    samples: int
    dimension: int
    rank: int
    ratio: float
    centred: bool
    null: str | None
    eigenvalues: np.ndarray
    law: Law
    law_name: str
    distance: float
    noise: float
    noise_method: str
    outliers: Outliers
    below: int
    counts: tuple[Count, ...]
    level: float
    design_effect: float = np.nan
    document_effect: float = np.nan
    effective_tokens: float = np.nan
    warnings: tuple[str, ...] = ()
    vectors: np.ndarray | None = field(default=None, repr=False)

    @property
    def components(self) -> int | None:
        """How many components are real (Tracy–Widom at `level`), None where no rule can say."""
        rule = self.count("Tracy-Widom")
        return rule.count if rule.void is None else None

    def count(self, rule: str) -> Count:
        """The count of one rule, by name."""
        return next(c for c in self.counts if c.rule == one_of("rule", rule, RULES))

    @property
    def shrunk_eigenvalues(self) -> np.ndarray:
        r"""Optimal eigenvalues for the sample's own eigenvectors: λ/|1 + γ p(λ)|², shape (rank,).

        The best rotation-invariant estimate of the population covariance in Frobenius norm (Ledoit and Péché
        [ledoit2011]_), with p of the fitted law: the noise level in the bulk, spike × shrinkage outside.

        Raises
        ------
        ValueError
            Where the fitted law does not describe the bulk, so that its formula means nothing.
        """
        if self.count("bulk edge").void is not None:
            raise ValueError(f"eigenvalues cannot be shrunk by a law that is void: {self.counts[0].void}")
        if isinstance(self.law, Wachter):
            raise ValueError("eigenvalues of an F-matrix are not those of a covariance: nothing to shrink")
        values = self.eigenvalues
        positive = values > 0
        z = values[positive]
        left, right = self.law.support[-1]
        p = -1 - z * self.law.stieltjes(np.clip(z, left * (1 + 1e-9), None))
        shrunk = z / np.abs(1 + self.ratio * p) ** 2
        k = len(self.outliers)
        inside = z <= right
        shrunk[~inside] = shrunk[inside].max(initial=self.noise)
        shrunk[:k] = self.outliers.spike**2 / z[:k]
        out = np.empty(values.size)
        out[positive] = shrunk
        if not positive.all():  # d > N: what the sample never saw
            out[~positive] = 1 / ((self.ratio - 1) * np.mean(1 / z)) if self.ratio > 1 else self.noise
        return out

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and strings, as JSON knows them; NaN becomes None."""
        skipped = {"law", "vectors", "outliers", "counts"}
        out = {f.name: plain(getattr(self, f.name)) for f in fields(self) if f.name not in skipped}
        out["components"] = self.components
        out["edges"] = plain([list(interval) for interval in self.law.support])
        out["counts"] = [{f.name: plain(getattr(c, f.name)) for f in fields(c)} for c in self.counts]
        rows = {f.name: plain(getattr(self.outliers, f.name)) for f in fields(self.outliers)}
        out["outliers"] = [dict(zip(rows, row)) for row in zip(*rows.values())]
        return out

    def __str__(self) -> str:
        return _table(self)


def plain(value: Any) -> Any:
    """NumPy numbers and arrays as JSON knows them."""
    if isinstance(value, np.ndarray):
        return [plain(v) for v in value.tolist()]
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value


def diagnose(
    x: Any,
    *,
    null: Null | None = None,
    law: str | Law = "auto",
    centred: bool = True,
    level: float = 0.01,
    permutations: int = 0,
    rng: Any = 0,
) -> Diagnosis:
    r"""Say how many components of a matrix of embeddings or pooled features are real, and how sure that is.

    One pass over the rows, block by block: memory-mapped files may be larger than memory.

    Parameters
    ----------
    x : array, shape (N, d)
        Rows are samples: embeddings, or pooled features. NumPy arrays and memory maps of any real type, and
        whatever NumPy converts.
    null : Null, optional
        From `resolvent.nulls`: whiten by it first. Pooled text needs one, see docs/which-tool.md.
    law : {"auto", "plain", "product"} or Law, default "auto"
        Bulk without a null: one Marchenko–Pastur factor, two, or two only where one does not fit; or a law
        known beforehand, noise level included.
    centred : bool, default True
        Subtract column means.
    level : float, default 0.01
        Of the Tracy–Widom test: how often pure noise may show one component (a fitted two-factor law: up to thrice).
    permutations : int, default 0
        Draws of parallel analysis; 0 uses its exact limit instead (Dobriban and Owen [dobriban2019]_).
    rng : numpy.random.Generator or int, default 0
        For permutations.

    Returns
    -------
    Diagnosis

    Raises
    ------
    ValueError
        If `x` is not a real matrix of at least 2 rows, holds NaN or infinite values (the first such row is
        named), does not vary, does not match the null, or an argument is out of range.

    References
    ----------
    docs/theory/diagnosis.md.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((600, 150))
    >>> x[:, 0] *= 2.5
    >>> report = diagnose(x)
    >>> report.components, round(float(report.outliers.spike[0]), 1), report.law_name
    (1, 6.3, 'Marchenko-Pastur, ratio 0.2504')
    """
    x = check_matrix("x", x)
    level = number("level", level, above=0)
    if level >= 1:
        raise ValueError(f"level must be below 1, got {level!r}")
    permutations = natural("permutations", permutations, least=0)
    if not isinstance(law, Law):
        one_of("law", law, ("auto", "plain", "product"))
    if null is not None:
        if not isinstance(null, Null):
            raise ValueError(f"null must come from resolvent.nulls or resolvent.salad, got {null!r}")
        if not centred or law != "auto":
            raise ValueError("null already fixes law and centring: leave law and centred as they are")
        if x.shape[1] != null.whitener.shape[0]:
            raise ValueError(f"x must have the null's {null.whitener.shape[0]} columns, got shape {x.shape}")
    whitener = None if null is None else null.whitener
    spectrum = sample_spectrum(x, whitener, centred)
    notes = list(spectrum.notes)
    values, freedom, rank = spectrum.values, spectrum.freedom, spectrum.values.size
    ratio = rank / freedom

    fitted, name, distance, how = bulk_law(values, freedom, ratio, null, law)
    noise = float(fitted.mean())
    p_values, centre, width = counting.edge_statistics(values, fitted, rank)
    real = int(np.argmin(np.append(p_values < level, False)))
    left, right = float(fitted.support[0][0]), float(fitted.support[-1][1])
    positive = values[values > 0]
    below = int((positive < left * (1 - 1e-12)).sum())
    threshold = centre + width * counting.critical_value(level)
    pa = (
        counting.permuted(features(x, whitener, centred), permutations, rng) * x.shape[0] / freedom
        if permutations
        else counting.parallel_analysis(spectrum.variances, ratio)
    )
    known = noise if null is not None or isinstance(law, Law) else None
    gd = np.nan if isinstance(fitted, Wachter) else counting.gavish_donoho(values, freedom, known)
    counts: tuple[Count, ...] = (
        counting.count("bulk edge", right, values),
        Count("Tracy-Widom", float(threshold), real),
        counting.count("Gavish-Donoho", gd, values),
        counting.count("parallel analysis", pa, values),
    )
    counts, void_notes = _void(counts, fitted, ratio, distance, below, rank, null, known is not None)
    notes += void_notes
    if rank > freedom:
        notes.append(
            f"d > N: {rank - freedom} of {rank} eigenvalues are exactly zero, the atom of the law at zero"
        )
    sound = counts[1].void is None
    kurtosis = vectors = None
    if sound:
        vectors = spectrum.top_vectors(real)
        kurtosis = excess_kurtosis(x, whitener, vectors, centred)
    outliers = estimate_outliers(values, freedom, real, p_values[:real], sample_kurtosis=kurtosis)
    return Diagnosis(
        samples=x.shape[0],
        dimension=x.shape[1],
        rank=rank,
        ratio=ratio,
        centred=centred,
        null=None if null is None else null.kind,
        eigenvalues=values,
        law=fitted,
        law_name=name,
        distance=distance,
        noise=noise,
        noise_method=how,
        outliers=outliers,
        below=below,
        counts=counts,
        level=level,
        design_effect=np.nan if null is None else null.design_effect,
        document_effect=np.nan if null is None else null.document_effect,
        effective_tokens=np.nan if null is None else null.effective_tokens,
        warnings=tuple(notes),
        vectors=vectors,
    )


def _void(
    counts: tuple[Count, ...],
    law: Law,
    ratio: float,
    distance: float,
    below: int,
    rank: int,
    null: Null | None,
    known: bool,
) -> tuple[tuple[Count, ...], list[str]]:
    """Counts with the reasons why some are void, and the warnings that go with them."""
    notes: list[str] = []
    instead = "pool documents and test them against a null (resolvent.nulls)"
    many_below = below > max(2, 0.01 * rank)
    if known:
        if many_below:
            notes.append(
                f"{below} of {rank} eigenvalues lie below the lower edge: the data vary less than the null there"
                " (templates, repeated text)"
            )
        if isinstance(law, Wachter):
            for rule in ("Gavish-Donoho", "parallel analysis"):
                counts = counting.voided(counts, "knows nothing of a null that was measured", (rule,))
        return counts, notes
    reason = None
    if ratio < SMALLEST_RATIO:
        reason = (
            f"ratio d/N = {ratio:.3g} is below {SMALLEST_RATIO}: the covariance is known almost exactly, and an edge "
            f"counts unequal variances instead of components; {instead}"
        )
    elif rank / ratio < 10:
        reason = f"only {round(rank / ratio)} degrees of freedom: too few for a bulk; use more samples"
    elif distance > WORST_DISTANCE:
        reason = (
            f"no bulk law fits (Kolmogorov-Smirnov distance {distance:.2f}, at most {WORST_DISTANCE} is a fit): the "
            f"noise is not white, or too few numbers make up the bulk; {instead}, or give a law"
        )
    elif many_below:
        reason = f"{below} of {rank} eigenvalues lie below the lower edge: one noise level does not describe them; {instead}"
    if reason:
        notes.append(f"counts are void: {reason}")
        return counting.voided(counts, reason), notes
    if not isinstance(law, MarchenkoPastur):
        white = "assumes white noise; this bulk has two factors"
        counts = counting.voided(counts, white, ("Gavish-Donoho", "parallel analysis"))
    return counts, notes


def _table(report: Diagnosis) -> str:
    """The report as text of at most 100 columns."""
    left, right = report.law.support[0][0], report.law.support[-1][1]
    lines = [
        f"Diagnosis of {report.samples:,} x {report.dimension:,}"
        + (f", {report.rank:,} dimensions vary" if report.rank < report.dimension else "")
        + ("" if report.centred else ", not centred"),
    ]
    if report.null:
        lines.append(f"null      {report.null}")
        if np.isfinite(report.design_effect):
            lines.append(
                f"          design effect {report.design_effect:.3g} on the null, {report.document_effect:.3g} on the "
                f"documents, each worth {report.effective_tokens:.3g} independent tokens"
            )
    lines += [
        f"bulk      {report.law_name}; edges {left:.4g} and {right:.4g}; distance {report.distance:.3f}",
        f"noise     {report.noise:.4g} ({report.noise_method})",
        "",
        f"{'rule':<22}{'threshold':>10}  components",
    ]
    labels = {"Tracy-Widom": f"Tracy-Widom, p < {report.level:g}"}
    for c in report.counts:
        threshold = "-" if np.isnan(c.threshold) else f"{c.threshold:.4g}"
        shown = "-" if c.count is None else str(c.count) if c.void is None else f"({c.count})"
        reason = "" if c.void is None else "  void" + ("" if len(c.void) > 70 else f": {c.void}")
        lines.append(f"{labels.get(c.rule, c.rule):<22}{threshold:>10}  {shown:>10}{reason}")
    lines.append(f"{'below the lower edge':<22}{left:>10.4g}  {report.below:>10}")
    found = report.outliers
    if report.components:
        lines += [
            "",
            f"{'':>4}{'eigenvalue':>11}  {'spike (95 %)':<31}{'overlap (95 %)':<22}{'in span':>7}{'p-value':>10}",
        ]
        shown_rows = min(len(found), 12)
        for i in range(shown_rows):
            spike = f"{found.spike[i]:.3g} ({found.spike_low[i]:.3g} to {found.spike_high[i]:.3g})"
            overlap = f"{found.overlap[i]:.2f} ({found.overlap_low[i]:.2f} to {found.overlap_high[i]:.2f})"
            mark = "*" if found.crowded[i] else " "
            lines.append(
                f"{i + 1:>4}{found.eigenvalue[i]:>11.3g}  {spike:<31}{overlap + mark:<22}"
                f"{found.subspace_overlap[i]:>7.2f}{found.p_value[i]:>10.1g}"
            )
        if shown_rows < len(found):
            lines.append(f"     ... and {len(found) - shown_rows} more")
        if found.crowded[:shown_rows].any():
            lines.append("   * too near to a neighbour for a direction of its own: use 'in span'")
    lines.append("")
    if report.components is None:
        lines.append("How many components are real cannot be said here.")
    else:
        many = report.components != 1
        lines.append(
            f"{report.components} component{'s are' if many else ' is'} real (Tracy-Widom, p < {report.level:g})."
        )
    lines += [f"Warning: {note}." for note in report.warnings]
    return "\n".join(part for line in lines for part in wrap(line, 100, subsequent_indent=" " * 10) or [""])
