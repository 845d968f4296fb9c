"""Help in the usual form: BUNDLE SCAN..., and after each option one short word, such as N."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, get_args, get_origin

from typer.core import TyperArgument, TyperCommand, TyperGroup

_METAVARS: Final[dict[Any, str]] = {bool: "", int: "N", float: "N", str: "TEXT", Path: "PATH"}


_LONGEST: Final = 20  # longer choices may wrap after a bar, so that the help beside them is wide


class _ShortMetavars:
    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters with short metavars; the help texts state ranges where needed."""
        parameters: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for parameter in parameters:
            if parameter.metavar is None:
                parameter.metavar = _metavar(parameter, ctx)
            parameter.min = parameter.max = None  # only the help reads these
            if isinstance(parameter, TyperArgument):
                parameter.display_type_rich = lambda ctx: None  # type: ignore[method-assign]
        return parameters

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the parts of the usage line, without Typer's braces."""
        pieces: list[str] = super().collect_usage_pieces(ctx)  # type: ignore[misc]
        return [piece.replace("{", "").replace("}", "") for piece in pieces]


def _metavar(parameter: Any, ctx: Any) -> str:
    if isinstance(parameter, TyperArgument):
        return str(parameter.name).upper()
    if parameter.type_descriptor.is_choice:
        choices = str(parameter.display_type(ctx)).strip("<>")
        return choices if len(choices) <= _LONGEST else choices.replace("|", "| ")
    if "--out" in parameter.opts:
        return "FOLDER"
    kind = parameter.type_descriptor.annotation
    return _METAVARS[get_args(kind)[0] if get_origin(kind) is list else kind]


class Command(_ShortMetavars, TyperCommand):
    """A command with this help."""


class Group(_ShortMetavars, TyperGroup):
    """A command that has commands of its own, with this help."""
