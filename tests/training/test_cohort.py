"""The cohort's table, its split by patient, its inputs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darnet_trt.errors import UsageError
from darnet_trt.scan import Preprocessing
from darnet_trt.scan.phantom import CohortPlan, write_cohort
from darnet_trt.training.cohort import Entry, prepare, read_cohort, split_by_patient
from darnet_trt.training.model import CLASSES

SPEC = Preprocessing(size=(8, 16, 16))


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
def test_nothing_is_held_out_when_not_asked(rows):
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
    with pytest.raises(UsageError, match="no patient has the label normal"):
        split_by_patient(rows, 0.2, 0)


def test_single_patient_of_a_class_cannot_be_held_out():
    rows = tuple(Entry(f"s{i}", f"p{i}", CLASSES[i]) for i in range(3))
    with pytest.raises(UsageError, match="too few"):
        split_by_patient(rows, 0.2, 0)


@pytest.mark.parametrize("share", [-0.1, 1.0, 3.0])
def test_impossible_share(share):
    with pytest.raises(UsageError, match="held-out share"):
        split_by_patient((), share, 0)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("scan,label\na,normal\n", "no column patient"),
        ("", "no column scan, patient, label"),
        ("scan,patient,label\n", "names no scan"),
        ("scan,patient,label\na,1,flu\n", "line 2: no class is called 'flu'"),
        ("scan,patient,label\na,,normal\n", "line 2 has an empty field"),
        ("scan,patient,label\na\n", "line 2 has an empty field"),
        ("scan,patient,label\na,1,normal\na,2,normal\n", "occurs twice"),
        (b"\xff\xfe\x00broken", "cannot be read"),
    ],
)
def test_bad_tables(tmp_path, text, reason):
    table = tmp_path / "cohort.csv"
    table.write_bytes(text if isinstance(text, bytes) else text.encode())
    for path in (table, tmp_path):
        with pytest.raises(UsageError, match=reason) as caught:
            read_cohort(path)
        assert "cohort.csv" in str(caught.value)


def test_absent_table(tmp_path):
    with pytest.raises(UsageError, match="no cohort table"):
        read_cohort(tmp_path)


def test_table_of_a_spreadsheet(tmp_path):
    (tmp_path / "cohort.csv").write_text(
        "\ufefflabel,scan,patient,age\r\nnormal, a ,7,50\r\n", encoding="utf-8"
    )
    cohort = read_cohort(tmp_path)
    assert cohort.entries == (Entry(tmp_path / "a", "7", "normal"),)
    assert cohort.describe(cohort.entries).startswith("1 scans of 1 patients of the cohort")


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    out = tmp_path_factory.mktemp("phantoms") / "cohort"
    plan = CohortPlan(scans=4, seed=7, format="nifti", matrix=48, slices=(30, 30))
    write_cohort(plan, out, processes=1)
    return out


def test_synthetic_cohort_says_so(phantoms):
    cohort = read_cohort(phantoms)
    assert cohort.describe(cohort.entries) == (
        "4 synthetic phantoms (darnet-trt phantom, seed 7); not real patients"
    )


def test_inputs_are_kept_and_found_again(phantoms, tmp_path):
    entries = read_cohort(phantoms).entries
    done = []
    examples, failures = prepare(entries, SPEC, tmp_path / "inputs", done=done.append)
    assert sum(done) == 4
    assert not failures
    assert [e.entry for e in examples] == list(entries)
    array = examples[0].load()
    assert array.dtype == np.float32
    assert array.shape == (1, 8, 16, 16)
    assert array.min() >= 0
    assert array.max() <= 1
    stamps = {e.file: e.file.stat().st_mtime_ns for e in examples}
    again, _ = prepare(entries, SPEC, tmp_path / "inputs")
    assert again == examples
    assert {e.file: e.file.stat().st_mtime_ns for e in again} == stamps
    other, _ = prepare(entries, Preprocessing(size=(8, 16, 18)), tmp_path / "inputs")
    assert not {e.file for e in other} & {e.file for e in examples}


def test_unusable_scans_are_reported_and_left_out(phantoms, tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    good = read_cohort(phantoms).entries[0]
    bad = (
        Entry(tmp_path / "notes.txt", "8", "normal"),
        Entry(tmp_path / "nowhere", "9", "normal"),
    )
    examples, failures = prepare((bad[0], good, bad[1]), SPEC, tmp_path / "inputs")
    assert [e.entry for e in examples] == [good]
    assert [f.entry for f in failures] == list(bad)
    assert all("\n" not in f.reason and f.reason for f in failures)
    assert "notes.txt" in failures[0].reason
