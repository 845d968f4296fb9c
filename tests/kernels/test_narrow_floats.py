"""cpu/narrow_floats.h, the CPU build's float16 and bfloat16, against numpy and ml_dtypes."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from darnet_trt.kernels.build import SOURCES

SOURCE = """
#include "cpu/narrow_floats.h"
extern "C" void to_half(const float* in, uint16_t* out, long n) {
    for (long i = 0; i < n; ++i) out[i] = __float2half_rn(in[i]).bits;
}
extern "C" void from_half(const uint16_t* in, float* out, long n) {
    for (long i = 0; i < n; ++i) out[i] = __half2float({in[i]});
}
extern "C" void to_bfloat16(const float* in, uint16_t* out, long n) {
    for (long i = 0; i < n; ++i) out[i] = __float2bfloat16_rn(in[i]).bits;
}
extern "C" void from_bfloat16(const uint16_t* in, float* out, long n) {
    for (long i = 0; i < n; ++i) out[i] = __bfloat162float({in[i]});
}
"""
TYPES = {"half": np.dtype(np.float16), "bfloat16": np.dtype(ml_dtypes.bfloat16)}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    compiler = shutil.which(os.environ.get("CXX") or "g++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    folder = tmp_path_factory.mktemp("narrow")
    (folder / "narrow.cpp").write_text(SOURCE)
    path: Path = folder / "narrow.so"
    flags = ("-std=c++17", "-O1", "-shared", "-fPIC", f"-I{SOURCES}")
    subprocess.run([compiler, *flags, folder / "narrow.cpp", "-o", path], check=True)
    return ctypes.CDLL(str(path))


def convert(function: object, values: np.ndarray, dtype: type) -> np.ndarray:
    out = np.empty(values.shape, dtype)
    pointers = (ctypes.c_void_p(v.ctypes.data) for v in (values, out))
    function(*pointers, ctypes.c_long(values.size))  # type: ignore[operator]
    return out


def same(got: np.ndarray, expected: np.ndarray) -> None:
    """Compare bit for bit; any two NaN are equal."""
    nan = np.isnan(expected)
    np.testing.assert_array_equal(np.isnan(got), nan)
    kind = f"u{got.itemsize}"
    np.testing.assert_array_equal(got[~nan].view(kind), expected[~nan].view(kind))


@pytest.mark.parametrize("name", TYPES)
def test_all_65536_values_convert_to_the_right_float(library: ctypes.CDLL, name: str) -> None:
    bits = np.arange(65536, dtype=np.uint16)
    got = convert(getattr(library, f"from_{name}"), bits, np.float32)
    same(got, bits.view(TYPES[name]).astype(np.float32))


@pytest.mark.parametrize("name", TYPES)
def test_floats_round_to_nearest_even(library: ctypes.CDLL, name: str) -> None:
    # Every value of the type, the middle of each two and of the last and what would follow it,
    # and the floats next to all of these.
    values = np.arange(65536, dtype=np.uint16).view(TYPES[name]).astype(np.float32)
    finite = np.sort(values[np.isfinite(values)]).astype(np.float64)
    middles = (finite[:-1] + finite[1:]) / 2
    end = finite[-1] + (finite[-1] - finite[-2]) / 2
    random = np.random.default_rng(0).integers(0, 2**32, 300_000, np.uint32).view(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        around = np.concatenate([values, middles, [end, -end]]).astype(np.float32)
        floats = np.concatenate(
            [around, np.nextafter(around, np.inf), np.nextafter(around, -np.inf), random]
        ).astype(np.float32)
        expected = floats.astype(TYPES[name])
    got = convert(getattr(library, f"to_{name}"), floats, np.uint16).view(TYPES[name])
    same(got, expected)
