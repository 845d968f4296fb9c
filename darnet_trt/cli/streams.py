"""stdout and stderr of a command: a stdout that fails is named, a stderr that fails is ignored."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from darnet_trt.errors import OutputError
from darnet_trt.machine.files import cannot_write_stdout

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class NoReader(BaseException):
    """Stdout has no reader any more (`| head`); a BaseException, so that nothing handles it."""


class _Stdout(io.FileIO):
    """A stdout that ends the command when a write fails: results would be missing."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            failure = cannot_write_stdout(error)
            raise (NoReader if isinstance(error, BrokenPipeError) else failure) from error


class _Stderr(io.FileIO):
    """A stderr that ignores failed writes: a full disk behind a log must not end the work."""

    def write(self, data: ReadableBuffer, /) -> int:
        with suppress(OSError):
            return super().write(data)
        return len(memoryview(data))


@contextmanager
def command_streams() -> Iterator[None]:
    """Replace stdout and stderr; characters that a stream's encoding lacks become "?"."""
    with (
        redirect_stdout(_opened(sys.stdout, _Stdout)) as stdout,
        redirect_stderr(_opened(sys.stderr, _Stderr)),
    ):
        try:
            yield
        finally:
            with suppress(OSError, OutputError):
                stdout.flush()


def _opened(stream: TextIO | None, kind: type[io.FileIO]) -> TextIO:
    if stream is None:  # a shell's >&-
        return Path(os.devnull).open("w")
    if any(stream is ours for ours in (sys.__stdout__, sys.__stderr__)):
        buffer = io.BufferedWriter(kind(stream.fileno(), "w", closefd=False))
        return io.TextIOWrapper(
            buffer, stream.encoding, "replace", line_buffering=kind is _Stderr or stream.isatty()
        )
    if isinstance(stream, io.TextIOWrapper):  # a test's
        stream.reconfigure(errors="replace")
    return stream
