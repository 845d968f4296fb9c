"""Read the arrays of a bundle's .npz files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from darnet_trt.bundle.reading import REBUILD, Bundle, verified_file
from darnet_trt.errors import BundleError
from darnet_trt.machine.cache import DAMAGE

_T = TypeVar("_T")


def read_arrays(
    bundle: Bundle, name: str, make: Callable[[Mapping[str, npt.NDArray[Any]]], _T]
) -> _T:
    """Check a file and return what is made of its arrays.

    Args:
        bundle: The bundle.
        name: Of the file, as the manifest has it.
        make: Raises KeyError, TypeError or ValueError for other arrays than it needs.

    Raises:
        BundleError: The file is missing, altered, damaged, or holds other arrays.
    """
    file = verified_file(bundle, name)
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            return make(arrays)
    except (*DAMAGE, TypeError, AttributeError) as error:  # these two: it is no archive
        raise BundleError(
            f"cannot be read ({type(error).__name__})", where=file, do=REBUILD
        ) from error
