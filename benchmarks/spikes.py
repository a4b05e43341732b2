"""How many spikes other packages count in samples of the two-factor law, where they are installed."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable
from typing import Any

import measure
import numpy as np

from resolvent.diagnosis import diagnose
from resolvent.experiments.components import SPIKES, sample
from resolvent.spectrum import covariance_spectrum

DIMENSION, SEEDS = 400, 10


def resolvent(x: np.ndarray) -> int:
    return diagnose(x).count("Tracy-Widom").count or 0


def gavish_donoho(x: np.ndarray) -> int:
    from optht import optht

    values = np.linalg.svd(x - x.mean(axis=0), compute_uv=False)
    return int(optht(min(x.shape) / max(x.shape), sv=values, sigma=None))


def screenot(x: np.ndarray) -> int:
    from screenot.ScreeNOT import adaptiveHardThresholding

    return int(adaptiveHardThresholding(x - x.mean(axis=0), 20)[2])


def weightwatcher(x: np.ndarray) -> int:
    from weightwatcher.RMT_Util import fit_density_with_range

    found = fit_density_with_range(covariance_spectrum(x)[0][::-1], Q=x.shape[0] / x.shape[1])
    return int(found[1] if isinstance(found, tuple) else found["num_spikes"])


def scikit_rmt(x: np.ndarray) -> int:
    from skrmt.ensemble.spectral_law import MarchenkoPasturDistribution

    values = covariance_spectrum(x)[0]
    law = MarchenkoPasturDistribution(
        beta=1, ratio=x.shape[1] / x.shape[0], sigma=float(np.sqrt(values.mean()))
    )
    return int((values > law.lambda_plus).sum())


# package -> counter; the last four are left out where they are not installed
COUNTERS: dict[str, Callable[[np.ndarray], int]] = {
    "resolvent": resolvent,
    "optht": gavish_donoho,
    "screenot": screenot,
    "weightwatcher": weightwatcher,
    "skrmt": scikit_rmt,
}


def counted(counter: Callable[[np.ndarray], int], samples: list[np.ndarray]) -> list[int]:
    with contextlib.redirect_stdout(io.StringIO()):
        return [counter(x) for x in samples]


def main() -> int:
    report = measure.Report(
        f"Spikes counted in {SEEDS} samples of {3 * DIMENSION} x {DIMENSION}, two-factor law"
    )
    left_out: dict[str, Any] = {}
    for truth in (0, len(SPIKES)):
        samples = [sample(DIMENSION, truth, seed) for seed in range(SEEDS)]
        for name, counter in COUNTERS.items():
            try:
                found = counted(counter, samples)
            except Exception as error:  # not installed, or of a version whose interface differs
                left_out[name] = error
                continue
            report.row(f"{truth} spikes, {name}: fewest", min(found))
            report.row(
                f"{truth} spikes, {name}: most", max(found), most=truth if name == "resolvent" else None
            )
            report.row(f"{truth} spikes, {name}: share of right counts", np.mean(np.array(found) == truth))
    status = report.finish()
    for name, error in left_out.items():
        print(f"  left out: {name} ({error})")
    return status


if __name__ == "__main__":
    sys.exit(main())
