"""Run problems of odd shapes in the library named on the command line; for test_sanitizers.py.

Every array ends where its memory ends, so that an access beyond it is seen.
"""

import sys
from pathlib import Path

from darnet_trt.kernels.library import Library
from tests.kernels.attention_cases import make_case

SHAPES = [
    (1, 1, 1, 1, 1),
    (2, 1, 3, 5, 8),
    (1, 3, 13, 11, 24),
    (2, 5, 3, 7, 33),
    (1, 8, 3, 5, 512),
    (1, 2, 1, 1, 513),
    (1, 16, 1, 2, 1024),
]
KINDS = [
    {},
    {"attention": "channel", "has_residual": False},
    {"attention": "depth", "weights": "float16", "x": "int8"},
    {"weights": "float16", "residual": "int8", "y": "int8"},
    {"weights": "bfloat16", "x": "int8", "residual": "int8", "y": "int8"},
]


def main() -> None:
    library = Library(Path(sys.argv[1]))
    for shape in SHAPES:
        for kind in KINDS:
            case = make_case(shape, **kind)
            case.check(case.run(library))
    print(f"{len(SHAPES) * len(KINDS)} problems")


if __name__ == "__main__":
    main()
