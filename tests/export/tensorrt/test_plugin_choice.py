"""Whether a plan gets the plugin."""

import pytest

from darnet_trt.bundle.reading import sha256_of
from darnet_trt.errors import BuildError
from darnet_trt.export.tensorrt import plugin_choice
from darnet_trt.export.tensorrt.plugin_choice import choose_plugin
from darnet_trt.kernels.build import source_key


@pytest.fixture(autouse=True)
def _needs_rtx():
    pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")


def choose(mode, *targets):
    said = []
    return choose_plugin(mode, "tensorrt-rtx", targets or ("sm89",), said.append), said


def test_off_looks_at_nothing(one_library):
    assert choose("off") == (None, [])


def test_auto_takes_what_is_compiled(one_library):
    plugin, said = choose("auto", "sm75", "portable")
    assert plugin.path == one_library
    assert plugin.card.source == source_key()
    assert plugin.card.sha256 == sha256_of(one_library)
    assert (plugin.card.target, plugin.card.embedded) == ("cpu", False)
    assert said == [
        "the plugin is the CPU build: plans need a CUDA build of the same sources to run"
    ]


def test_auto_compiles_nothing(no_libraries):
    plugin, said = choose("auto")
    assert plugin is None
    assert "no plugin is compiled" in said[0]
    assert not no_libraries.exists()


def test_on_compiles_it_for_the_cpu_where_there_is_no_nvcc(no_libraries, monkeypatch):
    monkeypatch.setenv("CUDACXX", "/absent/nvcc")
    monkeypatch.setenv("CXX", "/absent/g++")
    said = []
    with pytest.raises(BuildError, match=r"/absent/g\+\+: no C\+\+ compiler"):
        choose_plugin("on", "tensorrt-rtx", ("sm89",), said.append)
    assert said == ["CUDACXX is not a program: /absent/nvcc: compiling the plugin for the CPU"]


def test_tensorrt_which_may_run_it_gets_no_cpu_library(one_library, monkeypatch):
    said = []
    assert choose_plugin("auto", "tensorrt", ("sm90",), said.append) is None
    assert "no plugin is compiled" in said[0]
    monkeypatch.setenv("CUDACXX", "/absent/nvcc")
    with pytest.raises(BuildError, match="not a program: /absent/nvcc"):
        choose_plugin("on", "tensorrt", ("sm90",), said.append)


def test_a_library_that_is_none(one_library):
    one_library.write_text("not a library")
    plugin, said = choose("auto")
    assert plugin is None
    assert "without the plugin: the library cannot be loaded" in said[0]
    with pytest.raises(BuildError, match="--plugin off"):
        choose("on")


def test_a_version_of_rtx_that_was_not_tried(one_library, monkeypatch):
    monkeypatch.setattr(plugin_choice, "_RTX_WITH_PLUGINS", "1.6")
    with pytest.raises(BuildError, match=r"expected TensorRT-RTX 1\.6, .*found 1\.7\.1"):
        choose("on")
    plugin, said = choose("auto")
    assert plugin is None
    assert "expected TensorRT-RTX 1.6" in said[0]


def test_a_cuda_library_without_code_for_a_target(one_library, monkeypatch):
    class Sm75:
        target = "cuda sm_75"

    monkeypatch.setattr(plugin_choice, "Library", lambda path: Sm75)
    with pytest.raises(BuildError, match=r"expected code for sm89, found sm_75 .*--arch sm_89"):
        choose("on", "sm89")
