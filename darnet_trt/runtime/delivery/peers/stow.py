"""Send objects by STOW-RS (PS3.18 10.5), each in a request of its own.

So an answer of HTTP speaks of one object, and a limit on the size of a request is met by none that
could be sent alone. The package dicomweb-client does not fit: it leaves the port out of the Host
header, knows no IPv6 address, and takes an answer whose media type has a parameter for none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from darnet_trt.runtime.delivery.peers.address import Stow
from darnet_trt.runtime.delivery.peers.answers import (
    Answer,
    PeerFailure,
    Sendable,
    answer_to_store,
    in_words,
    quoted,
)
from darnet_trt.runtime.delivery.peers.files import read_object

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from requests import Response, Session

CONNECT_S: Final = 10.0
ANSWER_S: Final = 60.0
_JSON: Final = "application/dicom+json"
_LARGEST: Final = 1 << 20  # bytes of an answer that are read

# The attributes of a Store Instances Response (PS3.18 Annex I) as the JSON model names them.
_FAILED_SOPS, _REFERENCED_SOPS, _OTHER_FAILURES = "00081198", "00081199", "0008119A"
_SOP_UID, _WARNING, _FAILURE = "00081155", "00081196", "00081197"

_FOR_GOOD: Final = {
    400: "bad request",
    411: "wants a length",
    413: "too large for it",
    415: "takes no such media type",
    422: "cannot process it",
}
"""Statuses of HTTP that will not change for this object → words."""
_NOT_NOW: Final = {
    401: "asks for a user: put user and password into ~/.netrc",
    403: "forbids it: check the user's rights there",
    404: "has no such service: check the address",
    405: "takes no objects at this address: check it",
    407: "the proxy asks for a user",
}
"""Statuses that speak of the address or the user, and so of every object."""


def new_session() -> Session:
    """Return a session for one peer; it takes users from ~/.netrc, and proxies and certificate
    authorities from the environment.
    """
    import requests

    session = requests.Session()
    session.headers["Accept"] = _JSON
    return session


def store(session: Session, peer: Stow, objects: Sequence[Sendable]) -> Iterator[Answer]:
    """Send objects, and yield what became of each.

    Raises:
        PeerFailure: The peer cannot be talked to; what was not yielded may or may not have arrived.
    """
    for each in objects:
        content = read_object(each)
        if isinstance(content, Answer):
            yield content
            continue
        yield _answer(*_posted(session, peer, each), each)


def _posted(session: Session, peer: Stow, each: Sendable) -> tuple[Response, bytes]:
    """Send an object; return the answer, and its content."""
    import requests
    from urllib3.exceptions import HTTPError

    boundary = each.sop_uid  # at most 70 characters; no file holds it after a line end and "--"
    head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n"
    body = head.encode() + each.path.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
    kind = f'multipart/related; type="application/dicom"; boundary="{boundary}"'
    try:
        with session.post(
            f"{peer.url}/studies",
            data=body,
            headers={"Content-Type": kind},
            timeout=(CONNECT_S, ANSWER_S),
            allow_redirects=False,  # it would become a search, whose answer is another
            stream=True,
        ) as response:
            return response, response.raw.read(_LARGEST, decode_content=True)
    except requests.exceptions.SSLError as error:
        raise PeerFailure(f"its certificate is not accepted ({_reason(error)})") from error
    except requests.exceptions.ConnectTimeout as error:
        raise PeerFailure(f"no connection in {CONNECT_S:.0f} s") from error
    except requests.exceptions.Timeout as error:
        raise PeerFailure(f"gave no answer in {ANSWER_S:.0f} s") from error
    except requests.exceptions.ProxyError as error:
        raise PeerFailure(f"the proxy does not answer ({_reason(error)})") from error
    except (requests.exceptions.RequestException, HTTPError, OSError, ValueError) as error:
        raise PeerFailure(_reason(error)) from error


def _answer(response: Response, content: bytes, each: Sendable) -> Answer:
    """Return what an answer of HTTP means for an object.

    Raises:
        PeerFailure: It speaks of the address, the user or the service, not of this object.
    """
    status = response.status_code
    if status in _NOT_NOW:
        raise PeerFailure(f"{_NOT_NOW[status]} (HTTP {status})")
    if 300 <= status < 400:
        to = quoted(response.headers.get("Location", "nowhere"))
        raise PeerFailure(f"redirects to {to} (HTTP {status}): use that address")
    if status in (200, 202, 409):
        return _named(_module(content), each, status)
    if status in _FOR_GOOD:
        return Answer(each.sop_uid, "refused", f"{_FOR_GOOD[status]} (HTTP {status})")
    words = f"answers HTTP {status} {quoted(response.reason or '')}".rstrip()
    if status == 500:  # it may lie in this object: the others are sent all the same
        return Answer(each.sop_uid, "waiting", words)
    raise PeerFailure(words)


def _named(module: Any, each: Sendable, status: int) -> Answer:
    """Return what a Store Instances Response says of an object (PS3.18 Annex I)."""
    for failed in _items(module, _FAILED_SOPS):
        if _value(failed, _SOP_UID) in (each.sop_uid, None):
            reason = _value(failed, _FAILURE)
            if isinstance(reason, int):
                return answer_to_store(each.sop_uid, reason or 0x0110)  # 0 would mean success
            return Answer(each.sop_uid, "waiting", f"failed without a reason (HTTP {status})")
    for stored in _items(module, _REFERENCED_SOPS):
        if _value(stored, _SOP_UID) == each.sop_uid and status != 409:
            warning = _value(stored, _WARNING)
            return Answer(each.sop_uid, "sent", in_words(warning) if warning else "")
    for other in _items(module, _OTHER_FAILURES):
        reason = _value(other, _FAILURE)
        if isinstance(reason, int):
            return answer_to_store(each.sop_uid, reason or 0x0110)
    return Answer(
        each.sop_uid, "waiting", f"answers HTTP {status} without saying what became of the object"
    )


def _module(content: bytes) -> Any:
    """Return an answer's data set in the JSON model (PS3.18 F); an empty one where it has none.

    We ask for JSON; a service that knows only the XML of PS3.19 A.1 is understood, too.
    """
    import json
    from xml.etree import ElementTree

    try:
        if content.lstrip().startswith(b"<"):
            return _of_xml(ElementTree.fromstring(content))
        found = json.loads(content)
    except (ValueError, RecursionError, ElementTree.ParseError):
        return {}
    return found[0] if isinstance(found, list) and found else found


def _of_xml(parent: Element) -> dict[str, Any]:
    """Return the attributes below an element as the JSON model has them."""
    found: dict[str, Any] = {}
    for attribute in parent.iterfind("{*}DicomAttribute"):
        items = [_of_xml(item) for item in attribute.iterfind("{*}Item")]
        texts = [value.text or "" for value in attribute.iterfind("{*}Value")]
        whole = attribute.get("vr") == "US" and all(text.isdecimal() for text in texts)
        values = [int(text) for text in texts] if whole else texts
        found[attribute.get("tag", "").upper()] = {"Value": items or values}
    return found


def _items(module: Any, tag: str) -> list[Any]:
    element = module.get(tag) if isinstance(module, dict) else None
    value = element.get("Value") if isinstance(element, dict) else None
    return value if isinstance(value, list) else []


def _value(item: Any, tag: str) -> Any:
    values = _items(item, tag)
    return values[0] if values else None


def _reason(error: BaseException) -> str:
    """Return the innermost reason; requests and urllib3 wrap it in several."""
    seen = error
    while True:
        inner = getattr(seen, "reason", None) or next(
            (arg for arg in seen.args if isinstance(arg, BaseException)), None
        )
        if not isinstance(inner, BaseException):
            break
        seen = inner
    text = getattr(seen, "verify_message", None) or getattr(seen, "strerror", None) or str(seen)
    text = re.sub(r"^\[Errno -?\d+\] ", "", text.rpartition(": ")[2])
    return quoted(text or type(seen).__name__).lower()
