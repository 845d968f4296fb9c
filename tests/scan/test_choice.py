"""Which series of a study is classified, and why."""

import pytest
from pydicom.uid import generate_uid

from darnet_trt.errors import RefusedScanError
from darnet_trt.scan import choose, find_studies
from darnet_trt.scan.choice import SHARP, SOFT, UNKNOWN, sharpness
from tests.scan.series_factory import chest, write_series


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


def study(tmp_path, *series):
    for number, (hu, attributes) in enumerate(series, 1):
        write_series(
            tmp_path / str(number),
            hu,
            **{"SeriesInstanceUID": generate_uid(), "SeriesNumber": number, **attributes},
        )
    (found,) = find_studies(tmp_path)
    return found


def test_soft_before_sharp(tmp_path):
    found = study(
        tmp_path,
        (chest(), {"ConvolutionKernel": "LUNG"}),
        (chest(20), {"ConvolutionKernel": "STANDARD"}),
    )
    choice = choose(found)
    assert choice.series.number == 2
    assert choice.why == "soft kernel STANDARD preferred over sharp LUNG"


def test_more_slices_then_lower_number(tmp_path):
    choice = choose(study(tmp_path / "a", (chest(20), {}), (chest(24), {})))
    assert (choice.series.number, choice.why) == (
        2, "most slices of 2 usable series (24, next 20)",
    )  # fmt: skip
    choice = choose(study(tmp_path / "b", (chest(), {}), (chest(), {})))
    assert (choice.series.number, choice.why) == (
        1, "lowest series number of 2 equally good series (1)",
    )  # fmt: skip


def test_usable_before_everything(tmp_path):
    choice = choose(
        study(
            tmp_path,
            (chest(24), {"Modality": "MR", "ConvolutionKernel": "SOFT"}),
            (chest(20), {"ConvolutionKernel": "LUNG"}),
        )
    )
    assert (choice.series.number, choice.why) == (2, "the only usable series of 2")


def test_none_is_usable(tmp_path):
    found = study(tmp_path, (chest(1), {}), (chest(1), {}), (chest(), {"Modality": "CR"}))
    with pytest.raises(RefusedScanError) as caught:
        choose(found)
    for fact in ("2 of 3: a single slice", "1 of 3: a radiograph (modality CR)"):
        assert fact in caught.value.what


def test_none_is_usable_for_the_same_reason(tmp_path):
    with pytest.raises(RefusedScanError, match="all 2: a single slice"):
        choose(study(tmp_path, (chest(1), {}), (chest(1), {})))


@pytest.mark.data
def test_the_real_study(data_dir):
    (found,) = find_studies(data_dir / "chest-8mm")
    choice = choose(found)
    assert choice.series.kernel == "B40f"
    assert choice.why == "soft kernel B40f preferred over sharp B70f"
