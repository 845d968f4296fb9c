"""Read bodies of several parts while they come: multipart/form-data and multipart/related.

python-multipart parses (RFC 2046 section 5.1); here its callbacks become an iteration.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from darnet_trt.errors import UsageError, one_line


@dataclass(frozen=True)
class Part:
    """A part of a body.

    Attributes:
        headers: Name, in lower case → value.
        pieces: Its content; to be read before the next part.
    """

    headers: dict[str, str]
    pieces: Iterator[bytes]

    @property
    def filename(self) -> str | None:
        """Return the name of its file as the sender gives it; None: it is no file."""
        _, options = parse_options_header(self.headers.get("content-disposition", ""))
        name = options.get(b"filename")
        return None if name is None else one_line(name.decode("utf-8", "replace"))[-200:]


def media_type(content_type: str) -> tuple[str, bytes]:
    """Return the media type in a Content-Type, and its boundary; empty where it has none."""
    kind, options = parse_options_header(content_type)
    return kind.decode("latin-1"), options.get(b"boundary", b"")


def parts(pieces: Iterable[bytes], boundary: bytes) -> Iterator[Part]:
    """Yield the parts of a body.

    Args:
        pieces: The body.
        boundary: As its Content-Type says.

    Raises:
        UsageError: It is malformed, or it ends in the middle.
    """
    events = _Events(iter(pieces), boundary)
    while (event := events.next()) is not None:
        if isinstance(event, dict):
            content = _content(events)
            yield Part(event, content)
            for _ in content:
                pass


def _content(events: _Events) -> Iterator[bytes]:
    while isinstance(event := events.next(), bytes):
        yield event


class _Events:
    """Holds what the parser found: the headers of a part, then its pieces, then its end (True)."""

    def __init__(self, pieces: Iterator[bytes], boundary: bytes) -> None:
        self._pieces = pieces
        self._found: deque[dict[str, str] | bytes | bool] = deque()
        self._headers: dict[str, str] = {}
        self._name, self._value = b"", b""
        self._ended = False
        if not boundary:
            raise UsageError("the body has parts, and its Content-Type names no boundary")
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._on_begin,
                    "on_header_field": self._on_name,
                    "on_header_value": self._on_value,
                    "on_header_end": self._on_header,
                    "on_headers_finished": self._on_headers,
                    "on_part_data": self._on_data,
                    "on_part_end": lambda: self._found.append(True),
                    "on_end": self._on_end,
                },
            )
        except FormParserError as error:
            raise _malformed(error) from None

    def next(self) -> dict[str, str] | bytes | bool | None:
        """Return the next of what was found; None at the end.

        Raises:
            UsageError: The body is malformed, or it ends in the middle.
        """
        while not self._found:
            piece = next(self._pieces, None)
            if piece is None:
                if not self._ended:
                    raise UsageError("the body ends before its last boundary")
                return None
            if self._ended:  # what follows the last boundary says nothing
                continue
            try:
                self._parser.write(piece)
            except FormParserError as error:
                raise _malformed(error) from None
        return self._found.popleft()

    def _on_begin(self) -> None:
        self._headers = {}

    def _on_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header(self) -> None:
        self._headers[self._name.decode("latin-1").lower()] = self._value.decode("latin-1")
        self._name, self._value = b"", b""

    def _on_headers(self) -> None:
        self._found.append(self._headers)

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        self._found.append(data[start:end])

    def _on_end(self) -> None:
        self._ended = True


def _malformed(error: FormParserError) -> UsageError:
    return UsageError(f"the body's parts are malformed: {one_line(str(error))[:150]}")
