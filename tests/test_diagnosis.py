"""How many components are real: counts, bands, shrinkage, and when nothing can be said."""

import json
import warnings
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from scipy import sparse, stats

from resolvent import datasets, nulls, plots
from resolvent.diagnosis import diagnose
from resolvent.laws import GeneralisedMarchenkoPastur, MarchenkoPastur
from resolvent.outliers import estimate_outliers


def spiked(seed, n=400, d=100, variances=(), scores=None):
    """White noise with population spikes along the first axes."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d))
    for i, variance in enumerate(variances):
        if scores is not None:
            x[:, i] = scores(rng, n)
        x[:, i] *= np.sqrt(variance)
    return x


def two_factor(seed, spikes=(), n=900, d=300, vocabulary=400):
    """Pooled tokens of a Gaussian table: two Marchenko–Pastur factors."""
    rng = np.random.default_rng(seed)
    table = rng.standard_normal((vocabulary, d))
    x = rng.standard_normal((n, vocabulary)) @ table / np.sqrt(vocabulary)
    for i, spike in enumerate(spikes):
        x[:, i] += np.sqrt(spike) * rng.standard_normal(n)
    return x


@pytest.mark.parametrize("seed", range(3))
def test_two_factors_are_told_from_components(seed):
    empty = diagnose(two_factor(seed))
    assert empty.components == 0
    assert empty.law_name.startswith("two Marchenko-Pastur factors")
    # the twin: one factor calls its bulk real
    assert diagnose(two_factor(seed), law="plain").count("Tracy-Widom").count > 15
    found = diagnose(two_factor(seed, spikes=(12, 14, 20)))
    assert found.components == 3
    assert found.vectors.shape == (300, 3)
    assert (found.vectors[:3] ** 2).sum(axis=0).min() > 0.8


@cache
def white_counts():
    return [diagnose(spiked(seed, 200, 60), level=0.05).components for seed in range(150)]


@pytest.mark.slow
def test_pure_noise_shows_components_as_often_as_the_level_says():
    false = np.count_nonzero(white_counts())
    low, high = stats.binom.ppf([0.002, 0.998], 150, 0.05)
    assert low <= false <= high


TRUE = np.array([9.0, 4.0])
KNOWN = MarchenkoPastur(100 / 399)  # of `spiked` as it is, so that none need be fitted


@cache
def draws():
    """(report, squared overlaps with each axis (2, 2)) of 60 samples with two spikes."""
    out = []
    for seed in range(60):
        report = diagnose(spiked(seed, variances=TRUE), law=KNOWN, level=1e-4)
        assert report.components == 2
        out.append((report.outliers, report.vectors[:2].T ** 2))
    return out


def standardised(estimate, high, truth):
    return np.log(truth / estimate) / (np.log(high / estimate) / 1.96)


def test_bands_of_spikes_cover():
    inside = [(o.spike_low <= TRUE) & (o.spike_high >= TRUE) for o, _ in draws()]
    assert 0.85 <= np.mean(inside) <= 1
    z = np.array([standardised(o.spike, o.spike_high, TRUE) for o, _ in draws()])
    assert abs(z.mean()) < 0.3
    assert 0.75 < z.std() < 1.3
    # the twin: the eigenvalue itself is no estimate of the spike
    raw = np.array(
        [standardised(o.eigenvalue, o.eigenvalue * o.spike_high / o.spike, TRUE) for o, _ in draws()]
    )
    assert abs(raw.mean()) > 0.4


def test_bands_of_overlaps_cover():
    inside, z, spans, true_spans = [], [], [], []
    for o, squares in draws():
        own = np.diagonal(squares)
        inside.append((o.overlap_low <= own) & (own <= o.overlap_high))
        z.append((own - o.overlap) / ((o.overlap_high - o.overlap_low) / (2 * 1.96)))
        spans.append(o.subspace_overlap)
        true_spans.append(squares.sum(axis=1))
    assert 0.85 <= np.mean(inside) <= 1
    assert abs(np.mean(z)) < 0.3
    error = np.array(spans) - true_spans
    assert np.all(np.abs(error.mean(axis=0)) < 4 * error.std(axis=0) / np.sqrt(len(error)) + 0.005)
    assert np.all(np.array(spans) >= [o.overlap for o, _ in draws()])


def test_heavy_tailed_scores_widen_the_band():
    def rare(rng, n):  # zero seven times out of ten: excess kurtosis 7
        return (rng.random(n) < 0.3) * rng.standard_normal(n) / np.sqrt(0.3)

    good, narrow, excess = [], [], []
    for seed in range(60):
        report = diagnose(spiked(seed, variances=[9.0], scores=rare), law=KNOWN)
        o = report.outliers
        good.append(o.spike_low[0] <= 9 <= o.spike_high[0])
        excess.append(o.excess_kurtosis[0])
        gaussian = estimate_outliers(report.eigenvalues, 399, 1, o.p_value)
        assert gaussian.spike[0] == o.spike[0]
        narrow.append(gaussian.spike_low[0] <= 9 <= gaussian.spike_high[0])
    assert np.mean(good) >= 0.85
    assert np.mean(narrow) < 0.8  # the twin
    assert np.mean(excess) == pytest.approx(7, abs=1.5)


def test_near_spikes_are_said_to_share_their_directions():
    report = diagnose(spiked(3, variances=[6.0, 6.0, 40.0]))
    assert report.components == 3
    assert report.outliers.crowded.tolist() == [False, True, True]
    assert "too near to a neighbour" in str(report)
    assert (report.outliers.overlap_low[1:] == 0).all()


def test_more_dimensions_than_samples():
    x = spiked(0, 100, 250, [30.0])
    report = diagnose(x)
    assert report.components == 1
    assert report.rank == 250
    assert (report.eigenvalues == 0).sum() == 250 - 99
    assert report.law.atom == pytest.approx(1 - 99 / 250)
    assert any("atom of the law at zero" in note for note in report.warnings)
    direct = np.linalg.eigvalsh(np.cov(x.T))[::-1]
    np.testing.assert_allclose(report.eigenvalues[:99], direct[:99], rtol=1e-9)
    assert report.vectors[0, 0] ** 2 == pytest.approx(report.outliers.overlap[0], abs=0.1)


@pytest.mark.parametrize("shape", [(300, 80), (80, 300)])
def test_constant_columns_are_dropped_and_counted(shape):
    x = spiked(1, *shape, [30.0])
    padded = np.insert(x, [2, 7], 5.0, axis=1)
    report, bare = diagnose(padded), diagnose(x)
    assert (report.dimension, report.rank) == (shape[1] + 2, shape[1])
    assert report.warnings[0].startswith(f"2 constant columns dropped (2, 8): {shape[1]} of {shape[1] + 2}")
    np.testing.assert_allclose(report.eigenvalues, bare.eigenvalues, rtol=1e-7, atol=1e-12)
    assert report.components == bare.components == 1
    assert report.vectors.shape == (shape[1] + 2, 1)
    assert (report.vectors[[2, 8]] == 0).all()


def test_repeated_columns_are_null_directions():
    x = spiked(1, 300, 40)
    report = diagnose(np.column_stack([x, x[:, 0] + x[:, 1]]))
    assert report.rank == 40
    assert "1 null direction dropped" in report.warnings[0]
    assert max(map(len, str(report).splitlines())) <= 110


@pytest.mark.parametrize("shape", [(400, 100), (100, 150)])
@pytest.mark.parametrize("top", [9.0, 5000.0])
def test_floating_types_agree(shape, top):
    x = spiked(0, *shape, [top]).astype(np.float16)
    wide = diagnose(x.astype(np.float64))
    assert wide.components == 1
    for kind in (np.float16, np.float32):
        report = diagnose(x.astype(kind))
        assert report.rank == wide.rank
        np.testing.assert_allclose(report.eigenvalues, wide.eigenvalues, rtol=2e-3, atol=1e-6)
        assert report.components == wide.components
        assert report.noise == pytest.approx(wide.noise, rel=1e-3)


def test_half_precision_keeps_columns_that_vary_about_a_mean():
    x = (1 + 0.02 * spiked(0)).astype(np.float16)
    x[:, 3] = 1
    report = diagnose(x)
    assert report.rank == 99
    np.testing.assert_allclose(report.eigenvalues[:99], diagnose(x.astype(float)).eigenvalues, rtol=1e-3)


def test_repeated_rows_leave_fewer_eigenvalues():
    report = diagnose(np.repeat(spiked(0, 40, 300), 3, axis=0))
    assert (report.eigenvalues > 0).sum() == 39
    assert diagnose(np.repeat(spiked(0, 10, 60), 3, axis=0)).rank == 60


def test_whole_numbers_count_as_they_are():
    x = np.round(10 * spiked(0)).astype(np.int32)
    np.testing.assert_array_equal(diagnose(x).eigenvalues, diagnose(x.astype(float)).eigenvalues)


def test_a_large_mean_costs_no_digits():
    x = spiked(0, variances=[9.0])
    np.testing.assert_allclose(diagnose(x + 1e6).eigenvalues, diagnose(x).eigenvalues, rtol=1e-7)


def test_memory_maps_are_arrays(tmp_path):
    x = spiked(0, variances=[9.0]).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    mapped = diagnose(np.load(tmp_path / "x.npy", mmap_mode="r"))
    assert mapped.to_dict() == diagnose(x).to_dict()


@pytest.mark.parametrize("centred", [True, False])
def test_blocks_of_rows_do_not_matter(monkeypatch, centred):
    x = spiked(0, 900, 100, [9.0]) + 3
    whole = diagnose(x, centred=centred)
    monkeypatch.setattr("resolvent.covariance.BLOCK_BYTES", 1)
    parts = diagnose(x, centred=centred)
    np.testing.assert_allclose(parts.eigenvalues, whole.eigenvalues, rtol=1e-10)
    np.testing.assert_allclose(parts.outliers.excess_kurtosis, whole.outliers.excess_kurtosis, atol=1e-8)
    assert parts.components == whole.components


def test_uncentred_counts_the_mean():
    x = spiked(0) + 0.5
    assert diagnose(x).components == 0
    report = diagnose(x, centred=False)
    assert report.components == 1
    direct = np.linalg.eigvalsh(x.T @ x / 400)[::-1]
    np.testing.assert_allclose(report.eigenvalues, direct, rtol=1e-9)
    assert "not centred" in str(report)


def test_order_of_rows_does_not_matter():
    x = two_factor(0, spikes=(14,))
    turned = diagnose(np.random.default_rng(0).permutation(x))
    report = diagnose(x)
    np.testing.assert_allclose(turned.eigenvalues, report.eigenvalues, rtol=1e-9)
    np.testing.assert_allclose(turned.outliers.spike, report.outliers.spike, rtol=1e-6)


@settings(max_examples=15)
@given(st.floats(-6, 6), st.integers(0, 5))
def test_scale_only_scales(power, seed):
    factor = 10.0**power
    x = spiked(seed, 200, 50, [12.0])
    one, other = diagnose(x), diagnose(factor * x)
    assert one.components == other.components
    np.testing.assert_allclose(other.outliers.spike, factor**2 * one.outliers.spike, rtol=1e-8)
    np.testing.assert_allclose(other.outliers.overlap, one.outliers.overlap, rtol=1e-8)
    np.testing.assert_allclose(other.noise, factor**2 * one.noise, rtol=1e-4)
    thresholds = [[c.threshold for c in report.counts] for report in (one, other)]
    np.testing.assert_allclose(thresholds[1], factor**2 * np.array(thresholds[0]), rtol=1e-4)


def voids():
    rng = np.random.default_rng(0)
    return {
        "ratio": (rng.standard_normal((3000, 100)), "is below 0.05"),
        "below": (
            rng.standard_normal((400, 100)) * np.where(np.arange(100) < 4, 0.02, 1),
            "below the lower edge",
        ),
        "fit": (rng.standard_normal((300, 100)) * np.geomspace(0.05, 20, 100), "no bulk law fits"),
        "few": (rng.standard_normal((8, 5)), "degrees of freedom: too few"),
    }


@pytest.mark.parametrize("case", ["ratio", "below", "fit", "few"])
def test_what_cannot_be_counted_is_void(case):
    x, reason = voids()[case]
    report = diagnose(x)
    assert report.components is None
    assert all(reason in c.void for c in report.counts)
    assert any(reason in note for note in report.warnings)
    assert report.vectors is None
    assert "cannot be said" in str(report)
    assert max(map(len, str(report).splitlines())) <= 110
    with pytest.raises(ValueError, match="void"):
        _ = report.shrunk_eigenvalues
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["components"] is None
    ax = plots.diagnosis(Figure().add_subplot(), report)
    assert ax.get_title().startswith("not countable: ")
    assert len(ax.get_title()) < 50


def test_a_known_law_is_not_void():
    x, _ = voids()["ratio"]
    report = diagnose(x, law=MarchenkoPastur(100 / 2999))
    assert report.components == 0
    assert report.noise_method == "given with the law"


def losses(n, d, seeds=5):
    """Squared Frobenius errors of shrunk eigenvalues, the sample, and Ledoit and Wolf's line, (seeds, 3)."""
    from sklearn.covariance import ledoit_wolf

    variances = [20.0, 10.0, 6.0]
    truth = np.diag(np.append(variances, np.ones(d - 3)))
    out = []
    for seed in range(seeds):
        x = spiked(seed, n, d, variances)
        sample = np.cov(x.T)
        vectors = np.linalg.eigh(sample)[1][:, ::-1]
        shrunk = (vectors * diagnose(x).shrunk_eigenvalues) @ vectors.T
        out.append([((m - truth) ** 2).sum() for m in (shrunk, sample, ledoit_wolf(x)[0])])
    return np.array(out)


@pytest.mark.parametrize("shape", [(300, 120), (120, 300)])
def test_shrunk_eigenvalues_estimate_the_covariance_best(shape):
    shrunk, sample, line = losses(*shape).mean(axis=0)
    assert shrunk < 0.7 * line
    assert shrunk < 0.5 * sample


@pytest.mark.parametrize("shape", [(400, 100), (100, 250)])
def test_shrunk_eigenvalues_are_the_oracles(shape):
    x = spiked(0, *shape, [12.0])
    report = diagnose(x)
    sample = np.cov(x.T)
    vectors = np.linalg.eigh(sample)[1][:, ::-1]
    truth = np.append(12.0, np.ones(shape[1] - 1))
    oracle = (vectors**2 * truth[:, None]).sum(axis=0)
    assert report.shrunk_eigenvalues[0] == pytest.approx(oracle[0], rel=0.15)
    assert report.shrunk_eigenvalues[1:].mean() == pytest.approx(oracle[1:].mean(), rel=0.05)
    assert report.shrunk_eigenvalues[1:].std() < 0.15  # white noise: they are all one


def test_permutations_agree_with_their_limit():
    x = spiked(0, 600, 200) * np.linspace(0.8, 1.2, 200)
    x += 2 * np.random.default_rng(1).standard_normal((600, 1))  # correlations, which permuting destroys
    limit = diagnose(x).count("parallel analysis").threshold
    drawn = diagnose(x, permutations=19, rng=1).count("parallel analysis").threshold
    assert drawn == pytest.approx(limit, rel=0.05)
    assert drawn != limit
    assert diagnose(x).eigenvalues[0] > 10 * limit


def test_reports_become_json_and_back():
    for x in (spiked(0, variances=[9.0, 4.0]), spiked(0, 60, 90), two_factor(0)):
        report = diagnose(x)
        data = json.loads(json.dumps(report.to_dict(), allow_nan=False))
        assert data["components"] == report.components == len(data["outliers"])
        assert data["eigenvalues"] == report.eigenvalues.tolist()
        assert [c["rule"] for c in data["counts"]] == [c.rule for c in report.counts]
        assert data["design_effect"] is None
        if report.components:
            assert data["outliers"][0]["spike"] == report.outliers.spike[0]


@pytest.mark.parametrize("law", ["auto", GeneralisedMarchenkoPastur(300 / 1199, np.linspace(0.9, 1.1, 50))])
def test_reports_are_narrow(law):
    x = spiked(0, 1200, 300, variances=[1e4, 5e3, 40, 30.5, 20, *range(6, 16)])
    report = diagnose(x, law=law, level=1e-4)
    assert max(map(len, str(report).splitlines())) <= 110
    assert "more" in str(report)


def test_a_real_table_has_components():
    report = diagnose(datasets.load("minilm-unused"))
    assert report.components == 4
    assert report.distance < 0.03


def test_the_picture_says_what_the_report_says():
    report = diagnose(two_factor(0, spikes=(12, 14, 20)))
    ax = plots.diagnosis(Figure().add_subplot(), report)
    assert ax.get_title() == "3 real components (ratio 0.33, two Marchenko–Pastur factors)"
    assert "N − 1" in ax.get_xlabel()
    marked = next(line for line in ax.lines if line.get_label() == "outside the bulk")
    np.testing.assert_array_equal(np.sort(marked.get_xdata()), np.sort(report.outliers.eigenvalue))
    threshold = next(line for line in ax.lines if line.get_label().startswith("Tracy-Widom"))
    assert threshold.get_xdata()[0] == report.count("Tracy-Widom").threshold
    law = next(line for line in ax.lines if line.get_label().startswith("two"))
    assert np.trapezoid(law.get_ydata(), law.get_xdata()) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("shape", [(400, 100), (100, 250)])
def test_far_outliers_are_drawn_on_logarithms_with_shares_as_areas(shape):
    report = diagnose(spiked(0, *shape, [90.0]))
    ax = plots.diagnosis(Figure().add_subplot(), report)
    assert ax.get_xscale() == "log"
    line = next(line for line in ax.lines if line.get_label().startswith("Marchenko"))
    area = np.trapezoid(line.get_ydata(), np.log(line.get_xdata()))
    assert area == pytest.approx(1 - report.law.atom, abs=0.01)
    assert ("are zero" in line.get_label()) == (shape[1] > shape[0])
    steps = ax.patches[0].get_data()
    drawn = (steps.values * np.diff(np.log(steps.edges))).sum()
    assert drawn == pytest.approx((min(shape[0] - 1, shape[1]) - 1) / shape[1])


def test_every_interval_of_a_law_is_drawn():
    rng = np.random.default_rng(0)
    population = np.repeat([1.0, 30.0], [60, 40])
    x = rng.standard_normal((2000, 100)) * np.sqrt(population)
    law = GeneralisedMarchenkoPastur(100 / 1999, population)
    assert len(law.support) == 2
    report = diagnose(x, law=law)
    assert report.components == 0
    ax = plots.diagnosis(Figure().add_subplot(), report)
    assert len([line for line in ax.lines if line.get_color() == plots.COLOURS["mean"]]) == 2
    assert "GeneralisedMarchenkoPastur" in ax.get_title()


X = spiked(0, 300, 20)
HOLES = {bad: np.where(np.arange(300)[:, None] == 270, bad, X) for bad in (np.nan, np.inf)}
NULL = nulls.token_noise(
    np.random.default_rng(0).integers(0, 50, (60, 4)), np.random.default_rng(0).random((50, 7))
)
BAD = {
    "nan": (lambda: diagnose(HOLES[np.nan]), ["x must be finite", "row 270"]),
    "infinite": (lambda: diagnose(HOLES[np.inf]), ["x must be finite", "row 270"]),
    "nan, d > N": (lambda: diagnose(HOLES[np.nan].T), ["x must be finite", "row 0"]),
    "nan, float16": (lambda: diagnose(HOLES[np.inf].astype(np.float16)), ["x must be finite", "row 270"]),
    "nan in a column of numbers": (
        lambda: diagnose(np.where(np.eye(300, 20) * np.arange(20) == 19, np.nan, X)),
        ["row 19"],
    ),
    "nan under a null": (lambda: diagnose(HOLES[np.nan][:, :7], null=NULL), ["x must be finite", "row 270"]),
    "nan under a null, d > N": (
        lambda: diagnose(HOLES[np.nan][266:272, :7], null=NULL),
        ["x must be finite", "row 4"],
    ),
    "too large": (lambda: diagnose(X * 1e200), ["x must", "squared in float64"]),
    "too large, d > N": (lambda: diagnose(X.T * 1e200), ["x must", "squared in float64"]),
    "too large in single": (
        lambda: diagnose((X * 1e25).astype(np.float32)),
        ["x must", "squared in float32"],
    ),
    "one sample": (lambda: diagnose(X[:1]), ["x must", "2 rows", "(1, 20)"]),
    "no sample": (lambda: diagnose(X[:0]), ["x must", "(0, 20)"]),
    "no column": (lambda: diagnose(X[:, :0]), ["x must", "(300, 0)"]),
    "vector": (lambda: diagnose(X[0]), ["x must", "(20,)"]),
    "number": (lambda: diagnose(3.0), ["x must", "()"]),
    "objects": (lambda: diagnose(X.astype(object)), ["x must", "object"]),
    "strings": (lambda: diagnose([["a", "b"], ["c", "d"]]), ["x must", "<U1"]),
    "complex": (lambda: diagnose(X + 1j), ["x must", "complex128"]),
    "bools": (lambda: diagnose(X > 0), ["x must", "bool"]),
    "nothing": (lambda: diagnose(None), ["x must", "object"]),
    "ragged": (lambda: diagnose([[1.0, 2.0], [3.0]]), ["x must"]),
    "sparse": (lambda: diagnose(sparse.csr_array(X)), ["x must be dense", "csr_array"]),
    "constant": (lambda: diagnose(np.ones((30, 4))), ["x must vary"]),
    "constant, d > N": (lambda: diagnose(np.full((4, 30), 0.1)), ["x must vary"]),
    "constant floats": (lambda: diagnose(np.full((30, 4), 0.1, np.float32)), ["x must vary"]),
    "width": (lambda: diagnose(X, null=NULL), ["x must", "7 columns", "(300, 20)"]),
    "no null": (lambda: diagnose(X, null="salad"), ["null must"]),
    "null and law": (lambda: diagnose(X[:, :7], null=NULL, law="plain"), ["null", "law"]),
    "null, not centred": (lambda: diagnose(X[:, :7], null=NULL, centred=False), ["null", "centred"]),
    "level 0": (lambda: diagnose(X, level=0), ["level", "0"]),
    "level 1": (lambda: diagnose(X, level=1), ["level", "1"]),
    "level nan": (lambda: diagnose(X, level=np.nan), ["level", "nan"]),
    "level word": (lambda: diagnose(X, level="low"), ["level", "low"]),
    "law": (lambda: diagnose(X, law="cubic"), ["law", "cubic"]),
    "law number": (lambda: diagnose(X, law=3), ["law", "3"]),
    "permutations": (lambda: diagnose(X, permutations=-1), ["permutations", "-1"]),
    "permutations, half": (lambda: diagnose(X, permutations=1.5), ["permutations", "1.5"]),
    "rng": (lambda: diagnose(X, permutations=2, rng="x"), ["rng", "x"]),
    "rule": (lambda: diagnose(X).count("elbow"), ["rule", "elbow"]),
}


@pytest.mark.parametrize("case", list(BAD))
def test_bad_input_is_named(case):
    call, parts = BAD[case]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError) as caught:
            call()
    for part in parts:
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_good_input_of_the_same_calls_passes():
    diagnose(X)
    diagnose(X.tolist(), level=0.05, permutations=np.int64(2), rng=np.random.default_rng(0), law="product")
    diagnose(X[:, :7], null=NULL)
    diagnose(X[:2])
    diagnose(X[:, :1])
