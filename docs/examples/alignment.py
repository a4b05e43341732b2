"""Predict, simulate, compare

A model predicts its limit and simulates finite draws of itself, with the same field names; `compare` sets the two side by
side with standard errors.
"""

import matplotlib.pyplot as plt
import numpy as np

from resolvent import PooledSequences, Prefix
from resolvent.compare import compare

signals = np.linspace(0, 2, 81)
for colour, weights in zip(("C0", "C1", "C2"), ("mean", "causal", "optimal")):
    model = PooledSequences(400, 1600, 1200, Prefix(50, 10), weights, signal=signals)
    plt.plot(signals, model.predict().overlap, colour, label=weights)
    draws = model.sweep(signals[::8], seeds=range(4)).overlap
    plt.errorbar(draws.signal, draws.mean("seed"), draws.std("seed"), fmt=colour + ".")

one = PooledSequences(400, 1600, 1200, Prefix(50, 10), "optimal", signal=1.0)
print(compare(one, range(4)).to_dataframe().round(3).to_string())

plt.xlabel("signal ‖μ‖")
plt.ylabel("squared overlap with the signal")
plt.title("lines: theory; dots: four draws at d = 400")
plt.legend()
plt.savefig("alignment.png")
