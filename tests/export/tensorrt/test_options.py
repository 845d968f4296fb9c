"""Options of plans: profiles, and what is refused."""

import pytest

from darnet_trt.errors import UsageError
from darnet_trt.export.tensorrt.options import PlanOptions, check_options


@pytest.mark.parametrize("batch", [(0, 0), (0, 4), (8, 1), (65, 65), (1, 65)])
def test_a_batch_out_of_range_is_refused(batch):
    with pytest.raises(UsageError) as caught:
        check_options(PlanOptions(batch=batch), {"tensorrt"})
    assert caught.value.where == "--batch"
    assert f"{batch[0]}:{batch[1]}" in caught.value.what


def test_a_range_of_batches_has_two_profiles_in_options():
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
def test_options_that_rtx_does_not_have_are_refused(options, name):
    with pytest.raises(UsageError, match="TensorRT-RTX") as caught:
        check_options(PlanOptions(**options), {"tensorrt", "tensorrt-rtx"})
    assert caught.value.where == name
    check_options(PlanOptions(**options), {"tensorrt"})


def test_options_without_a_plan_are_refused():
    with pytest.raises(UsageError, match="TensorRT plans") as caught:
        check_options(PlanOptions(workspace_mib=100), set())
    assert caught.value.where == "--workspace"
    check_options(PlanOptions(), set())
    check_options(PlanOptions(batch=(1, 8), workspace_mib=100), {"tensorrt-rtx"})
