"""Moments of token sequences against NumPy and explicit loops, whatever form the sequences have; merging, keeping."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolvent.token_moments import TokenMoments, read_arrays
from resolvent.token_sequences import Panels, Ragged, SequenceError, TokenSequences

T, V, D, N, C = 4, 40, 3, 150, 3
RNG = np.random.default_rng(0)
TABLE = RNG.standard_normal((V, D)) + 2
LABELS = RNG.integers(0, C, N)
ROWS = [RNG.integers(0, V, n) for n in RNG.integers(1, 2 * T, N)]
WEIGHTS = {
    "mean": np.full(T, 1 / T),
    "signed": np.array([0.5, -1.0, 0.0, 0.7]),
    "first": np.array([1.0, 0, 0, 0]),
    "last": np.array([0, 0, 0, 2.0]),  # nothing is left of short sequences: they are pooled uniformly
}


def padded(rows, side):
    width = max(map(len, rows))
    out = np.zeros((len(rows), width, *rows[0].shape[1:]), dtype=rows[0].dtype)
    mask = np.zeros((len(rows), width), dtype=bool)
    for i, row in enumerate(rows):
        place = slice(width - len(row), None) if side == "left" else slice(len(row))
        out[i, place], mask[i, place] = row, True
    return out, mask


def pooled(vectors, w):
    """The one rule for lengths, as a loop."""
    out = []
    for x in vectors:
        own = [w[min(i, w.size - 1)] for i in range(len(x))]
        held = sum(abs(a) for a in own)
        if held == 0:
            own, held = [1.0] * len(x), len(x)
        out.append(sum(a * row for a, row in zip(own, x)) * np.abs(w).sum() / held)
    return np.array(out)


def forms(dtype=float):
    """The same sequences, (X, mask, table) in every form."""
    table = TABLE.astype(dtype)
    vectors = [table[row] for row in ROWS]
    own = {"ids": (ROWS, table), "vectors": (vectors, None), "panels": (ROWS, Panels(table))}
    for name, (rows, how) in own.items():
        yield f"ragged {name}", rows, None, how
        yield f"flat {name}", Ragged.of(rows), None, how
        for side in ("left", "right"):
            yield f"{side} {name}", *padded(rows, side), how
    flat = np.concatenate(ROWS)
    around = np.r_[7, 7, flat, 9]  # offsets that begin later
    yield "slice", Ragged(around, 2 + np.r_[0, np.cumsum([*map(len, ROWS)])].astype(np.int32)), None, table


@pytest.mark.parametrize("form", list(forms()), ids=lambda form: form[0])
@pytest.mark.parametrize("weights", WEIGHTS)
def test_against_loops(weights, form):
    w = WEIGHTS[weights]
    _, X, mask, table = form
    m = TokenMoments.empty(w, T, gram=True, classes=C, vocabulary=0 if table is None else V, keep=True)
    m.add(X, mask=mask, table=table, labels=LABELS)
    vectors = [TABLE[row] for row in ROWS]
    z = pooled(vectors, w)
    assert m.count == N
    np.testing.assert_allclose(m.mean(), z.mean(axis=0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(m.covariance(), np.cov(z.T), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(np.concatenate(m.pooled), z, rtol=1e-12, atol=1e-12)
    if table is not None:
        np.testing.assert_array_equal(m.sums["token_counts"], np.bincount(np.concatenate(ROWS), minlength=V))

    full = [i for i, row in enumerate(ROWS) if len(row) >= T]
    x, y = np.array([vectors[i][:T] for i in full]), LABELS[full]
    n = m.position_count
    assert n == len(full)
    noise = sum(w[l] ** 2 * np.cov(x[:, l].T) for l in range(T))
    np.testing.assert_allclose(m.noise(), noise, rtol=1e-10, atol=1e-12)
    assert m.design_effect == pytest.approx(np.trace(np.cov(z.T)) / np.trace(noise))
    gram, inside = np.zeros((T, T)), np.zeros((T, T))
    mean = x.mean(axis=0)
    means = np.array([x[y == c].mean(axis=0) for c in range(C)])
    for i in range(n):
        for k in range(T):
            for l in range(T):
                gram[k, l] += (x[i, k] - mean[k]) @ (x[i, l] - mean[l]) / (n - 1)
                inside[k, l] += (x[i, k] - means[y[i], k]) @ (x[i, l] - means[y[i], l]) / (n - C)
    np.testing.assert_allclose(m.positional_gram(), gram, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(m.within(), inside, rtol=1e-10, atol=1e-10)
    off = means - mean
    shares = np.bincount(y, minlength=C) / n
    between = np.einsum("c,ckd,cld->kl", shares, off, off) - inside * (C - 1) / n
    np.testing.assert_allclose(m.between(), between, rtol=1e-9, atol=1e-10)


def test_the_rule_is_not_a_plain_weighted_sum():
    z = pooled([TABLE[row] for row in ROWS], WEIGHTS["signed"])
    cut = [sum(a * x for a, x in zip(WEIGHTS["signed"], TABLE[row])) for row in ROWS]
    m = TokenMoments.empty(WEIGHTS["signed"], T).add(ROWS, table=TABLE)
    np.testing.assert_allclose(m.covariance(), np.cov(z.T), rtol=1e-10)
    assert np.abs(m.covariance() / np.cov(np.array(cut).T) - 1).max() > 0.05


def test_pooled_vectors():
    z = RNG.standard_normal((50, D)) + 5
    m = TokenMoments.empty("mean", T).add(z[:20]).add(z[20:])
    np.testing.assert_allclose(m.mean(), z.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(m.covariance(), np.cov(z.T), rtol=1e-10)
    assert np.isnan(m.design_effect)
    assert m.position_count == 0


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_types_of_the_table(dtype):
    table = TABLE.astype(dtype)
    exact = TokenMoments.empty("mean", T, gram=True).add(ROWS, table=table.astype(float))
    for X, how in ((ROWS, table), (ROWS, Panels(table)), ([table[row] for row in ROWS], None)):
        m = TokenMoments.empty("mean", T, gram=True).add(X, table=how)
        for name in ("mean", "covariance", "noise", "positional_gram"):
            found, wanted = getattr(m, name)(), getattr(exact, name)()
            assert found.dtype == float
            np.testing.assert_allclose(found, wanted, rtol=1e-11 if dtype is np.float64 else 1e-5, atol=1e-6)


def test_far_from_zero_nothing_is_lost():
    """Sums about a first guess: a mean of 10⁴ standard deviations does not drown the covariance."""
    table = (TABLE + 1e4).astype(np.float32)
    exact = np.cov(pooled([table[row].astype(float) for row in ROWS], WEIGHTS["mean"]).T)
    m = TokenMoments.empty("mean", T).add(ROWS[:70], table=table) + TokenMoments.empty("mean", T).add(
        ROWS[70:], table=table
    )
    np.testing.assert_allclose(m.covariance(), exact, rtol=0.02, atol=2e-3)
    raw = pooled([table[row] for row in ROWS], WEIGHTS["mean"]).astype(np.float32)
    mean = raw.mean(axis=0)
    naive = (raw.T @ raw - len(raw) * np.outer(mean, mean)) / (len(raw) - 1)
    assert np.abs(naive - exact).max() > 1


def test_float64_after_float32():
    m = (
        TokenMoments.empty("mean", T)
        .add(ROWS[:70], table=TABLE)
        .add(ROWS[70:], table=TABLE.astype(np.float32))
    )
    exact = TokenMoments.empty("mean", T).add(ROWS, table=TABLE)
    np.testing.assert_allclose(m.covariance(), exact.covariance(), rtol=1e-5)
    np.testing.assert_allclose(m.mean(), exact.mean(), rtol=1e-6)


def made(rows, labels, **more):
    return TokenMoments.empty(WEIGHTS["signed"], T, gram=True, classes=C, vocabulary=V, **more).add(
        rows, table=TABLE, labels=labels
    )


def assert_close(a, b):
    assert (a.count, a.position_count) == (b.count, b.position_count)
    np.testing.assert_array_equal(a.sums["token_counts"], b.sums["token_counts"])
    for name in ("mean", "covariance"):
        np.testing.assert_allclose(getattr(a, name)(), getattr(b, name)(), rtol=1e-9, atol=1e-10)
    if a.position_count > C:
        for name in ("noise", "positional_gram", "within", "between"):
            np.testing.assert_allclose(getattr(a, name)(), getattr(b, name)(), rtol=1e-8, atol=1e-9)


@given(st.lists(st.integers(0, N), min_size=2, max_size=2), st.permutations(range(3)))
def test_merging_is_associative_and_commutes(cuts, order):
    a, b = sorted(cuts)
    parts = [
        made(ROWS[i:j], LABELS[i:j])
        if j > i
        else TokenMoments.empty(WEIGHTS["signed"], T, gram=True, classes=C, vocabulary=V)
        for i, j in ((0, a), (a, b), (b, N))
    ]
    whole = made(ROWS, LABELS)
    x, y, z = (parts[i] for i in order)
    assert_close((x + y) + z, whole)
    assert_close(x + (y + z), whole)


def test_merging_changes_neither_and_keeps_what_both_keep():
    a, b = made(ROWS[:50], LABELS[:50], keep=True), made(ROWS[50:], LABELS[50:], keep=True)
    before = {name: value.copy() for name, value in a.state().items()}
    both = a + b
    assert np.concatenate(both.pooled).shape == (N, D)
    assert (a + made(ROWS, LABELS)).pooled == []
    both.add(ROWS, table=TABLE, labels=LABELS)
    for name, value in a.state().items():
        np.testing.assert_array_equal(value, before[name])


def test_moments_that_do_not_fit_are_refused():
    m = made(ROWS, LABELS)
    for message, other in (
        ("agree on length", TokenMoments.empty("mean", T + 1)),
        ("agree on classes", TokenMoments.empty(WEIGHTS["signed"], T, gram=True, vocabulary=V)),
        ("agree on gram", TokenMoments.empty(WEIGHTS["signed"], T, classes=C, vocabulary=V)),
        ("the same weights", TokenMoments.empty("mean", T, gram=True, classes=C, vocabulary=V)),
    ):
        with pytest.raises(ValueError, match=message):
            m + other
    blank = TokenMoments.empty("mean", T)
    with pytest.raises(ValueError, match="one width, got 3 and 2"):
        blank.blank().add(ROWS, table=TABLE) + blank.blank().add(ROWS, table=TABLE[:, :2])
    with pytest.raises(ValueError, match="gram=True"):
        blank.blank().add(ROWS, table=TABLE).positional_gram()
    with pytest.raises(ValueError, match="at least 2 sequences of at least 4 tokens, got 0"):
        blank.blank().add([row[:2] for row in ROWS], table=TABLE).noise()


@pytest.mark.parametrize("which", ["full", "empty", "pooled"])
def test_state_and_files(tmp_path, which):
    m = TokenMoments.empty(WEIGHTS["signed"], T, keep=True, gram=True, classes=C, vocabulary=V)
    if which == "full":
        m = made(ROWS, LABELS, keep=True)
    elif which == "pooled":
        m = TokenMoments.empty("mean", T, keep=True, noise=False).add(RNG.standard_normal((9, D)))
    m.save(tmp_path / "m.npz")
    assert [p.name for p in tmp_path.iterdir()] == ["m.npz"]
    for other in (TokenMoments.from_state(m.state()), TokenMoments.load(tmp_path / "m.npz")):
        assert other.state().keys() == m.state().keys()
        for name, value in m.state().items():
            np.testing.assert_array_equal(value, other.state()[name])
            assert value.dtype == other.state()[name].dtype
    if which == "full":  # goes on to the same bits
        again = TokenMoments.load(tmp_path / "m.npz").add(ROWS, table=TABLE, labels=LABELS)
        m.add(ROWS, table=TABLE, labels=LABELS)
        np.testing.assert_array_equal(again.covariance(), m.covariance())
    (tmp_path / "m.npz").write_bytes(b"PK nothing")
    with pytest.raises(ValueError, match=r"m.npz' is damaged"):
        read_arrays(tmp_path / "m.npz")
    with pytest.raises(ValueError, match=r"must end in .npz"):
        m.save(tmp_path / "m.txt")


def test_bad_input_is_named_and_changes_nothing():
    m = made(ROWS, LABELS)
    before = {name: value.copy() for name, value in m.state().items()}
    vectors = [TABLE[row] for row in ROWS]
    vectors[33] = vectors[33].copy()
    vectors[33][0, 1] = np.nan
    ids, mask = padded(ROWS, "right")
    none = mask.copy()
    none[12] = False
    outside = [*ROWS]
    outside[45] = np.array([0, -1])
    plain = TokenMoments.empty("mean", T, noise=False)
    for message, call in (
        ("ids from 0 to 39, got -1 to 39, first in sequence 45$", lambda: m.add(outside, table=TABLE)),
        ("none in sample 12$", lambda: m.add(ids, mask=none, table=TABLE)),
        ("none in sample 2$", lambda: m.add([ROWS[0], ROWS[1], ROWS[2][:0]], table=TABLE)),
        ("none in sample 1$", lambda: m.add(Ragged(ids[0], np.array([0, 3, 3, 4])), table=TABLE)),
        ("NaN or infinite entries in sequence 33$", lambda: plain.add(vectors)),
        (
            "labels must be 150 whole numbers below classes = 3",
            lambda: m.add(ROWS, table=TABLE, labels=LABELS + 1),
        ),
        ("labels must be 150", lambda: m.add(ROWS, table=TABLE, labels=LABELS[:9])),
        ("one width|features", lambda: m.add(ROWS, table=TABLE[:, :2], labels=LABELS)),
        ("mask must be boolean and of shape", lambda: m.add(ids, mask=mask[:3], table=TABLE)),
        ("mask must be None", lambda: m.add(Ragged.of(ROWS), mask=mask, table=TABLE)),
        ("offsets must rise", lambda: Ragged(ids[0], np.array([0, 3, 2]))),
        ("offsets must rise", lambda: Ragged(ids[0], np.array([0, 300]))),
        ("weights must be 4 finite numbers", lambda: TokenMoments.empty(np.zeros(T), T)),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(SequenceError) as caught:
        plain.add(vectors)
    assert caught.value.sequence == 33
    for name, value in m.state().items():
        np.testing.assert_array_equal(value, before[name])


def test_nothing_is_changed_in_place():
    vectors = RNG.standard_normal((20, T, D))
    z, table = RNG.standard_normal((20, D)), TABLE.copy()
    single = z.astype(np.float32)
    copies = [x.copy() for x in (vectors, z, table, single)]
    m = TokenMoments.empty("mean", T, gram=True)
    m.add(vectors).add(ROWS, table=table).add(vectors[:, :1])
    m.add(z).add(single)
    for x, copy in zip((vectors, z, table, single), copies):
        np.testing.assert_array_equal(x, copy)


def test_between_is_unbiased_and_its_naive_twin_is_not():
    rng = np.random.default_rng(3)
    n, runs = 15, 600
    y = np.repeat(np.arange(C), [3, 5, 7])
    means = rng.standard_normal((C, 2, D))
    shares = np.array([3, 5, 7]) / n
    off = means - np.einsum("c,ckd->kd", shares, means)
    wanted = np.einsum("c,ckd,cld->kl", shares, off, off)
    found, naive = [], []
    for _ in range(runs):
        shared = rng.standard_normal((n, 1, D))  # correlated positions
        x = means[y] + shared + 2 * rng.standard_normal((n, 2, D))
        m = TokenMoments.empty("mean", 2, gram=True, classes=C).add(x, labels=y)
        found.append(m.between())
        naive.append(m.between() + m.within() * (C - 1) / n)
    for values, good in ((found, True), (naive, False)):
        values = np.array(values)
        error = (values.mean(axis=0) - wanted) / (values.std(axis=0) / np.sqrt(runs))
        assert (np.abs(error).max() < 4) == good


def test_noise_is_the_covariance_of_pooled_independent_tokens():
    """tr C / tr S₀ is one for independent tokens, and more for tokens of one sequence that are alike."""
    rng = np.random.default_rng(4)
    x = rng.standard_normal((4000, T, D))
    apart = TokenMoments.empty(WEIGHTS["signed"], T).add(x)
    alike = TokenMoments.empty("mean", T).add(x + rng.standard_normal((4000, 1, D)))
    assert apart.design_effect == pytest.approx(1, abs=0.05)
    assert alike.design_effect == pytest.approx((1 / T + 1) / (2 / T), rel=0.05)


def test_subsets_of_any_form():
    which = np.array([3, 77, 78, 120])
    for name, X, mask, table in forms():
        data = TokenSequences(X, mask, table, dtype=None)
        part = data.subset(which)
        w = WEIGHTS["signed"]
        np.testing.assert_allclose(
            part.combine(part.weights(w)), data.combine(data.weights(w))[which], rtol=1e-12, err_msg=name
        )


def test_without_warnings_where_a_class_is_missing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        m = made(ROWS, np.minimum(LABELS, 1))
        assert np.isfinite(m.between()).all()


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "u4", "u8", ">i4", ">i8"])
def test_ids_of_any_type(dtype):
    """More tokens than the type can count."""
    ids = RNG.integers(0, V, (100, T))
    made, wanted = (
        TokenMoments.empty("mean", T, gram=True, vocabulary=V).add(own, table=TABLE)
        for own in (ids.astype(dtype), ids)
    )
    for name, value in wanted.sums.items():
        np.testing.assert_array_equal(made.sums[name], value)


@pytest.mark.parametrize("dtype", [">f8", "g"])
def test_double_precision_stays(dtype):
    x = TABLE[RNG.integers(0, V, (100, T))]
    assert TokenSequences(x.astype(dtype), None, None, None).combine(np.ones(400)).dtype == np.float64
    made, wanted = (TokenMoments.empty("mean", T).add(own).covariance() for own in (x.astype(dtype), x))
    np.testing.assert_array_equal(made, wanted)


def test_what_numbers_do_not_hold_is_refused():
    x = np.float32(1e25) * RNG.standard_normal((20, 3), dtype=np.float32)
    with np.errstate(over="ignore"), pytest.raises(ValueError, match="sums and squares float32 can hold"):
        TokenMoments.empty("mean", T).add(x)


def test_empty_lists_ids_above_the_vocabulary_and_masks_to_be_added():
    moments = TokenMoments.empty("mean", T, vocabulary=V)
    with pytest.raises(SequenceError, match="none in sample 1"):
        moments.add([[1, 2], [], [3]], table=TABLE)
    with pytest.raises(ValueError, match=f"vocabulary must be above all ids, got 5 and id {V - 1}"):
        TokenMoments.empty("mean", T, vocabulary=5).add([[V - 1, 2]], table=TABLE)
    with pytest.raises(ValueError, match="mask must be boolean, or zeros and ones, got -inf"):
        moments.add(np.zeros((1, 2), dtype=int), mask=[[0.0, -np.inf]], table=TABLE)
    assert not moments.count


def test_few_sequences_of_many_classes_have_a_covariance():
    moments = TokenMoments.empty("mean", T, classes=50).add(
        RNG.standard_normal((10, T, D)), labels=np.arange(10)
    )
    assert moments.covariance().shape == moments.noise().shape == (D, D)
    assert moments.design_effect > 0
