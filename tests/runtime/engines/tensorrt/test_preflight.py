"""Which plans are refused before they are loaded."""

from pathlib import Path

import pytest

from darnet_trt.bundle.reading import open_bundle, pick_artifact
from darnet_trt.errors import BundleError, MissingPackageError
from darnet_trt.kernels.build import source_key
from darnet_trt.runtime.engines.tensorrt import preflight as tensorrt_preflight
from darnet_trt.runtime.engines.tensorrt.package import PACKAGES
from darnet_trt.runtime.engines.tensorrt.plan import load_plan
from darnet_trt.runtime.engines.tensorrt.preflight import (
    check_target,
    check_version,
    needed_library,
)
from tests.runtime.engines.plan_bundle import FILE, NAME, PLUGIN, plan_card, put_plan


def artifact(bundle: Path, **changes):
    put_plan(bundle, b"a plan", changes.pop("version", "1.7.1.116"), **changes)
    return pick_artifact(open_bundle(bundle), NAME)


@pytest.mark.parametrize(("found", "fits"), [("1.10.0", True), ("2.0", True), ("1.7.1", False)])
def test_a_version_compatible_plan_runs_in_later_versions(tiny, found, fits):
    plan = artifact(tiny, version="1.9.0.2", plan=plan_card(version_compatible=True))
    if fits:
        check_version(plan, found)
    else:
        with pytest.raises(BundleError, match=r"built by tensorrt_rtx 1\.9\.0\.2"):
            check_version(plan, found)


def test_a_plan_without_the_version_that_built_it(tiny):
    with pytest.raises(BundleError, match="tensorrt_rtx"):
        check_version(artifact(tiny, producer={}), "1.7.1.116")


@pytest.mark.parametrize(
    ("target", "capability", "hardware_compatible", "fits"),
    [
        ("sm89", (8, 9), False, True),
        ("sm89", (8, 6), False, False),
        ("sm86", (8, 9), False, False),
        ("sm120", (12, 0), False, True),
        ("portable", (7, 5), False, True),
        ("portable", (9, 0), False, False),
        ("sm80", (8, 0), True, True),
        ("sm80", (9, 0), True, False),
    ],
)
def test_a_plan_runs_only_on_its_gpus(tiny, target, capability, hardware_compatible, fits):
    card = plan_card(hardware_compatible=hardware_compatible)
    plan = artifact(tiny, target=target, plan=card)
    if fits:
        check_target(plan, "GPU", capability)
    else:
        with pytest.raises(BundleError, match=rf"for {target}; .*sm\d+ \(GPU\)"):
            check_target(plan, "GPU", capability)


@pytest.mark.parametrize(
    ("backend", "capability", "remedy"),
    [
        ("tensorrt-rtx", (9, 0), "TensorRT-RTX refuses this GPU.*onnxruntime:cuda"),
        ("tensorrt-rtx", (8, 9), "with: darnet-trt build$"),
        ("tensorrt", (9, 0), "with: darnet-trt build$"),
    ],
)
def test_no_plan_is_built_again_for_a_gpu_that_tensorrt_rtx_refuses(
    tiny, backend, capability, remedy
):
    plan = artifact(tiny).model_copy(update={"backend": backend, "target": "sm86"})
    with pytest.raises(BundleError, match=remedy):
        check_target(plan, "GPU", capability)


def test_a_bfloat16_plan_needs_a_gpu_that_has_it(tiny):
    plan = artifact(tiny, target="portable", precision="bf16")
    check_target(plan, "GPU", (8, 0))
    with pytest.raises(BundleError, match=r"bfloat16.* sm75 \(GPU\).*--precision fp16"):
        check_target(plan, "GPU", (7, 5))


def test_a_plan_that_contains_its_plugin_needs_no_library(tiny):
    card = plan_card(PLUGIN | {"embedded": True})
    assert needed_library(artifact(tiny, plan=card), (8, 9), 13000) is None


def test_a_plan_that_contains_a_plugin_for_another_gpu(tiny):
    plan = artifact(tiny, plan=plan_card(PLUGIN | {"embedded": True}), target="portable")
    with pytest.raises(BundleError, match=r"sm_120.* cuda sm_89; .*--arch sm_120.*bundle"):
        needed_library(plan, (12, 0), 13000)


@pytest.mark.parametrize(
    ("cuda", "capability", "driver", "why"),
    [
        (13000, (8, 9), 12080, r"CUDA 13\.0, .*R580 or later; .*CUDA 12\.8"),
        (13010, (8, 9), 13000, None),
        (13010, (12, 0), 13000, r"CUDA 13\.1 and has only PTX for this GPU; .*CUDA 13\.0"),
        (12060, (8, 9), 13000, None),
        (0, (8, 9), 12040, None),  # of an older darnet-trt
    ],
)
def test_a_plugin_of_another_cuda_than_the_drivers(tiny, cuda, capability, driver, why):
    plugin = PLUGIN | {"embedded": True, "target": "cuda sm_89 ptx_89", "cuda": cuda}
    plan = artifact(tiny, plan=plan_card(plugin), target="portable")
    if why is None:
        assert needed_library(plan, capability, driver) is None
    else:
        with pytest.raises(BundleError, match=why):
            needed_library(plan, capability, driver)


def test_a_plugin_of_other_sources(tiny):
    with pytest.raises(BundleError, match=f"000000000000.* {source_key()}"):
        needed_library(artifact(tiny, plan=plan_card(PLUGIN)), (8, 9), 13000)


@pytest.mark.usefixtures("one_library")
def test_a_plugin_built_for_the_cpu_is_not_enough(tiny):
    plan = artifact(tiny, plan=plan_card(PLUGIN | {"source": source_key(), "target": "cpu"}))
    with pytest.raises(BundleError, match=r"CUDA build.* darnet-trt plugin build"):
        needed_library(plan, (8, 9), 13000)


def test_a_plugin_in_the_cache_for_another_gpu(tiny, cpu_library, monkeypatch):
    monkeypatch.setattr(tensorrt_preflight, "cached_library", lambda *_: cpu_library)
    plan = artifact(tiny, plan=plan_card(PLUGIN | {"source": source_key()}))
    with pytest.raises(BundleError, match=r"sm_89.* cpu; .*build --arch sm_89"):
        needed_library(plan, (8, 9), 13000)


def test_a_package_that_is_not_installed(tiny, monkeypatch):
    monkeypatch.setitem(PACKAGES, "tensorrt-rtx", ("absent_tensorrt_rtx", "rtx"))
    with pytest.raises(MissingPackageError, match=r"absent_tensorrt_rtx .*darnet-trt\[rtx\]"):
        load_plan(artifact(tiny), tiny / FILE)
