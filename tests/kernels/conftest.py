"""The kernels' library for the tests' own process, compiled once into the user's cache."""

import pytest

from darnet_trt.errors import BuildError
from darnet_trt.kernels.build import build_library
from darnet_trt.kernels.library import Library


@pytest.fixture(scope="session")
def on_cpu() -> Library:
    """The CPU build; skips where there is no g++ or cmake."""
    try:
        return Library(build_library("cpu"))
    except BuildError as error:
        if error.what.startswith("no "):
            pytest.skip(str(error))
        raise
