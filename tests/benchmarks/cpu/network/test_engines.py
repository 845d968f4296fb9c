"""The targets of the paper's network, judged from a report of `bench`."""

import pytest

from benchmarks.cpu.network.engines import targets
from darnet_trt.runtime.bench.layers.layers import Group, Layers
from darnet_trt.runtime.bench.report.schema import ColdStart
from tests.runtime.bench.report.reports import ENVIRONMENT, report, steady, trace

LAYERS = Layers(
    artifact="openvino", precision="int8", runs=3, unprofiled_ms=100, profiled_ms=100, ratio=1,
    peak_gmac_per_s=100, peak_gb_per_s=10, no_peak=None, layers=(),
    groups=(
        Group(part="stem", kind="convolutions", ms=90, share=0.9, gmac=9.3),
        Group(part="format", kind="format", ms=10, share=0.1),
    ),
)  # fmt: skip
COLD = ColdStart(first_result_ms=1600, load_ms=1, first_inference_ms=1, peak_memory_mb=701)


def of(precision, features=("avx512_vnni",), **changes):
    """A report of an engine of 100 ms, of peers that are 4 to 8 times as slow, and of a scan."""
    found = report(
        *(trace(name, [ms] * 30) for name, ms in (("openvino", 100.0), ("torch", 710.0),
          ("torch-compile", 430.0), ("onnxruntime", 495.0), ("openvino from file", 126.0)))
    )  # fmt: skip
    first, *rest = found.engines
    first = first.model_copy(
        update={"precision": precision, "layers": LAYERS, "cold_start": COLD,
                "many_ms_per_scan": 104.0, **changes}
    )  # fmt: skip
    *engines, scan = found.configurations
    cpu = ENVIRONMENT.cpu.__class__("AMD EPYC", 2, 23.5, features)
    return found.model_copy(
        update={
            "engines": (first, *rest),
            "configurations": (*engines, scan.model_copy(update={"way": "file-to-result"})),
            "environment": ENVIRONMENT.model_copy(update={"cpu": cpu}),
        }
    )


def results(found):
    return {one.what: (pytest.approx(one.found, rel=1e-3), one.reached) for one in targets(found)}


def test_in_int8_every_target_is_judged():
    assert results(of("int8")) == {
        "openvino, share of the peak": (93.0, True),
        "torch / openvino": (7.1, True),
        "torch-compile / openvino": (4.3, False),
        "onnxruntime / openvino": (4.95, True),
        "file to result / engine alone": (1.26, False),
        "the same in a batch": (1.04, True),
        "process start to first result, less the engine's time": (1.5, True),
        "peak memory of predict": (701, False),
    }


def test_in_bf16_only_the_share_the_scan_and_the_start_are():
    found = results(of("bf16", many_ms_per_scan=None))
    assert list(found) == [
        "openvino, share of the peak",
        "file to result / engine alone",
        "process start to first result, less the engine's time",
    ]
    assert found["openvino, share of the peak"] == (93.0, False)


def test_without_vnni_no_speed_up_is_demanded():
    assert not [what for what in results(of("int8", features=("avx2",))) if " / openvino" in what]


def test_a_share_without_a_peak_is_missed():
    layers = LAYERS.model_copy(update={"peak_gmac_per_s": None, "no_peak": "no compiler"})
    (share, *_) = targets(of("int8", layers=layers))
    assert not share.reached


def test_what_was_not_measured_is_not_judged():
    assert list(targets(report(trace("openvino", steady(100))))) == []
