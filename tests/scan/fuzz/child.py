"""Read each scan that a line of stdin names; answer on a line of stdout how that ended.

It runs as a process of its own, so that a crash ends it alone, and its peak memory is the scan's.
"""

import faulthandler
import json
import re
import sys
import time
import traceback

import numpy as np

from darnet_trt.errors import ScanError, UsageError
from darnet_trt.scan import Preprocessing, find_studies, load_study
from tests.machine.peak import peak_bytes

SPEC = Preprocessing(size=(16, 32, 32), extent="lungs")


def read(path: str) -> str:
    """Return the codes that came out of it, or raise what is a defect."""
    try:
        studies = find_studies(path)
    except (ScanError, UsageError) as error:
        return _code(error)
    assert studies, "neither a study nor an error"
    ends = []
    for study in studies:
        for series in study.series:
            for finding in (series.verdict.reason, *series.verdict.warnings):
                assert _is_code(finding.code), f"{finding.code}: {finding}"
        try:
            _, loaded = load_study(study, SPEC)
        except ScanError as error:
            ends.append(_code(error))
        else:
            assert loaded.array.shape == (1, *SPEC.size)
            assert np.isfinite(loaded.array).all(), "an input that is not finite"
            assert loaded.array.min() >= 0
            assert loaded.array.max() <= 1
            ends.append("ok")
    return " ".join(ends)


def _code(error: ScanError | UsageError) -> str:
    assert "\n" not in str(error)
    assert _is_code(error.code), error
    return error.code


def _is_code(code: str) -> bool:
    return code not in ("", "internal-error") and re.fullmatch("[a-z0-9-]+", code) is not None


def main() -> None:
    """Answer each line of stdin with one of stdout."""
    faulthandler.enable()
    for line in sys.stdin:
        begun = time.process_time()
        answer = {"end": "", "defect": ""}
        try:
            answer["end"] = read(json.loads(line))
        except BaseException:
            answer["defect"] = traceback.format_exc()
        measured = {"cpu_s": time.process_time() - begun, "peak": peak_bytes()}
        print(json.dumps({**answer, **measured}), flush=True)


if __name__ == "__main__":
    main()
