"""Find what trained the weights, by patient and by slices."""

from pathlib import Path

import numpy as np
import pytest

from darnet_trt.evaluation.seen import Identity, KnownScans, TrainingScans, identity
from darnet_trt.scan.cohorts import Cohort


def scan(patient, patient_id, *slices):
    return Identity(patient, patient_id, frozenset(slices))


SEEN = TrainingScans.of([scan("A", "17", 1, 2, 3, 4), scan("B", "", 5, 6, 7)])


@pytest.mark.parametrize(
    ("candidate", "had"),
    [
        (scan("A", "", 90, 91), True),
        (scan("C", "17", 90, 91), True),
        (scan("17", "", 90), True),  # another table may name patients by their PatientID
        (scan("C", "18", 3, 90, 4), True),
        (scan("C", "18", 4, 5, 90), False),  # one slice of each of two
        (scan("C", "", 7), False),
        (scan("", "", 90, 91), False),
    ],
)
def test_a_patient_or_two_slices_tell(candidate, had):
    assert SEEN.had(candidate) is had


def test_a_patient_id_of_many_patients_names_nobody():
    many = [scan(name, "ANON", number, number + 10) for number, name in enumerate("ABCD")]
    seen = TrainingScans.of([*many, scan("A", "7")])
    assert not seen.had(scan("E", "ANON", 80, 90))
    assert seen.had(scan("E", "7", 80, 90))


@pytest.mark.parametrize("names", ["A", "AB", "ABC"])
def test_a_patient_whom_the_table_splits_is_found_by_the_patient_id(names):
    seen = TrainingScans.of([scan(name, "17", ord(name)) for name in names])
    assert seen.had(scan("another name", "17", 80, 90))
    assert not seen.had(scan("another name", "18", 80, 90))


def test_the_hashes_do_not_show_names_and_differ_by_salt():
    first, second = (TrainingScans.of([scan("A", "17", 1, 2)]) for _ in range(2))
    assert len(first.patients) == 2
    assert not first.patients & second.patients
    assert first.scans == second.scans


def test_patients_of_synthetic_cohorts_are_told_apart_by_the_seed():
    cohorts = [Cohort(Path("cohort.csv"), (), seed) for seed in (1, 2)]
    first, second = (
        identity(cohort, "P0001", "P0001", [seed]) for seed, cohort in enumerate(cohorts)
    )
    seen = TrainingScans.of([first])
    assert seen.had(first)
    assert not seen.had(second)
    assert not seen.had(identity(None, "", "P0001", [3]))


@pytest.mark.parametrize("names", ["", "A", "AB"])
def test_what_is_written_is_read_again(names):
    seen = TrainingScans.of([scan(name, "", *range(index)) for index, name in enumerate(names)])
    assert TrainingScans.unpacked(seen.packed()) == seen


@pytest.mark.parametrize("counts", [[2], [4], [3, 1], [4, -1], []])
def test_damaged_counts_are_noticed(counts):
    packed = TrainingScans.of([scan("A", "", 1, 2, 3)]).packed()
    with pytest.raises(ValueError, match="slices"):
        TrainingScans.unpacked(packed | {"slices_of_scan": np.array(counts, np.int64)})


def test_known_scans_give_the_number_of_the_one_that_shares_most():
    known = KnownScans()
    assert [known.add(one) for one in ([1, 2, 3], [3, 4, 5], [])] == [0, 1, 2]
    assert known.find([2, 3, 4, 5]) == 1
    assert known.find([1, 5]) is None
    assert known.find([]) is None
