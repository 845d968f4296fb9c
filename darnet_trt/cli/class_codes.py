"""Codes of classes, as `--class-code` gives them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from pydantic import TypeAdapter, ValidationError

from darnet_trt.bundle.class_code import ClassCode
from darnet_trt.errors import UsageError

_OPTION: Final = "--class-code"


def class_codes(given: Sequence[str], classes: Collection[str]) -> dict[str, ClassCode]:
    """Return the code of each class that has one.

    Args:
        given: CLASS=VALUE,SCHEME,MEANING each; a meaning may have commas.
        classes: The network's.

    Raises:
        UsageError: One is of another form, or names no class, or is too long for DICOM.
    """
    found: dict[str, ClassCode] = {}
    for text in given:
        name, _, code = text.partition("=")
        if name not in classes:
            raise UsageError(
                f"{name!r} is no class of the network",
                where=_OPTION,
                do=f"choose from {', '.join(classes)}",
            )
        parts = [part.strip() for part in code.split(",", 2)]
        try:
            found[name] = TypeAdapter(ClassCode).validate_python(tuple(parts))
        except ValidationError as error:
            raise UsageError(
                f"{text!r} gives no code",
                where=_OPTION,
                do="write CLASS=VALUE,SCHEME,MEANING of 1 to 64, 16, 64 characters, no backslash",
            ) from error
    return found
