"""Names of pictures: the scan, the slice's number, masks."""

from pathlib import Path

import pytest

from darnet_trt.scan.pictures.names import by_scan, is_mask_name, natural_key


def test_numbers_sort_as_numbers():
    names = ["10.png", "9.png", "1.png", "img2.png", "img11.png"]
    ordered = [path.name for path in sorted(map(Path, names), key=natural_key)]
    assert ordered == ["1.png", "9.png", "10.png", "img2.png", "img11.png"]


@pytest.mark.parametrize("odd", ["①", "²", "a²", "٣", "½"])
def test_digits_that_are_none_sort_as_letters(odd):
    assert len(sorted(map(Path, [f"{odd}/1.png", "a/2.png", "3/1.png"]), key=natural_key)) == 3


def scans(*names):
    found = by_scan(map(Path, names))
    return {scan.name: list(scan.numbers.values()) for scan in found}


def test_one_scan():
    assert scans("2.png", "10.png", "1.png") == {"": [1, 2, 10]}
    assert scans("IM-0001-0007.jpg", "IM-0001-0008.jpg") == {"IM-0001": [7, 8]}
    assert scans("slice_2_of_40.png", "slice_1_of_40.png") == {"slice_of_40": [1, 2]}


def test_a_folder_of_many_scans():
    names = [f"NCP_{scan}_000{n}.png" for scan in ("96_1328", "97_1330", "97_1331") for n in (7, 8)]
    assert scans(*names, "CP_1_2_0001.png", "CP_1_2_0002.png") == {
        "CP_1_2": [1, 2], "NCP_96_1328": [7, 8], "NCP_97_1330": [7, 8], "NCP_97_1331": [7, 8],
    }  # fmt: skip
    assert scans("a1.png", "a2.png", "b1.png", "b2.png") == {"a": [1, 2], "b": [1, 2]}
    assert scans("1_a.png", "2_a.png", "1_b.png", "2_b.png") == {"a": [1, 2], "b": [1, 2]}


def test_scans_never_share_a_name():
    assert scans("a_1.png", "a_2.png", "a-1.png") == {"a_#": [1, 2], "a-#": [1]}


def test_a_number_that_occurs_twice_stays_in_one_scan():
    assert scans("1.png", "01.png", "2.png") == {"": [1, 1, 2]}
    assert scans("1.png", "1.jpg") == {"": [1, 1]}


def test_two_numbers_that_change_with_every_picture_give_no_order():
    assert scans("1_20.png", "2_10.png", "3_40.png") == {"1": [None] * 3}


@pytest.mark.parametrize(
    ("name", "mask"),
    [("0001_mask.png", True), ("seg-3.png", True), ("Label 7.tif", True), ("lungmask_4.png", True),
     ("0001.png", False), ("segmented_1.png", False), ("unmasked1.png", False)],
)  # fmt: skip
def test_names_of_masks(name, mask):
    assert is_mask_name(Path(name)) is mask
