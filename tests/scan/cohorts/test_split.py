"""Patients are set aside whole, alike for each class."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darnet_trt.errors import UsageError
from darnet_trt.scan.cohorts import PAPER_CLASSES, Cohort, Entry, split_by_patient


def cohort(rows):
    """A cohort of real patients."""
    return Cohort(Path("cohort.csv"), tuple(rows), None)


def of_one_class(rows):
    return replace(cohort(rows), classes=("normal",))


def split(rows, share, seed):
    """The training and the held-out scans."""
    sides = split_by_patient(cohort(rows), share, seed)
    assert not sides.test
    return sides.train, sides.held_out


def test_a_class_that_is_kept_for_the_test_whole_is_named():
    rows = [
        Entry(Path(f"{label}{n}"), f"{label}{n}", label, side="test" if label == "normal" else "")
        for label in PAPER_CLASSES
        for n in range(3)
    ]
    with pytest.raises(UsageError, match="all scans of the class normal are on the side test"):
        split_by_patient(cohort(rows), 0.2, 0)


@st.composite
def entries(draw):
    """Cohorts with 2 to 12 patients of each class and 1 to 3 scans of each patient."""
    rows = []
    for label in PAPER_CLASSES:
        for number in range(draw(st.integers(2, 12))):
            patient = f"{label}-{number}"
            rows += [(patient, label)] * draw(st.integers(1, 3))
    rows = draw(st.permutations(rows))
    return tuple(Entry(Path(f"scan{i}"), *row) for i, row in enumerate(rows))


@given(entries(), st.floats(0.01, 0.5), st.integers(0, 100))
def test_split_never_leaks(rows, share, seed):
    train, held_out = split(rows, share, seed)
    assert sorted(train + held_out, key=rows.index) == list(rows)
    assert not {e.patient for e in train} & {e.patient for e in held_out}
    for label in PAPER_CLASSES:
        sides = [{e.patient for e in side if e.label == label} for side in (train, held_out)]
        assert all(sides)
        assert len(sides[1]) == max(1, round(share * sum(map(len, sides))))
    assert split(rows, share, seed) == (train, held_out)


@given(entries())
def test_a_share_of_0_holds_out_nothing(rows):
    assert split(rows, 0, 0) == (rows, ())


def test_split_follows_patients_not_the_order_of_rows():
    rows = patients(60, 3)
    _, held_out = split(rows, 0.2, 1)
    _, reverse = split(rows[::-1], 0.2, 1)
    assert {e.patient for e in held_out} == {e.patient for e in reverse}
    _, other = split(rows, 0.2, 2)
    assert {e.patient for e in held_out} != {e.patient for e in other}


def test_patient_with_two_labels_stays_on_one_side():
    rows = tuple(Entry(Path(f"s{i}"), f"p{i % 20}", PAPER_CLASSES[i % 3]) for i in range(60))
    train, held_out = split(rows, 0.3, 0)
    assert not {e.patient for e in train} & {e.patient for e in held_out}


def patients(count, labels):
    return tuple(Entry(Path(f"s{i}"), f"p{i}", PAPER_CLASSES[i % labels]) for i in range(count))


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
        split(rows, share, 0)


@pytest.mark.parametrize(
    ("sides", "fact"),
    [
        (("held-out",) * 9, "none is left to train on: all scans are on the side held-out"),
        (("test",) * 9, "none is left to train on: all scans are on the side test"),
        (("held-out", "test", "test") * 3, "all scans are on the side held-out or test"),
        (("train", "train", "held-out") * 3, "class normal are on the side held-out"),
    ],
)
@pytest.mark.parametrize("share", [0, 0.2])
def test_nothing_to_train_on_is_named_as_such(sides, fact, share):
    rows = [replace(row, side=side) for row, side in zip(patients(9, 3), sides, strict=True)]
    with pytest.raises(UsageError, match=fact):
        split_by_patient(cohort(rows), share, 0)


@pytest.mark.parametrize("others", ["train", "test"])
def test_who_is_to_train_is_not_held_out(others):
    rows = [replace(row, side="train") for row in patients(30, 3)]
    rows[:3] = [replace(row, side=others) for row in rows[:3]]
    sides = split_by_patient(cohort(rows), 0.2, 0)
    assert sides.held_out == ()
    assert {entry.side for entry in sides.train} == {"train"}
    assert len(sides.train) + len(sides.test) == 30
    with pytest.raises(UsageError, match="p29 is on no side, though others are on the side train"):
        split_by_patient(cohort([*rows[:-1], replace(rows[-1], side="")]), 0.2, 0)


def test_a_patient_of_all_classes():
    rows = [Entry(Path(f"s{i}"), "p", label) for i, label in enumerate(PAPER_CLASSES)]
    with pytest.raises(UsageError, match=r"class common-pneumonia counts .* such as p"):
        split_by_patient(cohort(rows), 0.2, 0)
    assert split_by_patient(cohort(rows), 0, 0).train == tuple(rows)


def test_the_table_may_name_the_sides():
    rows = [
        Entry(Path("a"), "1", "normal", side="train"),
        Entry(Path("b"), "2", "normal", side="held-out"),
        Entry(Path("c"), "3", "normal", side="test"),
    ]
    sides = split_by_patient(of_one_class(rows), 0.5, 0)
    assert (sides.train, sides.held_out, sides.test) == tuple((row,) for row in rows)
    for other, fact in (
        (Entry(Path("d"), "1", "normal", side="test"), "patient 1 is on two sides"),
        (Entry(Path("d"), "4", "normal"), "patient 4 is on no side"),
    ):
        with pytest.raises(UsageError, match=fact):
            split_by_patient(of_one_class([*rows, other]), 0.5, 0)


def test_a_test_side_alone_leaves_the_share_to_the_others():
    rows = patients(30, 3)
    named = [replace(row, side="test") if i < 12 else row for i, row in enumerate(rows)]
    sides = split_by_patient(cohort(named), 0.5, 0)
    assert len(sides.test) == 12
    assert len(sides.held_out) == len(sides.train) == 9
