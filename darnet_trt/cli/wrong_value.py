"""Say what is wrong with the value of an option, in plainer words than pydantic's."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


def wrong_value(error: ValidationError) -> str:
    """Return what is wrong with the first value."""
    first = error.errors()[0]
    given = _number(first["input"])
    limits = {name: _number(limit) for name, limit in first.get("ctx", {}).items()}
    if str(given).strip().casefold() == "nan":
        return f"{given} is not a number"
    match first["type"]:
        case "int_parsing" | "int_from_float":
            return f"{first['input']!r} is not a whole number"
        case "float_parsing":
            return f"{first['input']!r} is not a number"
        case "finite_number":
            return f"{given} is not finite"
        case "greater_than":
            return f"{given} is not above {limits['gt']}"
        case "less_than":
            return f"{given} is not below {limits['lt']}"
        case "greater_than_equal":
            return f"{given} is below {limits['ge']}"
        case "less_than_equal":
            return f"{given} is above {limits['le']}"
    return first["msg"].removeprefix("Value error, ")


def _number(value: object) -> object:
    return f"{value:g}" if isinstance(value, float) else value
