"""Claims for elliptical attention: data, training, attacks and verdicts; every test of chance has a twin that fails."""

import numpy as np
import pytest
from scipy import stats

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

from resolvent.experiments import depth_similarity as depth  # noqa: E402
from resolvent.experiments import elliptical_claims as claims  # noqa: E402

DIGITS = {"layers": 2, "width": 16, "heads": 2, "batch": 32, "rate": 2e-2, "epochs": 2}
TEXT = {"layers": 2, "width": 16, "heads": 2, "batch": 8, "rate": 1e-2, "steps": 30}
TEXT |= {"context": 16, "vocabulary": 60}
TINY = {"seeds": 2, "digits": DIGITS, "text": TEXT}


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The two datasets, from one cache, and how often a network was trained."""
    joblib = pytest.importorskip("joblib")
    memory = joblib.Memory(tmp_path_factory.mktemp("cache"), verbose=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(depth.SIZES, "quick", TINY)
        first = depth.run("quick", memory=memory, jobs=1)
        cached = memory.cache(depth.trained)
        tasks = [task for source in depth.SOURCES for task in depth.tasks(source, TINY)]
        assert all(cached.check_call_in_cache(**task) for task in tasks)
        patch.setattr(torch.optim, "AdamW", None)  # the second figure trains nothing
        second = claims.run("quick", memory=memory, jobs=1)
    return first, second


def test_token_cosines_cover_every_variant_and_layer(both):
    data = both[0]
    assert data.digits_residual.shape == (5, 2, 2)
    assert data.text_output.shape == (6, 2, 2)
    for key in ("digits_residual", "digits_output", "text_residual", "text_output"):
        assert np.abs(data[key]).max() <= 1
    assert np.isfinite(data.digits_loss).all()
    assert float(data.digits_loss.max()) < np.log(10)  # learned more than the classes' frequencies
    assert float(data.text_loss.max()) < np.log(60)
    assert "Last layer: digits, residual stream: dot 0." in data.attrs["caption"]


def test_values_are_where_they_should_be(both):
    data = both[1]
    ahead = data.value.sel(variant="look_ahead").values
    digits = np.array([claim.source == "digits" for claim in claims.CLAIMS])
    assert np.isnan(ahead[digits]).all()
    assert np.isfinite(ahead[~digits]).all()
    assert np.isfinite(data.value.drop_sel(variant="look_ahead")).all()
    accuracy = data.value.values[:5, :5]
    assert ((accuracy >= 0) & (accuracy <= 1)).all()
    assert (accuracy[0] > 0.2).all()  # chance is 0.1
    assert (accuracy[3] <= accuracy[0]).all()  # FGSM does not help
    assert (data.value.values[7] < 60).all()
    assert int(np.isfinite(data.p).sum()) == 3 * len(claims.CLAIMS) + 1
    assert "37 comparisons: 0.37 false ones expected" in data.attrs["caption"]
    last = both[0].digits_residual.sel(digits_variant="random").values[:, -1]
    np.testing.assert_allclose(data.value.sel(variant="random").values[5], last)


def test_figures_draw_from_their_files(both, tmp_path):
    xr = pytest.importorskip("xarray")
    pyplot = pytest.importorskip("matplotlib.pyplot")
    for module, data in zip((depth, claims), both):
        data.to_netcdf(tmp_path / "data.nc", engine="scipy")
        figure = module.draw(xr.load_dataset(tmp_path / "data.nc", engine="scipy"))
        figure.savefig(tmp_path / "figure.png", dpi=60)
        assert (tmp_path / "figure.png").stat().st_size > 10_000
        pyplot.close(figure)


def drawn(seed):
    """Numbers of no claim: a level of each seed, which all variants share, and a little noise."""
    rng = np.random.default_rng(seed)
    rows, seeds = len(claims.CLAIMS), 5
    noise = rng.standard_normal((rows, len(depth.VARIANTS), seeds))
    return rng.standard_normal((rows, 1, seeds)) + 0.1 * noise


VARIANTS = list(depth.VARIANTS)
BETTER = np.array([claim.better for claim in claims.CLAIMS])


def test_paired_tests_are_those_of_scipy():
    values = drawn(0)
    benefit, error, p, _, _ = claims.judged(values, VARIANTS)
    for j, (one, other) in enumerate(claims.COMPARISONS[:3]):
        a, b = values[:, VARIANTS.index(one)], values[:, VARIANTS.index(other)]
        np.testing.assert_allclose(p[:, j], stats.ttest_rel(a, b, axis=-1).pvalue, rtol=1e-12)
        np.testing.assert_allclose(benefit[:, j], BETTER * (a - b).mean(-1))
        np.testing.assert_allclose(error[:, j], stats.sem(a - b, axis=-1))
    # unpaired, the level that all variants of a seed share hides the effect
    values[:, VARIANTS.index("elliptical")] += 0.5
    a, b = values[:, VARIANTS.index("elliptical")], values[:, VARIANTS.index("dot")]
    assert (claims.judged(values, VARIANTS)[2][:, 0] < 0.05).all()
    assert (stats.ttest_ind(a, b, axis=-1).pvalue > 0.05).all()


def test_verdicts_follow_the_direction_and_need_both_controls():
    at = {name: i for i, name in enumerate(VARIANTS)}
    shift = np.zeros((len(BETTER), len(VARIANTS), 1))
    shift[:, [at["elliptical"], at["elliptical_mean"]], 0] = BETTER[:, None]
    quiet = 0.05 * drawn(1)
    _, _, _, verdict, of_mean = claims.judged(quiet + shift, VARIANTS)
    assert (verdict == 1).all()
    assert (of_mean == 1).all()
    _, _, _, verdict, of_mean = claims.judged(quiet - shift, VARIANTS)
    assert (verdict == -1).all()
    assert (of_mean == -1).all()
    shift[:, at["temperature"], 0] = BETTER  # a lower temperature does as well: nothing shown for the metric
    assert not (claims.judged(quiet + shift, VARIANTS)[3] == 1).any()
    shift[:, at["temperature"], 0] = 2 * BETTER
    assert (claims.judged(quiet + shift, VARIANTS)[3] == -1).all()
    # seeds that all agree, and a single seed, leave a verdict open
    same = np.broadcast_to(shift, (*shift.shape[:2], 4))
    for values in (same, same[..., :1]):
        assert not claims.judged(values, VARIANTS)[3].any()


def test_false_verdicts_come_at_the_stated_level():
    draws = 400
    p = np.stack([claims.judged(drawn(seed), VARIANTS)[2][:, 2] for seed in range(draws)])
    level, n = 0.05, p.size
    bound = 4 * np.sqrt(level * (1 - level) / n)
    assert abs((p < level).mean() - level) < bound
    # a normal law instead of Student's, with five seeds, makes more than twice as many
    found = [claims.judged(drawn(seed), VARIANTS)[:2] for seed in range(draws)]
    z = np.stack([np.abs(benefit[:, 2] / error[:, 2]) for benefit, error in found])
    assert (2 * stats.norm.sf(z) < level).mean() - level > 3 * bound


def test_windows_are_the_text_in_order():
    row, test = depth.windows(16, 60)
    assert test.shape == (depth.TEST_WINDOWS, 17)
    assert row.max() == test.max() == 59
    assert torch.equal(test[:-1, -1], test[1:, 0])  # the word that one predicts last is the next one's first
    counts = torch.bincount(row, minlength=60)[1:]
    assert (counts[:-1] >= counts[1:]).all()
    x, y, x_test, y_test = depth.images()
    assert (len(x), len(y), len(x_test), len(y_test)) == (1437, 1437, 360, 360)
    assert float(x.min()) == 0
    assert float(x.max()) == 1


def test_variants_start_equal_and_part_after_the_first_layer():
    x = depth.images()[2][:8]
    made = {name: depth.network("digits", name, 3, **DIGITS).eval() for name in depth.variants("digits")}
    other = depth.network("digits", "dot", 4, **DIGITS)
    for name, model in made.items():
        for a, b in zip(model.state_dict().values(), made["dot"].state_dict().values()):
            assert torch.equal(a, b)
        with torch.no_grad():
            first, second = (made[n](x, similarity=True)[1]["residual"] for n in (name, "dot"))
        assert torch.equal(first[0], second[0])
        assert torch.equal(first, second) == (name == "dot")
    pairs = zip(other.state_dict().values(), made["dot"].state_dict().values())
    assert not all(torch.equal(a, b) for a, b in pairs)


def test_training_repeats_and_weights_carry_the_network():
    size = DIGITS | {"epochs": 1}
    one, two = (depth.trained("digits", "elliptical", 0, **size) for _ in range(2))
    assert one["loss"] == two["loss"]
    assert np.array_equal(one["weights"], two["weights"])
    x = depth.images()[2]
    model = depth.network("digits", "elliptical", 9, weights=one["weights"], **size)
    with torch.no_grad():
        cosine = model(x, similarity=True)[1]["residual"].mean(1)
    np.testing.assert_allclose(cosine, one["residual"], rtol=1e-6)


@pytest.mark.parametrize(("variant", "hidden"), [("elliptical", True), ("temperature", True), ("dot", False)])
def test_attacks_see_through_the_metric(variant, hidden):
    x, y = (part[:16] for part in depth.images()[2:])
    slopes, logits = [], []
    for detach in (True, False):
        model = depth.network("digits", variant, 0, detach=detach, **DIGITS)
        at = x.clone().requires_grad_(True)
        logits.append(model(at))
        loss = torch.nn.functional.cross_entropy(logits[-1], y)
        slopes.append(torch.autograd.grad(loss, at)[0])
    assert torch.equal(*logits)
    assert torch.equal(*slopes) != hidden


def test_attacks_stay_near_and_raise_the_loss():
    weights = depth.trained("digits", "elliptical", 0, **DIGITS)["weights"]
    model = depth.network("digits", "elliptical", 0, weights=weights, detach=False, **DIGITS)
    x, y = depth.images()[2:]
    start = 0.05 * (2 * torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) - 1)

    def loss(images):
        with torch.no_grad():
            return float(torch.nn.functional.cross_entropy(model(images), y))

    moved = claims.ascended(model, x, y, start, 0.05, 0.0125, 10)
    assert float((moved - x).abs().max()) <= 0.05 + 1e-6
    assert float(moved.min()) >= 0
    assert float(moved.max()) <= 1
    single = claims.ascended(model, x, y, torch.zeros_like(x), 0.05, 0.05, 1)
    assert loss(x) < loss(single) < loss(moved)
    assert loss((x + start).clamp(0, 1)) < loss(single)  # a random direction does less
    assert loss(claims.ascended(model, x, y, torch.zeros_like(x), 0.05, -0.05, 1)) < loss(x)


def test_words_are_swapped_at_the_stated_rate_and_targets_kept():
    test = depth.windows(16, 60)[1]
    reads = []

    def uniform(read):
        reads.append(read)
        return torch.zeros(*read.shape, 60)

    found = claims.swapped(uniform, 0, 16, 60)
    assert list(found) == ["clean", "swap_10", "swap_25"]
    np.testing.assert_allclose(list(found.values()), 60, rtol=1e-5)
    clean, ten, quarter = reads
    assert torch.equal(clean, test[:, :-1])
    known = clean != depth.UNKNOWN
    for read, share in ((ten, 0.10), (quarter, 0.25)):
        gone = (read == depth.UNKNOWN)[known].double().mean()
        bound = 4 * np.sqrt(share * (1 - share) / int(known.sum()))
        assert abs(float(gone) - share) < bound
        assert abs(float(gone) - (0.35 - share)) > bound  # the other rate fails
    assert ((ten != depth.UNKNOWN) | (quarter == depth.UNKNOWN)).all()

    def copying(read):  # knows the next word from the text itself: swapped input, true targets
        return 50.0 * torch.nn.functional.one_hot(test[:, 1:], 60).float()

    np.testing.assert_allclose(list(claims.swapped(copying, 0, 16, 60).values()), 1, rtol=1e-5)


@pytest.mark.parametrize("variant", list(depth.VARIANTS))
def test_only_looking_ahead_looks_ahead(variant):
    weights = depth.trained("text", variant, 0, **TEXT)["weights"]
    model = depth.network("text", variant, 0, weights=weights, **TEXT)
    ids = depth.windows(16, 60)[1][:4, :-1]
    changed = ids.clone()
    changed[:, -1] = (changed[:, -1] + 7) % 60
    with torch.no_grad():
        leak = float((model(ids) - model(changed))[:, :-1].abs().max())
    assert leak > 1e-6 if variant == "look_ahead" else leak == 0


def test_what_is_missing_is_named(monkeypatch):
    assert depth.missing() is None
    assert claims.missing() is None
    monkeypatch.setattr(depth, "find_spec", lambda name: None)
    assert "resolvent[torch,sklearn]" in depth.missing()
    assert "resolvent[torch,sklearn]" in claims.missing()
