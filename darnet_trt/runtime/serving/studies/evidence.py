"""Keep what the page draws of a study: the network's input, and the activation map of each class.

float16 and 8 bits are enough for a picture; a result's own numbers are never made from them.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np

from darnet_trt.machine.cache import DAMAGE
from darnet_trt.machine.files import whole_file
from darnet_trt.runtime.prediction.results.result import Evidence


class KeptEvidence:
    """The evidence of all studies, in a folder of its own.

    Args:
        folder: Exists.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, study: str, evidence: Evidence | None) -> None:
        """Keep a study's evidence in place of its old one, as an .npz without compression.

        Args:
            study: The study's name.
            evidence: Of its standing result; None: there is none.

        Raises:
            OutputError: It cannot be written.
        """
        if evidence is None:
            self.remove(study)
            return
        volume = np.rint(evidence.volume.clip(0, 1) * 255).astype(np.uint8)
        largest = np.finfo(np.float16).max
        cam = evidence.cam.clip(-largest, largest).astype(np.float16)
        with whole_file(self._path(study), private=True, durable=True) as file:
            np.savez(file, input=volume, cam=cam, oriented=np.array(evidence.oriented))

    def read(self, study: str) -> Evidence | None:
        """Return a study's evidence; None where there is none.

        The volume has steps of 1/255, and the map those of float16.
        """
        # numpy leaves a damaged file open that it opened itself.
        with suppress(*DAMAGE), self._path(study).open("rb") as kept, np.load(kept) as file:
            return Evidence(
                file["input"].astype(np.float32) / np.float32(255),
                file["cam"].astype(np.float32),
                bool(file["oriented"]),
            )
        return None

    def remove(self, study: str) -> None:
        """Remove a study's evidence, if there is any."""
        self._path(study).unlink(missing_ok=True)

    def studies(self) -> set[str]:
        """Return the names of the studies that have some."""
        return {path.stem for path in self._folder.glob("*.npz")}

    def _path(self, study: str) -> Path:
        return self._folder / f"{study}.npz"
