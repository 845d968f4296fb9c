import pytest

from darnet_trt.runtime.bench.load import busy


@pytest.mark.parametrize(
    ("load", "cores", "steal", "facts"),
    [
        (0.0, 2, 0.0, []),
        (0.5, 2, 1.0, []),
        (1.0, 2, 0.0, ["1.0"]),
        (1.0, 16, 0.0, []),
        (0.0, 2, 12.3, ["12 %"]),
        (3.5, 2, 30.0, ["3.5", "30 %"]),
    ],
)
def test_each_reason_names_its_number(load, cores, steal, facts):
    reasons = busy(load, cores, steal)
    assert len(reasons) == len(facts)
    for reason, fact in zip(reasons, facts, strict=True):
        assert fact in reason
