"""Read an object's file before it is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from darnet_trt.runtime.delivery.peers.answers import Answer, Sendable, quoted

if TYPE_CHECKING:
    from pydicom import FileDataset


def read_object(each: Sendable) -> FileDataset | Answer:
    """Return the object of a file, or why it must wait: the file is gone, damaged or another's."""
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    again = "make it again: predict --resume with the same --dicom"
    try:
        found = dcmread(each.path)
        found.file_meta.TransferSyntaxUID  # noqa: B018 (raises where it is missing)
        uids = str(found.get("SOPClassUID")), str(found.get("SOPInstanceUID"))
    except FileNotFoundError:
        return Answer(each.sop_uid, "waiting", f"{each.path} is gone; {again}")
    except OSError as error:
        reason = quoted(error.strerror or error)
        return Answer(each.sop_uid, "waiting", f"{each.path} cannot be read ({reason})")
    except (InvalidDicomError, AttributeError, ValueError, KeyError, EOFError) as error:
        reason = quoted(error)
        return Answer(each.sop_uid, "waiting", f"{each.path} is damaged ({reason}); {again}")
    if uids != (each.sop_class, each.sop_uid):
        return Answer(each.sop_uid, "waiting", f"{each.path} holds another object; {again}")
    return found
