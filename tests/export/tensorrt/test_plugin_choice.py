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


def test_off_builds_without_the_plugin(one_library):
    assert choose("off") == (None, [])


def test_auto_uses_a_compiled_library(one_library):
    plugin, said = choose("auto", "sm75", "portable")
    assert plugin.path == one_library
    assert plugin.card.source == source_key()
    assert plugin.card.sha256 == sha256_of(one_library)
    assert (plugin.card.target, plugin.card.embedded) == ("cpu", False)
    assert said == ["plans built with the plugin for the CPU: to run they need the plugin for CUDA"]


def test_auto_compiles_nothing(no_libraries):
    plugin, said = choose("auto")
    assert plugin is None
    assert "darnet-trt plugin build" in said[0]
    assert not no_libraries.exists()


def test_on_compiles_for_the_cpu_without_nvcc(no_libraries, monkeypatch):
    monkeypatch.setenv("CUDACXX", "/absent/nvcc")
    monkeypatch.setenv("CXX", "/absent/g++")
    said = []
    with pytest.raises(BuildError, match=r"/absent/g\+\+: no C\+\+ compiler"):
        choose_plugin("on", "tensorrt-rtx", ("sm89",), said.append)
    assert said == ["CUDACXX is not a program: /absent/nvcc: compiling the plugin for the CPU"]


def test_tensorrt_needs_a_cuda_library(one_library, monkeypatch):
    said = []
    assert choose_plugin("auto", "tensorrt", ("sm90",), said.append) is None
    assert "darnet-trt plugin build" in said[0]
    monkeypatch.setenv("CUDACXX", "/absent/nvcc")
    with pytest.raises(BuildError, match="not a program: /absent/nvcc"):
        choose_plugin("on", "tensorrt", ("sm90",), said.append)


def test_a_file_that_is_not_a_library_is_refused(one_library):
    one_library.write_text("not a library")
    plugin, said = choose("auto")
    assert plugin is None
    assert "without the plugin: the library cannot be loaded" in said[0]
    with pytest.raises(BuildError, match="--plugin off"):
        choose("on")


def test_an_untried_version_of_rtx_is_refused(one_library, monkeypatch):
    monkeypatch.setattr(plugin_choice, "_RTX_WITH_PLUGINS", "1.6")
    with pytest.raises(BuildError, match=r"TensorRT-RTX 1\.6, found 1\.7\.1"):
        choose("on")
    plugin, said = choose("auto")
    assert plugin is None
    assert "TensorRT-RTX 1.6, found 1.7.1" in said[0]


def test_a_cuda_library_without_code_for_a_target(one_library, monkeypatch):
    class Sm75:
        target = "cuda sm_75"

    monkeypatch.setattr(plugin_choice, "Library", lambda path: Sm75)
    with pytest.raises(BuildError, match=r"sm_75, not for sm89 .*--arch sm_89"):
        choose("on", "sm89")
