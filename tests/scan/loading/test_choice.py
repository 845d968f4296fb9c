"""Which series of a study is classified, and why."""

import pytest

from darnet_trt.errors import RefusedScanError
from darnet_trt.scan import choose
from darnet_trt.scan.loading.choice import SHARP, SOFT, UNKNOWN, sharpness
from tests.scan.series_factory import chest, write_study


@pytest.mark.parametrize(
    ("kernel", "expected"),
    [
        ("B40f", SOFT), ("B70f", SHARP), ("Br38f\\3", SOFT), ("Bl57d", SHARP), ("I31f", SOFT),
        ("Br64d_3", SHARP), ("STANDARD", SOFT), ("STD+", SOFT), ("SOFT", SOFT), ("LUNG", SHARP),
        ("BONEPLUS", SHARP), ("EDGE", SHARP), ("B", SOFT), ("YB", SHARP), ("L", SHARP),
        ("FC08", SOFT), ("FC18", SOFT), ("FC52", SHARP), ("FC86", SHARP), ("B_SOFT_B", SOFT),
        ("B_SHARP_C", SHARP), ("", UNKNOWN), ("MYSTERY", UNKNOWN),
    ],
)  # fmt: skip
def test_vendors_names(kernel, expected):
    assert sharpness(kernel) == expected


@pytest.mark.parametrize(
    ("volumes", "attributes", "number", "why"),
    [
        (
            (chest(), chest(20)),
            {"ConvolutionKernel": ("LUNG", "STANDARD")},
            2,
            "soft kernel STANDARD preferred over sharp LUNG",
        ),
        ((chest(20), chest(24)), {}, 2, "most slices of 2 usable series (24, next 20)"),
        ((chest(), chest()), {}, 1, "lowest series number of 2 equally good series (1)"),
        (
            (chest(24), chest(20)),
            {"Modality": ("MR", "CT"), "ConvolutionKernel": ("SOFT", "LUNG")},
            2,
            "the only usable series of 2",
        ),
    ],
)
def test_soft_then_more_slices_then_lower_number(tmp_path, volumes, attributes, number, why):
    choice = choose(write_study(tmp_path, *volumes, **attributes))
    assert (choice.series.number, choice.why) == (number, why)


@pytest.mark.parametrize(
    ("modality", "facts"),
    [
        ("CR", ("2 of 3: a single slice", "1 of 3: a radiograph (modality CR)")),
        ("CT", ("all 3: a single slice",)),
    ],
)
def test_none_is_usable(tmp_path, modality, facts):
    found = write_study(tmp_path, *[chest(1)] * 3, Modality=("CT", "CT", modality))
    with pytest.raises(RefusedScanError) as caught:
        choose(found)
    assert all(fact in caught.value.what for fact in facts)
