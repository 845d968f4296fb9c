"""Help without <bool>: a flag takes no value."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup

__all__ = ["Command", "Group"]


class Command(TyperCommand):
    """A command whose help shows no type beside a flag."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters; an empty metavar hides the type."""
        return _flags_without_type(super().get_params(ctx))


class Group(TyperGroup):
    """The same for a command that has commands of its own."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters; an empty metavar hides the type."""
        return _flags_without_type(super().get_params(ctx))


def _flags_without_type(parameters: list[Any]) -> list[Any]:
    for parameter in parameters:
        if getattr(parameter, "is_bool_flag", False):
            parameter.metavar = ""
    return parameters
