"""Patients are set aside whole, alike for each class."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darnet_trt.errors import UsageError
from darnet_trt.scan.cohort import CLASSES, Entry
from darnet_trt.training.split import split_by_patient


@st.composite
def entries(draw):
    """Cohorts with 2 to 12 patients of each class and 1 to 3 scans of each patient."""
    rows = []
    for label in CLASSES:
        for number in range(draw(st.integers(2, 12))):
            patient = f"{label}-{number}"
            rows += [(patient, label)] * draw(st.integers(1, 3))
    rows = draw(st.permutations(rows))
    return tuple(Entry(f"scan{i}", *row) for i, row in enumerate(rows))


@settings(deadline=None)
@given(entries(), st.floats(0.01, 0.5), st.integers(0, 100))
def test_split_never_leaks(rows, share, seed):
    train, held_out = split_by_patient(rows, share, seed)
    assert sorted(train + held_out, key=rows.index) == list(rows)
    assert not {e.patient for e in train} & {e.patient for e in held_out}
    for label in CLASSES:
        sides = [{e.patient for e in side if e.label == label} for side in (train, held_out)]
        assert all(sides)
        assert len(sides[1]) == max(1, round(share * sum(map(len, sides))))
    assert split_by_patient(rows, share, seed) == (train, held_out)


@given(entries())
def test_a_share_of_0_holds_out_nothing(rows):
    assert split_by_patient(rows, 0, 0) == (rows, ())


def test_split_follows_patients_not_the_order_of_rows():
    rows = tuple(Entry(f"s{i}", f"p{i}", CLASSES[i % 3]) for i in range(60))
    _, held_out = split_by_patient(rows, 0.2, 1)
    _, reverse = split_by_patient(rows[::-1], 0.2, 1)
    assert {e.patient for e in held_out} == {e.patient for e in reverse}
    _, other = split_by_patient(rows, 0.2, 2)
    assert {e.patient for e in held_out} != {e.patient for e in other}


def test_patient_with_two_labels_stays_on_one_side():
    rows = tuple(Entry(f"s{i}", f"p{i % 20}", CLASSES[i % 3]) for i in range(60))
    train, held_out = split_by_patient(rows, 0.3, 0)
    assert not {e.patient for e in train} & {e.patient for e in held_out}


def test_absent_class():
    rows = tuple(Entry(f"s{i}", f"p{i}", CLASSES[i % 2]) for i in range(20))
    with pytest.raises(UsageError, match="normal"):
        split_by_patient(rows, 0.2, 0)


def test_single_patient_of_a_class_cannot_be_held_out():
    rows = tuple(Entry(f"s{i}", f"p{i}", CLASSES[i]) for i in range(3))
    with pytest.raises(UsageError, match="covid-19"):
        split_by_patient(rows, 0.2, 0)


@pytest.mark.parametrize("share", [-0.1, 1.0, 3.0])
def test_a_share_outside_0_to_1_is_refused(share):
    with pytest.raises(UsageError, match=str(share)):
        split_by_patient((), share, 0)
