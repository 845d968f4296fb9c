"""Tell how far a scan lies from the scans that trained the weights, by its features and texture.

The distance is Mahalanobis's to the nearest class: Lee et al., "A Simple Unified Framework for
Detecting Out-of-Distribution Samples and Adversarial Attacks", NeurIPS 2018, section 2.1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt

from darnet_trt.evaluation.texture import TEXTURES

Floats = npt.NDArray[np.floating]

_FLAGGED_AT_MOST: Final = 0.05
"""Share of new scans like the held-out ones that is flagged at most, with `_CONFIDENCE`."""
_CONFIDENCE: Final = 0.95


@dataclass(frozen=True, eq=False)
class Familiarity:
    """Keep where the training scans lie: their pooled features, and after these their textures.

    Attributes:
        means: Of each class, float32 (classes, f + TEXTURES).
        precision: Inverse of the covariance that the classes share, over the held-out scans' mean
            distance, float32 (f + TEXTURES, f + TEXTURES); 0 between features and textures.
        threshold: The largest distance that is still familiar.
    """

    means: npt.NDArray[np.float32]
    precision: npt.NDArray[np.float32]
    threshold: float

    def distance(self, features: Floats, textures: Floats) -> npt.NDArray[np.float64]:
        """Return the larger of each scan's distances in features and in texture, (n,).

        Each is squared, Mahalanobis's, to the nearest class, and some 1 for a familiar scan.

        Args:
            features: (n, f).
            textures: Of the inputs, by `texture`, (n, TEXTURES).
        """
        return np.maximum(*self.distances(features, textures))

    def distances(
        self, features: Floats, textures: Floats
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return each scan's distance in features, (n,), and in texture, (n,); see `distance`."""
        f, count = features.shape[1], len(self.precision)
        in_features, in_textures = (
            nearest(part, self.means[:, own], self.precision[own, own])
            for part, own in ((features, slice(f)), (textures, slice(f, count)))
        )
        return in_features, in_textures

    def save(self, file: IO[bytes]) -> None:
        """Write it as an .npz file."""
        np.savez_compressed(
            file, means=self.means, precision=self.precision, threshold=np.array(self.threshold)
        )

    @classmethod
    def unpacked(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Familiarity:
        """Return what `save` wrote.

        Raises:
            KeyError, TypeError, ValueError: These are other arrays.
        """
        return cls(arrays["means"], arrays["precision"], float(arrays["threshold"]))

    def check(self, classes: int, features: int) -> None:
        """Check that it is of a network with so many classes and features.

        Raises:
            ValueError: It is not.
        """
        count = features + TEXTURES
        if (self.means.shape, self.precision.shape) != ((classes, count), (count, count)):
            raise ValueError("it is of another network or version")


def fit_familiarity(
    train: tuple[Floats, Floats], labels: npt.NDArray[np.int64], held_out: tuple[Floats, Floats]
) -> Familiarity:
    """Learn where the training scans lie, and from others how far is too far.

    Features and textures count alike, however many they are: the distance in each is divided by
    the mean of the held-out scans'. The threshold is an upper tolerance limit of the held-out
    scans' distances: with a confidence of 95 %, at most 5 % of new scans like them lie beyond it,
    whatever the distances' distribution (Wilks, Annals of Mathematical Statistics 12, 1941, 91-96).
    Fewer than 59 held-out scans cannot show that. Then it is the largest of their m distances, and
    a new scan like them lies beyond with a chance of 1/(m + 1).

    Args:
        train: Features (n, f) and textures (n, TEXTURES) of the training scans.
        labels: Their classes, (n,); each class occurs.
        held_out: The same of scans that did not train the weights; at least one.
    """
    count = sum(part.shape[1] for part in train)
    means, precision = np.empty((int(labels.max()) + 1, count)), np.zeros((count, count))
    first = 0
    for seen, unseen in zip(train, held_out, strict=True):
        own = slice(first, first := first + seen.shape[1])
        for one, mean in enumerate(means):
            mean[own] = seen[labels == one].mean(0, dtype=np.float64)
        centred = seen.astype(np.float64) - means[labels, own]
        inverse = np.linalg.pinv(shrunk_covariance(centred), hermitian=True)  # 0 where none varies
        typical = nearest(unseen, means[:, own], inverse).mean() or 1.0
        precision[own, own] = inverse / typical
    found = Familiarity(means.astype(np.float32), precision.astype(np.float32), math.inf)
    distances = np.sort(found.distance(*held_out))
    return replace(found, threshold=float(distances[-1 - _scans_beyond(len(distances))]))


def nearest(points: Floats, means: Floats, precision: Floats) -> npt.NDArray[np.float64]:
    """Return each point's squared Mahalanobis distance to the nearest mean, (n,).

    Args:
        points: (n, f).
        means: (classes, f).
        precision: Inverse of the covariance, (f, f).
    """
    away = points.astype(np.float64)[:, None] - means
    return np.asarray((away @ precision * away).sum(2).min(1))


def shrunk_covariance(centred: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the covariance, drawn towards a multiple of the identity, (f, f).

    With fewer scans than features the covariance itself cannot be inverted. How far it is drawn
    follows from the scans: Ledoit and Wolf, "A well-conditioned estimator for large-dimensional
    covariance matrices", Journal of Multivariate Analysis 88, 2004, 365-411, section 3.

    Args:
        centred: Features less their means, (n, f).
    """
    n, count = centred.shape
    covariance = centred.T @ centred / n
    mean = np.trace(covariance) / count
    spread = np.square(covariance).sum() - count * mean**2  # squared distance from mean·I
    squares = np.square(np.square(centred).sum(1)).sum() / n
    noise = (squares - np.square(covariance).sum()) / n  # of the covariance's entries
    share = min(1.0, noise / spread) if spread > 0 else 1.0
    return np.asarray((1 - share) * covariance + share * mean * np.eye(count))


def _scans_beyond(n: int) -> int:
    """Return how many of n held-out scans may lie beyond the threshold."""
    chance = 0.0  # that at most so many of n scans lie where 5 % of all do
    for beyond in range(n):
        logarithm = (
            math.lgamma(n + 1)
            - math.lgamma(beyond + 1)
            - math.lgamma(n - beyond + 1)
            + beyond * math.log(_FLAGGED_AT_MOST)
            + (n - beyond) * math.log1p(-_FLAGGED_AT_MOST)
        )
        chance += math.exp(logarithm)
        if chance > 1 - _CONFIDENCE:
            return max(0, beyond - 1)
    return 0
