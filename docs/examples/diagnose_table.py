"""Diagnose a table

How many components of a matrix of embeddings are real? Any (N, d) array will do, and so will a file:
`resolvent diagnose table.npy`. The table here comes with the package: 994 token vectors that were never trained.
"""

import matplotlib.pyplot as plt
import numpy as np

from resolvent import datasets, diagnose, plots

table = datasets.load("minilm-unused").astype(float)
np.save("table.npy", table)

report = diagnose(np.load("table.npy", mmap_mode="r"))
print(report)

plots.diagnosis(plt.gca(), report)
plt.savefig("diagnose_table.png")
