"""Learn pooling weights

Only the first three of twelve tokens say something. `PositionalPooling` learns that, checks it against the mean by cross-validation
and says what it did. Needs `pip install 'resolvent[sklearn]'`.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from resolvent.estimators import PositionalPooling

rng = np.random.default_rng(0)
y = rng.integers(0, 2, 400)
X = rng.standard_normal((400, 12, 16))  # sequences, positions, features
X[:, :3, 0] += 1.5 * y[:, None]

accuracy = {}
for method in ("mean", "perron", "supervised"):
    pooling = PositionalPooling(method=method, random_state=0)
    model = make_pipeline(pooling, LogisticRegression())
    accuracy[method] = cross_val_score(model, X, y, cv=4).mean()
    weights = pooling.fit(X, y).weights_
    print(pooling.report_)
    plt.step(
        range(1, 13), weights / weights.sum(), where="mid", label=f"{method}: {accuracy[method]:.0%} right"
    )

plt.xlabel("position")
plt.ylabel("weight")
plt.legend()
plt.savefig("learn_pooling.png")
