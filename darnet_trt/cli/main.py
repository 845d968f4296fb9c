"""The command line's root: one line for every error, exit codes 0, 1 and 2."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import Annotated

import typer

from darnet_trt import __version__
from darnet_trt.errors import DarnetError

__all__ = ["app", "main"]

app = typer.Typer(
    name="darnet-trt",
    no_args_is_help=True,
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
    if importlib.util.find_spec(f"darnet_trt.cli.{_name}") is None:
        continue  # TEMPORARY while the commands are being written
    _module = importlib.import_module(f"darnet_trt.cli.{_name}")
    app.command(_name)(getattr(_module, _name))


def main() -> None:
    """Entry point of `darnet-trt`: run, and turn errors into one line and an exit code."""
    arguments = [a for a in sys.argv[1:] if a != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    try:
        app(arguments)
    except DarnetError as error:
        if debug:
            raise
        print(f"darnet-trt: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    except KeyboardInterrupt:
        if debug:
            raise
        print("darnet-trt: interrupted", file=sys.stderr)  # noqa: T201
        sys.exit(130)
