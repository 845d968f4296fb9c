"""The command line's root: one line for every error, exit codes 0, 1 and 2."""

from __future__ import annotations

import importlib
import sys
from typing import Annotated, NoReturn

import typer

from darnet_trt import __version__
from darnet_trt.errors import DarnetError

__all__ = ["app", "main"]

_INTERRUPTED = 130  # what a shell reports for SIGINT

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


for _name in ("doctor", "phantom", "train", "export", "build", "inspect", "predict", "bench"):
    _module = importlib.import_module(f"darnet_trt.cli.{_name}")
    app.command(_name)(getattr(_module, _name))


def main() -> None:
    """Entry point of `darnet-trt`: run, and turn errors into one line and an exit code."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    try:
        code = app(arguments or ["--help"], prog_name="darnet-trt", standalone_mode=False)
    except (DarnetError, typer.TyperException) as error:
        if debug:
            raise
        _fail(_one_line(error), 2)
    except (KeyboardInterrupt, typer.Abort):
        if debug:
            raise
        _fail("interrupted", _INTERRUPTED)
    sys.exit(code)


def _one_line(error: DarnetError | typer.TyperException) -> str:
    if isinstance(error, DarnetError):
        return str(error)
    message = " ".join(error.format_message().split()).rstrip(".")
    context = getattr(error, "ctx", None)
    return f"{message}; see '{context.command_path} --help'" if context else message


def _fail(line: str, code: int) -> NoReturn:
    typer.echo(f"darnet-trt: {line}", err=True)
    sys.exit(code)
