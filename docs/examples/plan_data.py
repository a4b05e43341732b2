"""How much data do I need?

Estimate from the documents that there are how well their leading direction aligns with the true one, and how many documents a better
alignment takes.
"""

import matplotlib.pyplot as plt
import numpy as np

from resolvent import Prefix, estimate
from resolvent.tables import draw_noise, draw_tokens, token_signs

rng = np.random.default_rng(0)
tokens = draw_tokens(Prefix(12, 4).sample(800, rng=rng), 1000, rng=rng)  # your (N, T) token ids
table = draw_noise(1000, 100, rng=rng)  # your (V, d) table
table[:, 0] += 0.8 * token_signs(1000)

found = estimate(tokens, table)
print(found)
print(found.samples_for(0.9, "learned"))

targets = np.linspace(0.5, 0.95, 10)
for colour, name in zip(("C0", "C2"), ("mean", "learned")):
    needed = [found.samples_for(target, name) for target in targets]
    known = [n.samples is not None for n in needed]
    plt.semilogy(targets[known], [n.samples for n in needed if n.samples], colour, label=f"{name} weights")
plt.axhline(len(tokens), color="grey", ls=":", label="documents there are")
plt.xlabel("wanted squared overlap with the true direction")
plt.ylabel("documents needed")
plt.legend()
plt.savefig("plan_data.png")
