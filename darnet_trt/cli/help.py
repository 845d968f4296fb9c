"""Help without <bool>: a flag takes no value."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup

__all__ = ["Command", "Group"]


class _FlagsWithoutType:
    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters; an empty metavar hides the type."""
        parameters: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for parameter in parameters:
            if getattr(parameter, "is_bool_flag", False):
                parameter.metavar = ""
        return parameters


class Command(_FlagsWithoutType, TyperCommand):
    """A command whose help shows no type beside a flag."""


class Group(_FlagsWithoutType, TyperGroup):
    """The same for a command that has commands of its own."""
