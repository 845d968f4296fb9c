"""The root of the command line: one line for every error; exit codes 0, 1 and 2.

A signal that ends the process unwinds every command as Ctrl-C does, so that no half-written file
is left behind; the exit code is 128 plus the signal's number, as a shell reports it.
"""

from __future__ import annotations

import importlib
import signal
import sys
import traceback
from itertools import pairwise
from typing import Annotated, NoReturn

import typer

from darnet_trt import __version__
from darnet_trt.cli import printing
from darnet_trt.cli.help import Command, Group
from darnet_trt.cli.printing import print_line, warn
from darnet_trt.cli.signals import Handlers, handled
from darnet_trt.cli.streams import NoReader, command_streams
from darnet_trt.cli.wrong_value import wrong_value
from darnet_trt.errors import DarnetError, InternalError, OutputError, UsageError
from darnet_trt.machine.files import temporary_folder

_INTERRUPTED = 128 + signal.SIGINT
_NO_READER = 128 + 13  # SIGPIPE, which Windows has no name for
_ENDING = ("SIGTERM", "SIGHUP")

_COMMANDS = (
    *("doctor", "phantom", "inspect", "cohort", "train", "evaluate", "ablation", "explain"),
    *("export", "build", "bundle"),
    *("calibrate", "predict", "merge", "deliver", "serve", "report", "bench", "plugin"),
)


class _Root(Group):
    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """Return the commands in the README's order; Typer would put groups last."""
        return list(_COMMANDS)


app = typer.Typer(
    name="darnet-trt",
    cls=_Root,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Classify chest CT scans with the dual-attention 3D ResNet18: train it, build engines "
    "for this machine, predict. Research software: not a medical device.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print_line(f"darnet-trt {__version__}")
        raise typer.Exit


# main() takes --debug and -q out of the words; they are declared here for the help.
@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", "-V", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet",
            "-q",
            help="Show no progress and no notes on stderr, only warnings and errors. May stand "
            "anywhere on the line.",
        ),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option(
            "--debug", help="Show the traceback of an error. May stand anywhere on the line."
        ),
    ] = False,
) -> None:
    pass


for _name in _COMMANDS:
    _command = getattr(importlib.import_module(f"darnet_trt.cli.{_name}"), _name)
    if isinstance(_command, typer.Typer):
        app.add_typer(_command, name=_name)
    else:
        app.command(_name, cls=Command)(_command)


class _Ended(BaseException):
    """A signal ends this process; a BaseException, so that nothing handles it and continues."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


def main() -> None:
    """Run the command line; print an error as one line, and exit with its code."""
    words, debug = _without(sys.argv[1:], "--debug")
    words, printing.quiet = _without(words, "-q", "--quiet")
    with command_streams():
        try:
            _refuse_empty(words)
            with handled(_ENDING, _end):
                code = app(words or ["--help"], prog_name="darnet-trt", standalone_mode=False)
                sys.stdout.flush()
        except NoReader:
            sys.exit(_NO_READER)
        except (Exception, KeyboardInterrupt, _Ended) as error:
            if debug:
                for line in traceback.format_exc().splitlines():
                    warn(line)
            _fail(*_described(error))
        if code == _INTERRUPTED:  # which Typer makes of Ctrl-C
            _fail("interrupted", code)
        sys.exit(code)


def _without(words: list[str], *flags: str) -> tuple[list[str], bool]:
    """Take a flag out of the words before `--`; the second value: whether it was there."""
    end = words.index("--") if "--" in words else len(words)
    kept = [word for word in words[:end] if word not in flags]
    return kept + words[end:], len(kept) < end


def _refuse_empty(words: list[str]) -> None:
    """Raise UsageError at an empty word: as a path it would be the current folder."""
    for before, word in pairwise(["darnet-trt", *words]):
        if not word or (word.startswith("--") and word.partition("=")[1:] == ("=", "")):
            raise UsageError(
                f"the word after {word or before} is empty",
                do="look for a shell variable that is not set",
            )


def _described(error: BaseException) -> tuple[str, int]:
    """Return the line and the exit code of what ended a command."""
    match error:
        case DarnetError():
            return str(error), 2
        case typer.TyperException():
            return _usage(error), 2
        case OSError():
            return _of_system(error), 2
        case _Ended():
            return f"ended by {error}", error.code
        case KeyboardInterrupt() | typer.Abort():
            return "interrupted", _INTERRUPTED
    assert isinstance(error, Exception)
    return f"{InternalError(error)}; --debug shows where", 2


def _end(number: int, before: Handlers) -> None:
    """Raise `_Ended`."""
    for again in before:
        signal.signal(again, signal.SIG_IGN)  # once is enough: it cleans up now
    raise _Ended(number)


def _usage(error: typer.TyperException) -> str:
    from pydantic import ValidationError

    if isinstance(error.__cause__, ValidationError):
        error.message = wrong_value(error.__cause__)
    message = " ".join(error.format_message().split()).rstrip(".")
    context = getattr(error, "ctx", None)
    return f"{message}; see '{context.command_path} --help'" if context else message


def _of_system(error: OSError) -> str:
    reason = error.strerror or str(error)
    if error.filename is not None:
        return f"{error.filename}: {reason}"
    try:
        temporary_folder()
    except OutputError as nowhere:  # the only such error without a file name
        return str(nowhere)
    return f"{reason}; --debug shows where"


def _fail(line: str, code: int) -> NoReturn:
    warn(f"darnet-trt: {line}")
    sys.exit(code)
