"""The names that `import darnet_trt` offers: one sorted list, loaded on first use."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import darnet_trt


def names_that_types_see():
    """The names under `if TYPE_CHECKING`, which editors and mypy read."""
    tree = ast.parse(Path(darnet_trt.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    return [alias.name for node in block.body for alias in node.names]


def test_public_names_are_sorted_and_seen_by_types():
    assert darnet_trt.__all__ == sorted(set(darnet_trt.__all__))
    assert sorted(names_that_types_see()) == darnet_trt.__all__


def python(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize("name", darnet_trt.__all__)
def test_every_public_name_loads(name):
    assert getattr(darnet_trt, name).__name__ == name
    assert name in dir(darnet_trt)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nope"):
        darnet_trt.nope  # noqa: B018


def test_importing_it_loads_nothing_else():
    code = "import sys, darnet_trt; print([m for m in sys.modules if m[:4] in ('darn', 'nump')])"
    assert python(code) == "['darnet_trt']\n"


def test_no_name_loads_torch():
    assert (
        python("from darnet_trt import *; import sys; print('torch' in sys.modules)") == "False\n"
    )


def test_paths_may_be_text(tiny, phantom_series):
    bundle = darnet_trt.open_bundle(str(tiny))
    series = darnet_trt.choose(darnet_trt.find_studies(str(phantom_series))[0]).series
    loaded = darnet_trt.load_input(series, bundle.manifest.preprocessing)
    assert loaded.array.shape == (1, *bundle.manifest.preprocessing.size)
    for scans in (str(phantom_series), [str(phantom_series)], phantom_series):
        (result,) = darnet_trt.predict(bundle, scans)
        assert (result.scan, result.status) == (phantom_series.name, "ok")
