"""Refuse to train on a cohort that gives its classes away."""

from __future__ import annotations

from contextlib import nullcontext

from darnet_trt.errors import UsageError
from darnet_trt.scan.cohorts import Cohort
from darnet_trt.training.checking.check import Reading, check


def shortcuts(
    cohort: Cohort,
    *,
    allow: bool,
    reading: Reading = lambda scans: nullcontext(lambda count: None),
) -> tuple[str, ...]:
    """Return the codes of what gives a cohort's classes away without the lungs.

    `train(…, shortcuts=lambda: shortcuts(cohort, allow=allow_shortcut, reading=…))` calls it when
    all else is known to do. What was found of a cohort is kept in the cache folder, by its scans'
    files, patients and classes; so only the first of several trainings reads the scans for it.

    Args:
        cohort: All scans that are trained on or measured.
        allow: Return them instead of refusing the cohort.
        reading: Called with the number of scans to read; returns a context that is open meanwhile
            and gives a function to call with the number done since the last call.

    Raises:
        UsageError: There are some, and `allow` is false.
    """
    found = check(cohort, reading=reading).shortcuts
    if found and not allow:
        raise UsageError(
            f"the cohort gives its classes away without the lungs ({', '.join(found)})",
            where=cohort.table,
            do="darnet-trt cohort check says how: mend the cohort, or train with --allow-shortcut",
        )
    return found
