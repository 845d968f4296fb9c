"""What an error becomes for who asked."""

import json

import pytest

from darnet_trt.errors import BusyError, DeviceError, OutputError, UsageError
from darnet_trt.runtime.serving.http.errors import TICKET, answer


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UsageError("it is malformed"), 400),
        (BusyError("the queue is full", retry_after_s=1.2), 429),
        (DeviceError("the engine failed"), 503),
        (OutputError("the disk is full"), 503),
        (OSError(24, "Too many open files", "/state/studies"), 503),
        (ZeroDivisionError("division by zero"), 500),
    ],
)
def test_an_error_is_one_line_with_its_status(error, status):
    try:
        raise error
    except Exception as raised:
        answered = answer(raised)
    assert answered.status_code == status
    text = json.loads(answered.body)["error"]
    assert "\n" not in text
    assert "/state" not in text


def test_who_is_busy_says_until_when_and_gives_a_ticket():
    answered = answer(BusyError("full", retry_after_s=1.2, ticket="t"))
    assert answered.headers["Retry-After"] == "2"
    assert answered.headers[TICKET] == "t"
    assert json.loads(answered.body)["retry_after_s"] == 1.2
