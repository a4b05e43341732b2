"""Few tokens that matter

One token in ten carries the label. Attention that was trained by two gradient steps finds it; pooling and a classifier
of all tokens do not.
"""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np

from resolvent import SparseTokenClassification

model = SparseTokenClassification(100, 10, 1, 4.0, 0.5, samples_query=400, samples_readout=400).tuned()
signals = np.linspace(1, 7, 7)
predictions = [replace(model, signal=signal).predict() for signal in signals]
for name, colour in {"attention": "C0", "pooled": "C1", "vectorised": "C2"}.items():
    plt.plot(signals, [getattr(p, name).error for p in predictions], colour, label=name)

for signal in (2.0, 4.0, 6.0):
    draw = replace(model, signal=signal).simulate(seed=0, classifiers=("attention", "pooled"))
    plt.plot(signal, draw.attention.error, "C0o")
    plt.plot(signal, draw.pooled.error, "C1o")
    print(f"theta = {signal:g}: attention errs {draw.attention.error:.3f}, pooling {draw.pooled.error:.3f}")

plt.xlabel("signal θ in the one token that carries it")
plt.ylabel("test error")
plt.title("lines: theory; dots: one draw at d = 100")
plt.legend()
plt.savefig("sparse_tokens.png")
