"""Say which instances are held, so that a peer may forget them (PS3.4 annex J)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from darnet_trt.machine.files import keep_names
from darnet_trt.runtime.serving.intake.instance import sop_class_of
from darnet_trt.runtime.serving.intake.names import is_conflict, slice_file
from darnet_trt.runtime.serving.intake.store import Store

NOT_HELD: Final = 0x0112
"""No such object instance (PS3.3 C.14.1.1)."""
OTHER_CLASS: Final = 0x0119
"""The instance is held, and of another SOP class."""
UNCLEAR: Final = 0x0110
"""Several contents are held under the instance's UID: nobody can say which was meant."""


def why_not_held(store: Store, asked: Iterable[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """Return why instances are not held; one that is has no entry.

    Args:
        store: Where they would be.
        asked: SOPClassUID and SOPInstanceUID of each.

    Raises:
        OSError: The disk fails.
    """
    asked = list(dict.fromkeys(asked))
    names = {slice_file(sop_uid) for _, sop_uid in asked}
    found: dict[str, list[Path]] = {}
    unclear = set()
    for study, files in store.studies():
        folder = store.folder(study)
        here = names.intersection(files)
        for name in here:
            found.setdefault(name, []).append(folder / name)
        unclear |= {f"{name[:32]}.dcm" for name in files if is_conflict(name)} & here
        if here:
            keep_names(folder)
    reasons = {}
    for sop_class, sop_uid in asked:
        name = slice_file(sop_uid)
        places = found.get(name, [])
        if not places:
            reasons[sop_class, sop_uid] = NOT_HELD
        elif name in unclear or len(places) > 1:
            reasons[sop_class, sop_uid] = UNCLEAR
        elif sop_class_of(places[0]) != sop_class:
            reasons[sop_class, sop_uid] = OTHER_CLASS
    return reasons
