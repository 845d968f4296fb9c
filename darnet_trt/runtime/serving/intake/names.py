"""Names of what is kept: hashes and our own suffixes, never text of a request."""

from __future__ import annotations

import hashlib
import re
from typing import Final

_HEX: Final = "[0-9a-f]"
STUDY: Final = re.compile(rf"{_HEX}{{32}}")
"""The name of a study's folder."""
_FILE: Final = re.compile(rf"{_HEX}{{32}}(?:-{_HEX}{{16}})?\.dcm|scan\.(?:nii|nii\.gz|nrrd|mha)")


def study_of_uid(uid: str) -> str:
    """Return the name of the study of a StudyInstanceUID (0020,000D)."""
    return _hash(f"dicom\n{uid}")


def study_of_file(sha256: str) -> str:
    """Return the name of the study that is one volume file.

    Args:
        sha256: Of its content, hexadecimal.
    """
    return _hash(f"file\n{sha256}")


def slice_file(sop_uid: str) -> str:
    """Return the name of the file of a SOPInstanceUID (0008,0018)."""
    return f"{_hash(sop_uid)}.dcm"


def conflict_file(sop_uid: str, content: bytes) -> str:
    """Return the name of a file that has a SOPInstanceUID whose file holds something else."""
    return f"{_hash(sop_uid)}-{hashlib.sha256(content).hexdigest()[:16]}.dcm"


def is_conflict(file: str) -> bool:
    """Return whether a file's name is one of `conflict_file`."""
    return "-" in file


def is_file(name: str) -> bool:
    """Return whether a name is one that we give a file."""
    return _FILE.fullmatch(name) is not None


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
