"""The paper's figures and ours, one file each: ``run(scale, ...)`` makes a dataset, ``draw(dataset)`` a figure.

``run`` never draws and ``draw`` never computes, so figures can be restyled from their data files alone.
Every dataset carries its ``title`` and ``caption``, with all numbers, as attributes.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

__all__ = ["FIGURES", "SCALES", "load"]

SCALES = ("quick", "paper", "large")

# name of the module -> number in the paper
FIGURES = {
    "heat_map": "Figure 2",
    "spectra": "Figure 3",
    "alignment": "Figure 4",
    "critical_signal": "Figure 5",
    "ridge": "Figure 6",
    "real_tables": "Figure 7",
    "published": "Extra 1",
    "finite_size": "Extra 2",
    "agreement": "Extra 3",
    "static_null": "Extra 4",
    "salad_null": "Extra 5",
    "components": "Extra 6",
    "learning_curves": "Extra 7",
    "query_alignment": "Extra 8",
    "separability": "Extra 9",
    "oracle_error": "Extra 10",
    "crossover": "Extra 11",
    "equivalence": "Extra 12",
    "task_correlation": "Extra 13",
    "low_rank": "Extra 14",
    "drift": "Extra 15",
    "bad_minima": "Extra 16",
    "nadaraya_watson": "Extra 17",
    "metric_snr": "Extra 18",
    "spurious_outlier": "Extra 19",
    "depth_similarity": "Extra 20",
    "elliptical_claims": "Extra 21",
    "pooling_static": "Extra 22",
    "pooling_contextual": "Extra 23",
    "finite_length": "Extra 24",
    "error_bars": "Extra 25",
    "query_outliers": "Extra 26",
    "several_classes": "Extra 27",
    "mixed_correlations": "Extra 28",
    "real_vocabulary": "Extra 29",
    "depth_and_heads": "Extra 30",
    "loss_landscape": "Extra 31",
}


def load(name: str) -> ModuleType:
    """Import the experiment `name`, one of `FIGURES`."""
    return import_module(f"resolvent.experiments.{name}")
