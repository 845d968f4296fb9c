"""Whether a plan gets the plugin."""

import pytest

from darnet_trt.bundle.reading import sha256_of
from darnet_trt.errors import BuildError
from darnet_trt.export.tensorrt import plugin_choice
from darnet_trt.export.tensorrt.plugin_choice import choose_plugin
from darnet_trt.kernels.build import source_key
from darnet_trt.kernels.library import Library
from darnet_trt.machine.cache import cache_folder
from tests.export.tensorrt.cuda_library import cuda_library


@pytest.fixture(autouse=True)
def _needs_rtx():
    pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")


def choose(mode, *targets):
    """Return the plugin of all these targets, and what was said."""
    said, targets = [], targets or ("sm89",)
    plugins = choose_plugin(mode, "tensorrt-rtx", targets, said.append)
    assert list(plugins) in ([], list(targets))
    return plugins.get(targets[0]), said


@pytest.fixture
def a_cuda_library(no_libraries, cpu_library):
    """A cache with a library for CUDA alone."""
    return cuda_library(cpu_library, cache_folder("kernels"))


def test_off_builds_without_the_plugin(one_library):
    assert choose("off") == (None, [])


def test_auto_leaves_a_library_for_the_cpu(one_library):
    plugin, said = choose("auto", "sm75", "portable")
    assert plugin is None
    assert "darnet-trt plugin build" in said[0]


def test_on_takes_the_library_for_the_cpu_without_nvcc(one_library, monkeypatch):
    monkeypatch.setenv("CUDACXX", "/absent/nvcc")
    plugin, said = choose("on", "sm75", "portable")
    assert plugin.path == one_library
    assert plugin.card.source == source_key()
    assert plugin.card.sha256 == sha256_of(one_library)
    assert (plugin.card.target, plugin.card.embedded) == ("cpu", False)
    assert (plugin.card.cuda, Library(one_library).cuda) == (0, 0)
    assert "for the CPU" in said[0]
    assert "they need the plugin for CUDA" in said[-1]


def test_auto_takes_a_library_for_cuda(a_cuda_library):
    plugin, said = choose("auto", "sm89")
    assert plugin.path == a_cuda_library
    assert (plugin.card.target, plugin.card.cuda) == ("cuda sm_89", 13000)
    assert plugin.card.embedded
    assert said == []


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
    assert choose_plugin("auto", "tensorrt", ("sm90",), said.append) == {}
    assert "darnet-trt plugin build" in said[0]
    monkeypatch.setenv("CUDACXX", "/absent/nvcc")
    with pytest.raises(BuildError, match="not a program: /absent/nvcc"):
        choose_plugin("on", "tensorrt", ("sm90",), said.append)


def test_a_file_that_is_not_a_library_is_refused(a_cuda_library):
    a_cuda_library.write_text("not a library")
    plugin, said = choose("auto")
    assert plugin is None
    assert "without the plugin: the library cannot be loaded" in said[0]
    with pytest.raises(BuildError, match="--plugin off"):
        choose("on")


def test_an_untried_version_of_rtx_is_refused(a_cuda_library, monkeypatch):
    monkeypatch.setattr(plugin_choice, "_RTX_WITH_PLUGINS", "1.6")
    with pytest.raises(BuildError, match=r"TensorRT-RTX 1\.6, found 1\.7\.1"):
        choose("on")
    plugin, said = choose("auto")
    assert plugin is None
    assert "TensorRT-RTX 1.6, found 1.7.1" in said[0]


def test_a_cuda_library_without_code_for_a_target(a_cuda_library):
    with pytest.raises(BuildError, match=r"sm_89, not for sm75 .*--arch sm_75"):
        choose("on", "sm75")
    plugin, said = choose("auto", "sm75")
    assert plugin is None
    assert "--arch sm_75" in said[0]


def test_only_plans_that_it_has_no_code_for_go_without_it(a_cuda_library):
    said = []
    targets = ("sm75", "sm89", "portable")
    plugins = choose_plugin("auto", "tensorrt-rtx", targets, said.append)
    assert list(plugins) == ["sm89"]
    assert plugins["sm89"].path == a_cuda_library
    assert [line.split()[1] for line in said] == ["sm75", "portable"]
    # Where it is asked for, a portable plan takes it for the GPUs that it has code for.
    assert choose("on", "sm89", "portable")[0].path == a_cuda_library
