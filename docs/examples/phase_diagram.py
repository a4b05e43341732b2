"""A phase diagram

Where does an outlier exist, and how well does it align with the signal? `resolvent.spikes` is array in, array out: a grid is
one call.
"""

import matplotlib.pyplot as plt
import numpy as np

from resolvent import Prefix, plots, spikes, weights

signal = np.linspace(0, 2, 161)
delta = np.geomspace(0.05, 2, 121)[:, None]  # d/V
gamma = 1 / 3  # d/N
positions = Prefix(50, 10)

figure, axes = plt.subplots(1, 2, figsize=(8, 3.6), sharey=True, layout="constrained")
for ax, (name, w) in zip(
    axes, {"mean": weights.mean(50), "optimal": weights.optimal(positions.matrix)}.items()
):
    snr = weights.snr(w, positions.matrix)
    overlap = spikes.alignment(signal, snr, delta, gamma)
    boundary = spikes.critical_signal(snr, delta[:, 0], gamma)
    mesh = plots.alignment_map(ax, signal, delta[:, 0], overlap, boundary=boundary)
    ax.set_yscale("log")
    ax.set_title(f"{name} weights, snr = {snr:.3g}")
    print(f"{name}: at delta = 0.05, signals above {boundary[0]:.3f} show")
figure.colorbar(mesh, ax=axes, label="squared overlap")
plt.savefig("phase_diagram.png")
