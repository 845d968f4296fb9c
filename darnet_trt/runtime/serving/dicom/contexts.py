"""What a peer may send: which objects, and in which transfer syntaxes."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from darnet_trt.runtime.delivery.peers.commitment import PUSH_MODEL
from darnet_trt.scan.dicom.encoding.codestreams import COMPRESSED
from darnet_trt.scan.dicom.encoding.meta import EXPLICIT, IMPLICIT, NATIVE

if TYPE_CHECKING:
    from pydicom.uid import UID
    from pynetdicom.presentation import PresentationContext

VERIFICATION: Final = "1.2.840.10008.1.1"
_STORAGE: Final = "1.2.840.10008.5.1.4.1.1."
"""Begins the UIDs of the standard's storage classes, retired ones too."""
_PLAIN: Final = [EXPLICIT, IMPLICIT]
_LOSSY: Final = frozenset(f"1.2.840.10008.1.2.4.{part}" for part in (50, 51, 81, 91, 203))
SYNTAXES: Final = [
    *_PLAIN,
    *sorted(COMPRESSED - _LOSSY),
    *sorted(NATIVE - {*_PLAIN}),
    *sorted(_LOSSY),
]
"""All that we decode. Where a peer offers several, the first of these is taken."""


def supported(asked: Iterable[Any]) -> list[PresentationContext]:
    """Return our side of the presentation contexts that a peer asks for.

    Every object is taken, also of private and retired classes: a PACS sends a study as a whole, and
    gives up where one object is not taken.

    Args:
        asked: pynetdicom's, of the request.
    """
    uids = {each.abstract_syntax for each in asked}
    return [context for uid in uids if (context := _context(uid))]


@functools.lru_cache(maxsize=1 << 10)
def _context(uid: UID) -> PresentationContext | None:
    """Return the context of an abstract syntax; None: we do not serve it."""
    from pynetdicom import build_context
    from pynetdicom.service_class import StorageServiceClass
    from pynetdicom.sop_class import uid_to_service_class

    if uid in (VERIFICATION, PUSH_MODEL):
        return build_context(uid, _PLAIN)
    if (
        uid.is_private
        or uid.startswith(_STORAGE)
        or uid_to_service_class(uid) is StorageServiceClass
    ):
        return build_context(uid, SYNTAXES)
    return None
