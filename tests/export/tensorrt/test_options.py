"""What plans can be asked for, in words."""

import pytest

from darnet_trt.errors import UsageError
from darnet_trt.export.tensorrt.options import PlanOptions, batch_range, check_options


@pytest.mark.parametrize(("text", "expected"), [("1", (1, 1)), ("4", (4, 4)), ("1:8", (1, 8))])
def test_batches(text, expected):
    assert batch_range(text) == expected


@pytest.mark.parametrize("text", ["", "a", "1:", ":8", "1-8", "0", "0:4", "8:1", "65", "1:2:3"])
def test_batches_that_cannot_be(text):
    with pytest.raises(UsageError, match="--batch"):
        batch_range(text)


def test_profiles_are_one_batch_alone_and_the_range():
    assert PlanOptions(batch=(4, 4)).profiles == ()
    assert PlanOptions(batch=(1, 8)).profiles == ((1, 1, 1), (1, 8, 8))


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"version_compatible": True}, "--version-compatible"),
        ({"hardware_compatible": True}, "--hardware-compatible"),
        ({"optimization_level": 0}, "--optimization-level"),
    ],
)
def test_what_rtx_would_ignore_is_refused(options, name):
    with pytest.raises(UsageError, match=f"TensorRT-RTX takes no {name}: "):
        check_options(PlanOptions(**options), {"tensorrt", "tensorrt-rtx"})
    check_options(PlanOptions(**options), {"tensorrt"})


def test_options_without_a_plan_are_refused():
    with pytest.raises(UsageError, match="--workspace is for TensorRT plans"):
        check_options(PlanOptions(workspace_mib=100), set())
    check_options(PlanOptions(), set())
    check_options(PlanOptions(batch=(1, 8), workspace_mib=100), {"tensorrt-rtx"})
