"""Extra 22: pooling weights on static embeddings of real text, what goes wrong with them, and what catches it."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from resolvent import corpora, datasets
from resolvent.experiments.pooling_contextual import GUARDED, compared, drawn, lines, planted, summary, text
from resolvent.nulls import permute_tokens
from resolvent.sweeps import run_all
from resolvent.token_moments import TokenMoments

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

__all__ = ["draw", "missing", "run"]

SIZES: dict[str, dict[str, Any]] = {
    "quick": {"documents": 600, "splits": 4},
    "paper": {"documents": 1300, "splits": 10},
    "large": {"documents": 2200, "splits": 10},
}
CONTROLS = ("planted iid", "planted coherent", "template", "shuffled")
COLON = 1024  # in the vocabulary of MiniLM
MEASURES = ("ridge", "pca10", "few20")
METHODS = (
    *("mean", "causal", "increasing", "decreasing", "eigenvector", "perron", "excess"),
    *("supervised, ridge 1", *GUARDED, "oracle"),
)


def missing() -> str | None:
    """What must be installed first, None when nothing is."""
    if "minilm-tokens" in datasets.installed() and corpora.available() and find_spec("sklearn"):
        return None
    return "needs a real table, real text and scikit-learn: pip install 'resolvent[data,sklearn]'"


def run(scale: str, **options: Any) -> xarray.Dataset:
    """Every installed corpus, and controls made of the first one."""
    size = SIZES[scale]
    names = list(size.get("corpora", corpora.available()))
    pairs = [*((name, "") for name in names), *((names[0], control) for control in CONTROLS)]
    tasks = [
        {"name": name, "control": control, "documents": size["documents"], "splits": size["splits"]}
        for name, control in pairs
    ]
    results = run_all(measured, tasks, label="pooling static vectors", **options)
    cases = [f"{name}, {control}" if control else name for name, control in pairs]
    dataset = summary(cases, METHODS, MEASURES, results)
    shuffled = dataset.cosine.sel(case=cases[-1], pooling=["eigenvector", "perron", "excess"]).values.min()
    masses = ", ".join(f"{case} {float(r):.2f}" for case, r in zip(cases, dataset.signed_mass))
    dataset.attrs = {
        "title": "Pooling static embeddings of text",
        "caption": "MiniLM token embeddings of documents, pooled with weights over positions learned on training documents; "
        f"balanced accuracy over {size['splits']} stratified splits, 30 % held out, by ridge classification (ridge), the same "
        "of ten principal components (pca10) and of 20 labels a class (few20). Controls made of "
        f"{names[0]}: planted, only the first quarter of the tokens belongs to the document, the rest to no document (iid) "
        "or to one other (coherent), and oracle pools that quarter; template, every second token is a colon, from the first "
        "or from the second on; shuffled, the tokens of each document in random order, where the right weights "
        f"are uniform (cosine of the three spectral ones at least {shuffled:.3f}). Eigenvector: of the positional Gram matrix "
        "off its diagonal, with no guard. Refused: share of splits in which mean pooling was kept because signs cancel "
        "(gate), or by cross-validation. Bold: |t| above "
        f"{dataset.attrs['critical']:.2f} (paired, corrected for overlapping training sets). Signed mass of the eigenvector: "
        f"{masses}. Mean pooling, then differences to it, {'/'.join(MEASURES)}: {lines(dataset)}.",
    } | dataset.attrs
    return dataset


def measured(name: str, control: str, documents: int, splits: int) -> dict[str, Any]:
    """Accuracies and weights of one case."""
    table = datasets.load("minilm-tokens")
    corpus = text(name, documents)
    tokens = changed(corpus.tokens, control)
    T = tokens.shape[1]

    def null(train: np.ndarray) -> TokenMoments:
        empty = TokenMoments.empty("mean", T, noise=False, gram=True)
        return empty.add(permute_tokens(tokens[train], seed=1), table=table)

    quarter = T // 4 if control.startswith("planted") else None
    return compared(
        tokens, corpus.labels, METHODS, MEASURES, null=null, table=table, splits=splits, informative=quarter
    )


def changed(tokens: np.ndarray, control: str) -> np.ndarray:
    """The documents of a control."""
    rng = np.random.default_rng(5)
    if control == "shuffled":
        return rng.permuted(tokens, axis=1)
    if control == "template":  # as in the headers of mail: name, colon, value, by a phase that says nothing
        phase = rng.integers(0, 2, (len(tokens), 1))
        return np.where((np.arange(tokens.shape[1]) + phase) % 2 == 0, COLON, tokens)
    return planted(tokens, control)


def draw(dataset: xarray.Dataset) -> Figure:
    """Differences to mean pooling, ridge and few labels; weights of plain text and of the controls."""
    cases = [str(case) for case in dataset.case.values]
    plain = [case for case in ("debian", "docstrings", cases[0]) if case in cases][:1]
    return drawn(dataset, ("eigenvector", "perron", "supervised, ridge 1"), [*plain, *cases[-4:]], gated=True)
