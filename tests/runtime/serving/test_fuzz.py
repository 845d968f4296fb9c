"""Damaged requests to both doors make no error of the service, and do not end it."""

import pytest

from tests.runtime.serving.fuzz.run import fuzz
from tests.short import SHORT


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of our own sockets
def test_damaged_requests(tiny, tmp_path):
    count, seconds = (300, 10) if SHORT else (3000, 120)
    verdicts = fuzz(tiny, tmp_path / "service", range(count), document_s=seconds)
    for verdict in verdicts:
        print(verdict.line())
    assert [fault for verdict in verdicts for fault in verdict.faults] == []
