"""Golden data of the figures: theory variables at tiny sizes. ``python tests/golden.py`` writes them anew."""

import json
import pathlib

import numpy as np

from resolvent import experiments

FILE = pathlib.Path(__file__).with_name("golden.json")

NETWORKS = {
    "seeds": 2,
    "digits": {"layers": 2, "width": 16, "heads": 2, "batch": 32, "rate": 2e-2, "epochs": 1},
    "text": {"layers": 2, "width": 16, "heads": 2, "batch": 8, "rate": 1e-2, "steps": 10}
    | {"context": 16, "vocabulary": 60},
}

# small sizes of the same experiments, so that each runs in about a second
TINY = {
    "heat_map": {"dimension": 60, "signals": 4, "deltas": 3, "seeds": 2},
    "spectra": 100,
    "alignment": {"dimension": 60, "seeds": 3},
    "critical_signal": {"dimensions": (20, 60), "seeds": (8, 4)},
    "ridge": {"dimension": 40, "signals": 2, "seeds": 2},
    "real_tables": None,
    "published": {"dimension": 60, "seeds": 3},
    "finite_size": {"dimensions": (20, 40, 80), "seeds": 4, "draws": 3, "bulk": 40, "bulk_draws": 6},
    "agreement": {"dimension": 60, "seeds": 3},
    "components": {"dimension": 80, "seeds": 2},
    "static_null": {"limit": 600, "draws": 1, "corpora": ("docstrings",)},
    "salad_null": {"documents": 200, "null": 450, "doses": (8,), "corpora": ("tweets",)},
    "learning_curves": {"dimension": 40, "wide_dimension": 20, "alphas": 3, "seeds": 2, "fine": 5},
    "query_alignment": {"dimension": 50, "seeds": 2, "octaves": 2},
    "separability": {"dimension": 12, "wide_dimension": 6, "seeds": 2, "fine": 5},
    "oracle_error": {"longest": 100, "lengths": 2, "draws": 200},
    "crossover": {"dimension": 40, "seeds": 2, "map": 5, "kappas": 3},
    "task_correlation": {"prompts": 200, "lengths": 2},
    "low_rank": {"prompts": 200, "lengths": 2},
    "drift": {"prompts": 200, "drifts": 2},
    "equivalence": {
        "dimension": 2,
        "lengths": (2, 4),
        "steps": 20,
        "batch": 64,
        "rate": 0.03,
        "prompts": 200,
    },
    "bad_minima": {"exponents": (1.0,), "dimension": 2, "length": 4, "seeds": 2},
    "nadaraya_watson": {"sizes": 2, "seeds": 2},
    "metric_snr": {"points": 3, "simulated": 2, "seeds": 2},
    "spurious_outlier": {"points": 3, "simulated": 2, "seeds": 2},
    "depth_similarity": NETWORKS,
    "elliptical_claims": NETWORKS,
    "finite_length": {"dimension": 60, "seeds": 3, "longest_population": 2},
    "error_bars": {"dimension": 60, "draws": 40, "random_dimension": 60, "random_draws": 10},
    "query_outliers": {"fine": 3, "points": 2, "seeds": 2},
    "several_classes": {"dimension": 60, "seeds": 2, "close_seeds": 2},
    "mixed_correlations": {"dimension": 60, "draws": 3, "classifiers": 2},
    "depth_and_heads": {"dimension": 40, "seeds": 2},
    "loss_landscape": {"dimension": 40, "seeds": 2, "points": 2, "fine": 3},
    "real_vocabulary": {
        "dimension": 60,
        "signals": 2,
        "seeds": 2,
        "limit": 600,
        "draws": 1,
        "corpora": ("docstrings",),
    },
    "pooling_static": {"documents": 80, "splits": 2, "corpora": ("tweets",)},
    "pooling_contextual": {"documents": 60, "splits": 2, "corpora": ("tweets",)},
}

# what does not depend on which packages are installed
OPTIONS = {"real_tables": {"packaged": ()}}

# variables that no random draw enters (the real tables are data), and where the golden values come from:
# all were checked against finite-size simulation, see docs/theory
VARIABLES = {
    "heat_map": ["alignment", "boundary"],
    "spectra": ["outlier", "kappa"],
    "alignment": ["predicted_overlap", "predicted_top_eigenvalue", "published_overlap", "snr"],
    "critical_signal": ["critical_signal", "published_critical_signal", "snr"],
    "ridge": ["predicted_accuracy"],
    "real_tables": ["plain_scale", "plain_outliers", "product_outliers", "plain_distance"],
    "published": ["exact", "published"],
    "agreement": ["predicted", "delta", "snr", "ratio"],
    "components": ["outlier", "overlap"],
    "learning_curves": ["predicted_error", "predicted_loss"],
    "query_alignment": ["predicted", "predicted_first", "decay"],
    "separability": ["predicted_by_signal", "predicted_by_alignment"],
    "oracle_error": ["pooled", "vectorised_bound", "hardmax", "pooled_limit"],
    "crossover": ["log_ratio", "boundary", "crossover"],
    "task_correlation": ["exact", "approximate"],
    "low_rank": ["by_rank", "by_length", "adapted"],
    "drift": ["weights", "correlation", "excess"],
    "equivalence": ["optimum", "zero"],
    "metric_snr": ["predicted_snr"],
    "spurious_outlier": ["predicted_overlap"],
    "error_bars": ["outlier_value", "overlap_low", "overlap_high", "edge_low", "edge_high", "limit_overlap"],
    "query_outliers": ["edge", "predicted_by_alignment"],
    "several_classes": ["outlier", "overlap", "limit", "mixing", "unequal_outlier", "neglected_outlier"],
    "mixed_correlations": ["outlier", "overlap", "spread", "accuracy"],
    "depth_and_heads": [
        "snr",
        "span_snr",
        "best_depth",
        "predicted_overlap",
        "predicted_pulled_back_overlap",
    ],
    "loss_landscape": ["predicted_objective", "window", "predicted_classifier", "best_ridge"],
}


def summary(name, dataset):
    """At most forty values a variable, evenly picked."""
    out = {}
    for variable in VARIABLES[name]:
        flat = np.asarray(dataset[variable].values, dtype=float).ravel()
        out[variable] = flat[np.unique(np.linspace(0, flat.size - 1, 40).astype(int))].tolist()
    return out


def main():
    kept = {}
    for name in VARIABLES:
        module = experiments.load(name)
        if TINY[name] is not None:
            module.SIZES["quick"] = TINY[name]
        kept[name] = summary(name, module.run("quick", **OPTIONS.get(name, {})))
    FILE.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
