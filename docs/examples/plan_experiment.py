"""Planning an experiment

The smallest sample that reaches a wanted alignment, and the end of what any sample can reach.
"""

import matplotlib.pyplot as plt
import numpy as np

from resolvent import plan

targets = np.linspace(0.02, 0.98, 97)
for colour, vocabulary in zip(("C0", "C1", "C2"), (1600, 4000, 16000)):
    answers = [plan(t, dimension=400, vocabulary=vocabulary, snr=5, signal=1) for t in targets]
    reached = [a for a in answers if a.reachable]
    plt.semilogy([a.target for a in reached], [a.value for a in reached], colour, label=f"V = {vocabulary:,}")
    plt.axvline(answers[-1].overlap, color=colour, ls=":")  # what infinitely many samples give
    print(plan(0.7, dimension=400, vocabulary=vocabulary, snr=5, signal=1))

plt.xlabel("wanted squared overlap with the signal")
plt.ylabel("sequences needed")
plt.title("d = 400, snr = 5, ‖μ‖ = 1; dotted: no sample reaches more")
plt.legend()
plt.savefig("plan_experiment.png")
