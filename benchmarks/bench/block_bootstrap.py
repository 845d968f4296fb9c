"""Give a quantile's interval by the block bootstrap, for comparison.

Circular blocks, percentile interval, with the automatic block length of Politis and White
(Econometric Reviews 23, 2004, 53-70; corrected by Patton, Politis and White, 28, 2009, 372-375).
"""

import numpy as np

DRAWS = 400


def block_length(series: np.ndarray) -> int:
    """Return the automatic block length."""
    n = len(series)
    centred = series - series.mean()
    quiet = 5  # so many small autocorrelations in a row end the dependent part
    most = int(np.ceil(np.sqrt(n))) + quiet
    covariances = np.array([centred[: n - lag] @ centred[lag:] / n for lag in range(most + 1)])
    small = np.abs(covariances / covariances[0]) < 2 * np.sqrt(np.log10(n) / n)
    ends = (lag - 1 for lag in range(1, most - quiet + 2) if small[lag : lag + quiet].all())
    window = min(2 * max(next(ends, most), 1), most)
    lags = np.abs(np.arange(-window, window + 1))
    weighted = np.minimum(1, 2 * (1 - lags / window)) * covariances[lags]
    slope, spectrum = float(lags @ weighted), float(weighted.sum())
    length = (2 * slope**2 / (4 / 3 * spectrum**2)) ** (1 / 3) * n ** (1 / 3)
    return int(np.clip(round(length), 1, np.ceil(min(3 * np.sqrt(n), n / 3))))


def interval(rng, series: np.ndarray, percent: float) -> tuple[float, float]:
    """Return the ends of the 95 % interval."""
    n, length = len(series), block_length(series)
    starts = rng.integers(0, n, (DRAWS, -(-n // length), 1))
    chosen = ((starts + np.arange(length)) % n).reshape(DRAWS, -1)[:, :n]
    found = np.percentile(series[chosen], percent, axis=1)
    low, high = np.percentile(found, (2.5, 97.5))
    return float(low), float(high)
