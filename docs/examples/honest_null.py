"""An honest null

Pooled text inherits the covariance of its tokens, so that a plain Marchenko–Pastur edge finds a hundred components even in shuffled
text. Whiten by what independent tokens would give, and count then. Needs `pip install 'resolvent[data]'`.
"""

import matplotlib.pyplot as plt
import numpy as np

from resolvent import corpora, datasets, diagnose, nulls, plots
from resolvent.bulk import textbook_law

table = datasets.load("minilm-tokens")  # or your own (V, d) array
tokens = corpora.tokens("bbc", length=64, limit=1200).tokens  # or your own (N, T) token ids
shuffled = np.random.default_rng(0).permuted(
    tokens, axis=0
)  # positions keep their words, documents lose theirs

figure, axes = plt.subplots(2, 1, figsize=(6.4, 7), layout="constrained")
for ax, name, documents in zip(axes, ("news", "shuffled across documents"), (tokens, shuffled)):
    null = nulls.token_noise(documents, table)
    report = diagnose(null.features, null=null)
    plain = diagnose(null.features)
    edge = textbook_law(plain.eigenvalues, plain.ratio).support[0][1]
    print(
        f"{name}: {report.components} real components; {(plain.eigenvalues > edge).sum()} by the plain edge"
    )
    plots.diagnosis(ax, report)
    ax.set_title(f"{name}: {report.components} real components", fontsize=10)
plt.savefig("honest_null.png")
