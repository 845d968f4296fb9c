"""Passes through one range are separated, and nothing else is."""

import numpy as np
import pydicom
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from darnet_trt.scan import read_volume
from darnet_trt.scan.dicom.grouping.group import Group
from darnet_trt.scan.dicom.grouping.passes import split_passes
from tests.scan.dicom.grouping.headers import places, slice_at
from tests.scan.series_factory import chest, series_of, write_series


def split(*headers):
    """Return the places of the slices of each pass that is found."""
    groups = split_passes(Group(headers, None))
    assert all((group.notes == ()) == (len(groups) == 1) for group in groups)
    return sorted(places(group.headers) for group in groups)


def run(places_mm, start_s=0.0, every_s=0.5, *, down=False, by="AcquisitionTime", **values):
    """Return slices of one pass, each with the time at which it was made."""
    order = sorted(places_mm, reverse=down)
    return [
        slice_at(z, **{by: f"{100000 + start_s + i * every_s:013.3f}"}, **values)
        for i, z in enumerate(order)
    ]


FIRST, SECOND = np.arange(0, 240, 10.0).tolist(), np.arange(5, 245, 10.0).tolist()
TOLD_BY = [
    ("AcquisitionNumber", 1, 2), ("AcquisitionTime", "101500.1", "101730"),
    ("AcquisitionDate", "20200101", "20200102"), ("AcquisitionDateTime", "20200101", "20200102"),
    ("ContentTime", "101500", "101700"), ("TemporalPositionIdentifier", "1", "2"),
    ("IrradiationEventUID", "1.2", "1.3"), ("KVP", "80", "140"), ("TriggerTime", 300.0, 700.0),
    ("NominalPercentageOfCardiacPhase", "40.0", "70.0"), ("SliceThickness", 5.0, 10.0),
    ("ImageType", ("ORIGINAL", "PRIMARY", "AXIAL", "A"), ("ORIGINAL", "PRIMARY", "AXIAL", "B")),
    ("ContrastBolusAgent", None, "Iomeprol"), ("LossyImageCompression", "00", "01"),
]  # fmt: skip


@pytest.mark.parametrize(("attribute", "one", "other"), TOLD_BY)
@pytest.mark.parametrize(
    "second", [SECOND, FIRST, SECOND[:7], SECOND[5:15], [*SECOND[12:], 245, 255]]
)
def test_two_passes_are_told_apart_by_one_attribute(attribute, one, other, second):
    rest = {"AcquisitionTime": "101500"} if attribute == "AcquisitionDate" else {}
    slices = [slice_at(z, **rest, **{attribute: one}) for z in FIRST]
    slices += [slice_at(z, **rest, **{attribute: other}) for z in second]
    assert split(*slices) == sorted([FIRST, sorted(second)])


def test_two_passes_with_different_pixels_in_files(tmp_path):
    write_series(tmp_path / "a", AcquisitionNumber=1)
    for index, file in enumerate(write_series(tmp_path / "b", chest(seed=1), AcquisitionNumber=2)):
        dataset = pydicom.dcmread(file)
        dataset.ImagePositionPatient = [-190, -190, 10 * index + 5]
        dataset.save_as(file)
    series = series_of(tmp_path)
    assert [s.slices for s in series] == [24, 24]
    assert all(s.verdict.usable and s.spacing_mm[0] == 10 for s in series)
    assert {w.code for s in series for w in s.verdict.warnings} == {"shared-series-uid"}
    for seed, one in enumerate(sorted(series, key=lambda s: s.stack.origin_mm)):
        np.testing.assert_array_equal(read_volume(one).hu, chest(seed=seed))


def test_three_passes():
    slices = [
        slice_at(z + shift, AcquisitionNumber=number)
        for number, shift in ((1, 0), (2, 10 / 3), (3, 20 / 3))
        for z in FIRST
    ]
    assert [len(part) for part in split(*slices)] == [24, 24, 24]


def test_a_pass_with_missing_slices_is_still_one():
    slices = [slice_at(z, AcquisitionNumber=1) for z in FIRST if z not in (70, 80)]
    slices += [slice_at(z, AcquisitionNumber=2) for z in SECOND]
    assert [len(part) for part in split(*slices)] == [22, 24]


@pytest.mark.parametrize("by", ["AcquisitionTime", "AcquisitionDateTime", "ContentTime"])
@pytest.mark.parametrize("second", [SECOND, FIRST, SECOND[3:12]])
@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("back", [False, True])
def test_times_that_run_along_the_body_twice(by, second, down, back):
    slices = run(FIRST, by=by, down=down, AcquisitionNumber=1)
    slices += run(second, 60, by=by, down=down != back, AcquisitionNumber=1)
    assert split(*slices) == sorted([FIRST, second])


def test_slices_of_one_rotation_have_one_time():
    slices = [
        slice_at(z, AcquisitionTime=f"{101500 + minutes * 100 + z // 40:06.0f}")
        for minutes, part in enumerate((FIRST, SECOND))
        for z in part
    ]
    assert split(*slices) == sorted([FIRST, SECOND])


@pytest.mark.parametrize("second", [SECOND, FIRST])
def test_instance_numbers_that_run_along_the_body_twice(second):
    slices = [slice_at(z, InstanceNumber=i) for i, z in enumerate(FIRST + second)]
    assert split(*slices) == sorted([FIRST, second])


@pytest.mark.parametrize("shifts", [(0, 5), (0, 3), (0, 25), (0, 10 / 3, 20 / 3)])
def test_instance_numbers_that_occur_in_each_pass(shifts):
    passes = [[round(z + shift, 3) for z in FIRST] for shift in shifts]
    slices = [slice_at(z, InstanceNumber=i) for own in passes for i, z in enumerate(own)]
    assert split(*slices) == passes


@pytest.mark.parametrize("shifts", [(0, 3), (0, 10 / 3), (0, 1), (0, 2, 5), (0, 1, 2, 3)])
def test_alternating_steps_tell_of_passes(shifts):
    passes = [[round(z + shift, 3) for z in FIRST] for shift in shifts]
    slices = [slice_at(z) for own in passes for z in own]
    assert split(*slices) == passes


@pytest.mark.parametrize("gap", [slice(5, 6), slice(5, 7), slice(4, 8), slice(3, 20, 7)])
def test_missing_slices_tell_of_no_passes(gap):
    places_mm = [z for z in FIRST if z not in FIRST[gap]]
    assert split(*map(slice_at, places_mm)) == [places_mm]


def test_repeated_instance_numbers_at_the_same_places_tell_nothing():
    slices = [slice_at(z, InstanceNumber=i) for _ in range(2) for i, z in enumerate(FIRST)]
    assert split(*slices) == [sorted(FIRST + FIRST)]


def test_ten_phases_at_the_same_places():
    slices = [
        slice_at(z, NominalPercentageOfCardiacPhase=f"{phase}0.0", AcquisitionNumber=4)
        for phase in range(10)
        for z in FIRST
    ]
    assert split(*slices) == [FIRST] * 10


def test_two_contrast_phases_at_two_tube_voltages():
    slices = [
        slice_at(z, KVP=kvp, AcquisitionNumber=number)
        for kvp in ("80", "140")
        for number in (1, 2)
        for z in FIRST
    ]
    assert split(*slices) == [FIRST] * 4


def test_reconstructions_beside_each_other_in_the_plane():
    slices = [slice_at(z, ImagePositionPatient=(x, -190, z)) for x in (-190, -150) for z in FIRST]
    assert split(*slices) == [FIRST] * 2


@pytest.mark.parametrize(
    "values",
    [
        {"SliceThickness": [10.0] * 48},
        {"AcquisitionNumber": range(48)},
        {"AcquisitionNumber": [i // 8 for i in range(48)]},
        {"AcquisitionNumber": [1] * 24 + [2] * 24},
        {"AcquisitionNumber": [i % 2 for i in range(16)] + [2] * 32},
        {"SliceThickness": [2.5] * 30 + [5.0] * 18},
        {"InstanceNumber": np.random.default_rng(0).permutation(48).tolist()},
        {"InstanceNumber": [1] * 48},
        {"AcquisitionTime": [f"{100000 + (-i) % 48}" for i in range(48)]},  # one slice was first
        {"ContentTime": [f"10150{i}" for i in np.random.default_rng(0).integers(3, size=48)]},
        {"ImageType": [("ORIGINAL", "PRIMARY")] * 40 + [("ORIGINAL", "PRIMARY", "ADD")] * 8},
    ],
)
def test_one_scan_is_not_torn_apart(values):
    every = sorted(FIRST + SECOND)
    slices = [
        slice_at(z, **{name: own[index] for name, own in values.items()})
        for index, z in enumerate(every)
    ]
    assert split(*slices) == [every]


@given(
    count=st.integers(10, 60),
    step=st.floats(0.3, 10),
    times=st.lists(st.integers(0, 20), min_size=60, max_size=60).map(sorted),
    attribute=st.sampled_from(["AcquisitionTime", "ContentTime", "AcquisitionNumber", "KVP"]),
    down=st.booleans(),
)
def test_what_only_grows_along_the_body_tells_of_one_pass(count, step, times, attribute, down):
    every = [round(index * step, 3) for index in range(count)]
    values = times[:count][:: -1 if down else 1]
    slices = [slice_at(z, **{attribute: f"{t:06}"}) for z, t in zip(every, values, strict=True)]
    assert split(*slices) == [every]


@given(
    counts=st.tuples(st.integers(10, 60), st.integers(5, 60)),
    step=st.floats(0.5, 10),
    shift=st.floats(0, 0.8),
    start=st.integers(0, 4),
    down=st.booleans(),
    back=st.booleans(),
)
def test_any_two_passes_through_one_range(counts, step, shift, start, down, back):
    first, second = (
        [round((index + offset) * step, 3) for index in range(count)]
        for count, offset in zip(counts, (0, start + shift), strict=True)
    )
    one, other = run(first, down=down), run(second, 100, down=down != back)
    turn = abs(places(one[-1:])[0] - places(other[:1])[0])
    assume(not 0.7 * step < turn < 1.3 * step)  # else the first slice belongs to either
    assert split(*one, *other) == sorted([first, second])
