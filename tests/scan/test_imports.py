"""Importing the room costs little, and never pulls in what only training or one format needs."""

import subprocess
import sys


def test_heavy_packages_stay_out():
    heavy = ("torch", "SimpleITK", "nibabel", "imagecodecs", "pydicom", "PIL", "openvino")
    code = f"import sys, darnet_trt.scan; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
