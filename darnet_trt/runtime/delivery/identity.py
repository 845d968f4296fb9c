"""UIDs and times of objects, which follow from the stored result alone.

Whoever makes an object of a result, and however often, makes the same one, so that an archive that
got it before a crash does not get a twin.
"""

from __future__ import annotations

import json
import uuid
from datetime import datetime, timedelta, timezone
from typing import Final

from darnet_trt.runtime.delivery.source import Source
from darnet_trt.runtime.prediction.results.result import Result

_NAMES: Final = uuid.UUID("5c1f2f0c-8a0e-4d53-9d7e-6a0a4f6f2c11")
"""The namespace of our UIDs (RFC 9562 section 5.5); any other would do, but it must stay."""


def uid_of(kind: str, result: Result, source: Source) -> str:
    """Return the UID that something of a result has, under 2.25 (PS3.5 section B.2).

    Args:
        kind: What it names: "sr", "series of sr", "tracking covid-19", …
        result: The bundle, engine, precision and version that answered.
        source: The instances that were read.
    """
    parts = (
        kind,
        result.bundle_sha256,
        result.artifact,
        result.precision,
        result.toolkit,
        *sorted({instance.sop_uid for instance in source.instances}),
    )
    return _uid(json.dumps(parts))


def device_uid(result: Result) -> str:
    """Return the UID of the engine, the same for every study that it classified."""
    parts = ("device", result.bundle_sha256, result.artifact, result.precision, result.toolkit)
    return _uid(json.dumps(parts))


def _uid(text: str) -> str:
    return f"2.25.{uuid.uuid5(_NAMES, text).int}"


def finished_at(result: Result, offset: str | None) -> datetime:
    """Return when a result was made.

    Args:
        result: Which.
        offset: TimezoneOffsetFromUTC (0008,0201) of the study, "+0800"; None: UTC.
    """
    at = datetime.fromisoformat(result.finished)
    if offset is None:
        return at
    sign = -1 if offset[0] == "-" else 1
    ahead = timedelta(hours=int(offset[1:3]), minutes=int(offset[3:5]))
    return at.astimezone(timezone(sign * ahead))
