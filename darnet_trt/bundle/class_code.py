"""The code of a class, as a bundle may give it."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from pydantic import Field

_Coded = r"^[^\\\x00-\x1f\x7f]+$"  # a backslash would end a value


class ClassCode(NamedTuple):
    """The code of a class in DICOM objects (PS3.3 section 8).

    Attributes:
        value: CodeValue (0008,0100), or LongCodeValue (0008,0119) of more than 16 characters.
        scheme: CodingSchemeDesignator (0008,0102): "SCT", "RADLEX", "99…" for a private one.
        meaning: CodeMeaning (0008,0104).
    """

    value: Annotated[str, Field(pattern=_Coded, max_length=64)]
    scheme: Annotated[str, Field(pattern=_Coded, max_length=16)]
    meaning: Annotated[str, Field(pattern=_Coded, max_length=64)]
