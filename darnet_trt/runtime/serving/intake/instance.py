"""Tell which instance the bytes of a DICOM file are, without reading more than that takes."""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from darnet_trt.errors import Finding, RefusedScanError, UnreadableScanError, one_line
from darnet_trt.scan.dicom.elements import BrokenError, CutError, is_dicom
from darnet_trt.scan.dicom.encoding.inflating import TooLargeError
from darnet_trt.scan.dicom.header import elements_of

_CLASS, _INSTANCE, _STUDY = 0x00080016, 0x00080018, 0x0020000D
_LONGEST_UID: Final = 64  # PS3.5 section 9.1
_AGAIN: Final = "send it again from its source"


@dataclass(frozen=True)
class Instance:
    """A DICOM file that came in.

    Attributes:
        sop_class: SOPClassUID (0008,0016); empty where there is none.
        sop_uid: SOPInstanceUID (0008,0018).
        study_uid: StudyInstanceUID (0020,000D).
        syntax: TransferSyntaxUID (0002,0010), as `Encoding.syntax`.
        start: Where the data set begins.
        content: The whole file.
    """

    sop_class: str
    sop_uid: str
    study_uid: str
    syntax: str
    start: int
    content: bytes = field(repr=False)

    def data(self) -> bytes:
        """Return what makes two files the same, whatever program wrote their meta information."""
        return self.syntax.encode() + b"\n" + self.content[self.start :]


def instance_of(content: bytes) -> Instance:
    """Return the instance of a whole DICOM file; it may be cut behind its UIDs.

    Raises:
        UnreadableScanError: It is no DICOM file, or its UIDs cannot be read.
    """
    if not is_dicom(content[:256]):
        raise UnreadableScanError(Finding("not-dicom", "is not a DICOM file"), do=_AGAIN)
    try:
        elements, encoding = elements_of(io.BytesIO(content), (_CLASS, _INSTANCE, _STUDY))
    except (BrokenError, CutError, TooLargeError, zlib.error) as error:
        raise UnreadableScanError(
            Finding("broken-dicom", "is a broken DICOM file: its header cannot be read"), do=_AGAIN
        ) from error
    uids = {tag: text_of(value) for tag, (_, value) in elements.found.items()}
    for tag, keyword in ((_INSTANCE, "SOPInstanceUID"), (_STUDY, "StudyInstanceUID")):
        uid = uids.get(tag, "")
        if not uid:
            raise UnreadableScanError(Finding("broken-dicom", f"has no {keyword}"), do=_AGAIN)
        if len(uid) > _LONGEST_UID:
            text = f"has a {keyword} of more than {_LONGEST_UID} characters"
            raise UnreadableScanError(Finding("broken-dicom", text), do=_AGAIN)
    return Instance(
        uids.get(_CLASS, ""),
        uids[_INSTANCE],
        uids[_STUDY],
        encoding.syntax,
        encoding.start,
        content,
    )


def text_of(value: bytes) -> str:
    """Return a UID without its padding, whatever else it holds."""
    return one_line(value.strip(b"\0 ").decode("iso8859"))


def sop_class_of(path: Path) -> str:
    """Return the SOPClassUID (0008,0016) of a file that `instance_of` read; empty: it has none.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as stream:
        return text_of(elements_of(stream, (_CLASS,))[0].found.get(_CLASS, (None, b""))[1])


def check_command(instance: Instance, sop_class: str, sop_uid: str) -> None:
    """Raise RefusedScanError where an instance is not what came with it says that it is.

    Args:
        instance: Of the data set.
        sop_class: As the sender's command, or its meta information, says; empty: it does not.
        sop_uid: The same.
    """
    for keyword, said, own in (
        ("SOPClassUID", sop_class, instance.sop_class),
        ("SOPInstanceUID", sop_uid, instance.sop_uid),
    ):
        if said and said != own:
            text = f"its {keyword} is not the one that it was sent under"
            raise RefusedScanError(Finding("broken-dicom", text), do=_AGAIN)
