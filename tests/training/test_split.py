"""Patients are set aside whole, alike for each class."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darnet_trt.errors import UsageError
from darnet_trt.scan.cohorts import PAPER_CLASSES, Entry
from darnet_trt.training.split import split_by_patient


@st.composite
def entries(draw):
    """Cohorts with 2 to 12 patients of each class and 1 to 3 scans of each patient."""
    rows = []
    for label in PAPER_CLASSES:
        for number in range(draw(st.integers(2, 12))):
            patient = f"{label}-{number}"
            rows += [(patient, label)] * draw(st.integers(1, 3))
    rows = draw(st.permutations(rows))
    return tuple(Entry(f"scan{i}", *row) for i, row in enumerate(rows))


@given(entries(), st.floats(0.01, 0.5), st.integers(0, 100))
def test_split_never_leaks(rows, share, seed):
    train, held_out = split_by_patient(rows, share, seed)
    assert sorted(train + held_out, key=rows.index) == list(rows)
    assert not {e.patient for e in train} & {e.patient for e in held_out}
    for label in PAPER_CLASSES:
        sides = [{e.patient for e in side if e.label == label} for side in (train, held_out)]
        assert all(sides)
        assert len(sides[1]) == max(1, round(share * sum(map(len, sides))))
    assert split_by_patient(rows, share, seed) == (train, held_out)


@given(entries())
def test_a_share_of_0_holds_out_nothing(rows):
    assert split_by_patient(rows, 0, 0) == (rows, ())


def test_split_follows_patients_not_the_order_of_rows():
    rows = patients(60, 3)
    _, held_out = split_by_patient(rows, 0.2, 1)
    _, reverse = split_by_patient(rows[::-1], 0.2, 1)
    assert {e.patient for e in held_out} == {e.patient for e in reverse}
    _, other = split_by_patient(rows, 0.2, 2)
    assert {e.patient for e in held_out} != {e.patient for e in other}


def test_patient_with_two_labels_stays_on_one_side():
    rows = tuple(Entry(f"s{i}", f"p{i % 20}", PAPER_CLASSES[i % 3]) for i in range(60))
    train, held_out = split_by_patient(rows, 0.3, 0)
    assert not {e.patient for e in train} & {e.patient for e in held_out}


def patients(count, labels):
    return tuple(Entry(f"s{i}", f"p{i}", PAPER_CLASSES[i % labels]) for i in range(count))


@pytest.mark.parametrize(
    ("rows", "share", "fact"),
    [
        (patients(20, 2), 0.2, "normal"),  # which nobody has
        (patients(3, 3), 0.2, "covid-19"),  # only one patient
        ((), -0.1, "-0.1"),
        ((), 1.0, "1.0"),
    ],
)
def test_what_cannot_be_split(rows, share, fact):
    with pytest.raises(UsageError, match=fact):
        split_by_patient(rows, share, 0)
