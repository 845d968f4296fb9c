"""A stand-in for the package `tensorrt`, which is installed only where its GPU is."""

import pytest


@pytest.fixture
def tensorrt(tmp_path, monkeypatch, request):
    """Install TensorRT-RTX, whose API it shares, as `tensorrt` of another version; return where."""
    folder = tmp_path / "packages"
    folder.mkdir()
    version = getattr(request, "param", "10.13.2")
    (folder / "tensorrt.py").write_text(f"from tensorrt_rtx import *\n__version__ = {version!r}\n")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.syspath_prepend(folder)  # so that it counts as installed
    return folder
