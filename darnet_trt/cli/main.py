"""The command line's root: one line for every error, exit codes 0, 1 and 2.

A signal that asks to end unwinds every command as Ctrl-C does, so that nothing half-written is
left behind; the exit code is 128 and the signal's number, as a shell reports it.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer

from darnet_trt import __version__
from darnet_trt.cli.plugin import plugin
from darnet_trt.cli.printing import printable
from darnet_trt.errors import DarnetError, InternalError
from darnet_trt.machine.files import cannot_write_stdout, no_temporary_folder

__all__ = ["app", "main"]

_INTERRUPTED = 128 + signal.SIGINT
_ENDING = [s for s in signal.Signals if s.name in ("SIGTERM", "SIGHUP")]  # no SIGHUP on Windows

app = typer.Typer(
    name="darnet-trt",
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Edge inference for the dual-attention 3D ResNet18 on chest CT. "
    "Research software: not a medical device.",
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"darnet-trt {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error (anywhere on the line).")
    ] = False,
) -> None:
    pass


_COMMANDS = "doctor phantom train export calibrate build inspect predict bench"
for _name in _COMMANDS.split():
    _module = importlib.import_module(f"darnet_trt.cli.{_name}")
    app.command(_name)(getattr(_module, _name))
app.add_typer(plugin, name="plugin")


class _Ended(BaseException):
    """A signal asks this process to end; nothing may take it for an error and go on."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


def main() -> None:
    """Entry point of `darnet-trt`: run, and turn errors into one line and an exit code."""
    for closed in ("stdout", "stderr"):
        if getattr(sys, closed) is None:  # a shell's >&-
            setattr(sys, closed, Path(os.devnull).open("w"))  # noqa: SIM115 (until the end)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal in Latin-1 shows the rest all the same
            stream.reconfigure(errors="replace")
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    try:
        with _unwinding():
            code = app(arguments or ["--help"], prog_name="darnet-trt", standalone_mode=False)
            sys.stdout.flush()
    except OSError as error:  # of a file it has a name, of a stream none
        _traceback(debug)
        _fail(_of_system(error), 2)
    except (DarnetError, typer.TyperException) as error:
        _traceback(debug)
        _fail(_one_line(error), 2)
    except _Ended as error:
        _traceback(debug)
        _fail(f"ended by {error}", error.code)
    except (KeyboardInterrupt, typer.Abort):
        _traceback(debug)
        code = _INTERRUPTED
    except Exception as error:
        _traceback(debug)
        _fail(f"{InternalError(error)}; --debug shows where", 2)
    if code == _INTERRUPTED:  # which Typer makes of Ctrl-C
        _fail("interrupted", code)
    sys.exit(code)


@contextmanager
def _unwinding() -> Iterator[None]:
    """Turn the signals that ask to end into an exception, where nobody chose to ignore them."""

    def end(number: int, frame: FrameType | None) -> None:
        for heeded in before:
            signal.signal(heeded, signal.SIG_IGN)  # once is enough: let it clean up
        raise _Ended(number)

    before = {s: h for s in _ENDING if (h := signal.getsignal(s)) not in (signal.SIG_IGN, None)}
    for heeded in before:
        signal.signal(heeded, end)
    try:
        yield
    finally:
        for heeded, handler in before.items():
            signal.signal(heeded, handler)


def _one_line(error: DarnetError | typer.TyperException) -> str:
    if isinstance(error, DarnetError):
        return str(error)
    message = " ".join(error.format_message().split()).rstrip(".")
    context = getattr(error, "ctx", None)
    return f"{message}; see '{context.command_path} --help'" if context else message


def _of_system(error: OSError) -> str:
    if error.filename is None and isinstance(error, FileNotFoundError):
        return str(no_temporary_folder(error))
    if error.filename is None:
        return str(cannot_write_stdout(error))
    return f"{error.filename}: {error.strerror or error}"


def _traceback(wanted: bool) -> None:
    """Show where the error came from; its line and exit code follow as without it."""
    if wanted:
        with suppress(OSError):
            traceback.print_exc()


def _fail(line: str, code: int) -> NoReturn:
    with suppress(OSError):  # the code tells, where stderr cannot
        typer.echo(printable(f"darnet-trt: {line}"), err=True)
    sys.exit(code)
