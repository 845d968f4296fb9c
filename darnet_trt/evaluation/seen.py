"""Tell which scans trained the weights: by their patient, and by their slices.

A copy of a scan has the same slices under another path, name, format or patient. But not all of
them are read: the network's input needs 64 of a thin-sliced scan, and which ones depends on where
the scan begins and ends. A copy that was cut to the chest shares by chance some 64²/n of them, n
the number of slices between the ends: 10 of 400, 4 of 1,000; besides, it shares the landmarks, if
it keeps the positions: 6 or more in a chest. Scans of two patients share none but empty slices,
which `slice_hash` leaves out, and perhaps one that a fault of the scanner made. So two common
slices tell that scans are the same. To take a scan wrongly for a seen one costs a judge; the
reverse would let a scan judge that trained the weights.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from darnet_trt.scan.cohorts import Cohort
from darnet_trt.scan.series import Choice, Study

_COMMON_SLICES: Final = 2
_NAMES_OF_ONE: Final = 3
"""A table may split a patient into so many. A PatientID with more ("ANONYMOUS") names nobody."""
_SALT_BYTES: Final = 16
_PATIENT_BYTES: Final = 8


@dataclass(frozen=True)
class Identity:
    """Tell a scan from others.

    Attributes:
        patient: As the cohort's table names it; empty without a table.
        patient_id: PatientID (0010,0020); empty where the files have none, and in phantoms, whose
            PatientIDs are the same in every synthetic cohort.
        slices: `slice_hash` of the slices that were read and are not empty.
    """

    patient: str
    patient_id: str
    slices: frozenset[int]

    @property
    def patients(self) -> tuple[str, ...]:
        """Return the names of the patient."""
        return tuple(name for name in (self.patient, self.patient_id) if name)


def patient_id_of(study: Study, choice: Choice) -> str:
    """Return the PatientID (0010,0020) of a study; empty where its files have none."""
    return study.patient_id.strip() if choice.series.headers else ""


def identity(
    cohort: Cohort | None, patient: str, patient_id: str, slices: Iterable[int]
) -> Identity:
    """Return a scan's identity.

    Args:
        cohort: It is of; None without a table. Patients of synthetic cohorts have the same names
            (P0001, …) whatever the seed, so the seed is part of the name.
        patient: As the table names it.
        patient_id: PatientID, or empty.
        slices: `LoadedInput.hashes`.
    """
    if cohort is not None and cohort.seed is not None:
        return Identity(cohort.person(patient), "", frozenset(slices))
    return Identity("" if cohort is None else patient, patient_id, frozenset(slices))


@dataclass
class KnownScans:
    """Scans, to be found again by their slices."""

    _holders: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    _count: int = 0

    def add(self, slices: Iterable[int]) -> int:
        """Add a scan; return its number, from 0."""
        for one in slices:
            self._holders[one].append(self._count)
        self._count += 1
        return self._count - 1

    def find(self, slices: Iterable[int]) -> int | None:
        """Return the number of the scan that is the same; None where there is none."""
        common = Counter(n for one in slices for n in self._holders.get(one, ()))
        number, count = max(common.items(), key=lambda item: item[1], default=(None, 0))
        return number if count >= _COMMON_SLICES else None


@dataclass(frozen=True)
class TrainingScans:
    """The scans that trained a network, as hashes.

    A hash does not tell a name, but who has the checkpoint can try names: short numbers are soon
    found. Who has a scan can tell whether it trained the weights.

    Attributes:
        salt: Of the patients' hashes, so that those of two checkpoints cannot be compared.
        patients: Hash of each name of each patient.
        scans: Of each scan, `slice_hash` of its slices.
    """

    salt: bytes
    patients: frozenset[int]
    scans: tuple[frozenset[int], ...]

    @classmethod
    def of(cls, scans: Sequence[Identity], earlier: TrainingScans | None = None) -> TrainingScans:
        """Return the hashes of scans.

        A PatientID that more than `_NAMES_OF_ONE` patients of the table share names nobody.

        Args:
            scans: They trained the network.
            earlier: Those that trained it before.
        """
        earlier = earlier or cls(secrets.token_bytes(_SALT_BYTES), frozenset(), ())
        owners: dict[str, set[str]] = defaultdict(set)
        for scan in scans:
            owners[scan.patient_id].add(scan.patient)
        salt = earlier.salt
        names = {scan.patient for scan in scans}
        names |= {name for name, of in owners.items() if len(of) <= _NAMES_OF_ONE}
        return cls(
            salt,
            earlier.patients | {_hashed(salt, name) for name in names if name},
            earlier.scans + tuple(scan.slices for scan in scans),
        )

    @classmethod
    def unpacked(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> TrainingScans:
        """Return the scans of `packed`.

        Raises:
            KeyError, ValueError: These are other arrays.
        """
        slices, counts = arrays["slices"], arrays["slices_of_scan"]
        if counts.min(initial=0) < 0 or counts.sum() != len(slices):
            raise ValueError("the scans have other numbers of slices")
        each = np.split(slices, np.cumsum(counts))[:-1]  # the last piece lies behind them
        return cls(
            arrays["salt"].tobytes(),
            frozenset(arrays["patients"].tolist()),
            tuple(frozenset(one.tolist()) for one in each),
        )

    def packed(self) -> dict[str, Any]:
        """Return arrays of numbers, to be written: 8 bytes a slice."""
        slices = [h for one in self.scans for h in sorted(one)]
        return {
            "salt": np.frombuffer(self.salt, np.uint8),
            "patients": np.array(sorted(self.patients), np.int64),
            "slices": np.array(slices, np.int64),
            "slices_of_scan": np.array([len(one) for one in self.scans], np.int64),
        }

    @cached_property
    def _known(self) -> KnownScans:
        known = KnownScans()
        for slices in self.scans:
            known.add(slices)
        return known

    def had_patient(self, names: Iterable[str]) -> bool:
        """Return whether a patient of one of these names was among the training scans."""
        return any(_hashed(self.salt, name) in self.patients for name in names)

    def had_slices(self, slices: Iterable[int]) -> bool:
        """Return whether a scan with these slices was among the training scans."""
        return self._known.find(slices) is not None

    def had(self, scan: Identity) -> bool:
        """Return whether a scan, or another one of its patient, trained the network."""
        return self.had_patient(scan.patients) or self.had_slices(scan.slices)


def _hashed(salt: bytes, name: str) -> int:
    digest = hashlib.blake2b(
        name.encode("utf-8", "surrogatepass"), key=salt, digest_size=_PATIENT_BYTES
    ).digest()
    return int.from_bytes(digest, "little", signed=True)
