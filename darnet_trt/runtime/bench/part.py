"""What the parts of a report have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, PlainSerializer

Rounded = Annotated[float, PlainSerializer(lambda value: round(value, 4))]
"""A number that is written with 4 decimals."""
Precise = Annotated[float, PlainSerializer(lambda value: float(f"{value:.6g}"))]
"""A number that is written with 6 digits."""


class Part(BaseModel):
    """A part of a report, which does not change."""

    model_config = ConfigDict(frozen=True, extra="forbid")
