"""Each patient is held out once, each fold has each class, and a file gives the folds again."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darnet_trt.errors import UsageError
from darnet_trt.scan.cohorts import (
    PAPER_CLASSES,
    Cohort,
    Entry,
    make_folds,
    read_folds,
    write_folds,
)


def cohort_of(*counts, scans=1, seed=None, classes=PAPER_CLASSES):
    """A cohort with so many patients of each class."""
    patients = [
        (f"{label}-{number}", label)
        for label, count in zip(classes, counts, strict=True)
        for number in range(count)
    ]
    rows = [Entry(Path(f"{p}/{s}"), p, label) for p, label in patients for s in range(scans)]
    return Cohort(Path("cohort.csv"), tuple(rows), seed, classes)


@settings(max_examples=30)
@given(
    st.tuples(*[st.integers(7, 30)] * 3), st.integers(2, 5), st.floats(0, 0.3), st.integers(0, 99)
)
def test_each_patient_is_held_out_once(counts, count, test, seed):
    cohort = cohort_of(*counts, scans=2)
    folds = make_folds(cohort, count, test, seed)
    everyone = {entry.patient for entry in cohort.entries}
    assert sorted([*folds.test, *(p for fold in folds.folds for p in fold)]) == sorted(everyone)
    for label, patients in zip(PAPER_CLASSES, counts, strict=True):
        of = [sum(p.startswith(label) for p in fold) for fold in folds.folds]
        assert max(of) - min(of) <= 1
        assert min(of) >= 1
        apart = sum(p.startswith(label) for p in folds.test)
        assert apart == (max(1, round(test * patients)) if test else 0)
    sizes = [len(fold) for fold in folds.folds]
    assert max(sizes) - min(sizes) <= 1
    for number in range(count):
        sides = folds.sides(cohort, number)
        parts = [{e.patient for e in side} for side in (sides.train, sides.held_out, sides.test)]
        assert parts[1:] == [folds.folds[number], folds.test]
        assert set.union(*parts) == everyone
        assert sum(map(len, parts)) == len(everyone)


def test_folds_follow_the_seed_and_not_the_rows():
    cohort = cohort_of(20, 20, 20)
    turned = Cohort(cohort.table, cohort.entries[::-1], None)
    assert make_folds(cohort, seed=1) == make_folds(turned, seed=1)
    assert make_folds(cohort, seed=1) != make_folds(cohort, seed=2)


def test_a_patient_of_two_classes_is_in_one_fold():
    cohort = cohort_of(5, 5, 5)
    both = Entry(Path("a"), "normal-0", "covid-19")
    more = Cohort(cohort.table, (*cohort.entries, both), None)
    assert make_folds(more, 4).sides(more, 0)  # five normals, one of which counts as covid-19
    with pytest.raises(UsageError, match="normal has 4 patients for 5 folds"):
        make_folds(more, 5)


def test_patients_may_be_kept_apart_by_name():
    cohort = cohort_of(5, 5, 5)
    folds = make_folds(cohort, 4, frozenset({"normal-1", "covid-19-2"}))
    assert folds.test == {"normal-1", "covid-19-2"}
    with pytest.raises(UsageError, match="no patient 'normal-9'"):
        make_folds(cohort, 4, frozenset({"normal-9"}))
    phantoms = cohort_of(5, 5, 5, seed=0)
    assert make_folds(phantoms, 4, frozenset({"normal-1", "phantom 0 covid-19-2"})) == folds
    with pytest.raises(UsageError, match="no patient 'phantom 1 normal-1'"):
        make_folds(phantoms, 4, frozenset({"phantom 1 normal-1"}))


def test_a_class_whose_patients_count_for_another_is_no_absent_one():
    rows = (*cohort_of(5, 5, 0).entries, Entry(Path("z"), "covid-19-0", "normal"))
    with pytest.raises(UsageError, match=r"class normal counts for .* such as covid-19-0"):
        make_folds(Cohort(Path("cohort.csv"), rows, None), 2)


@pytest.mark.parametrize(
    ("cohort", "more", "fact"),
    [
        (cohort_of(5, 0, 5), {}, "common-pneumonia"),
        (cohort_of(1, 0, 0), {}, "common-pneumonia"),
        (cohort_of(5, 4, 5), {}, "4 patients for 5 folds"),
        (cohort_of(5, 5, 5), {"test": 0.2}, "4 patients for 5 folds"),
        (cohort_of(5, 5, 5), {"test": 1.0}, "--test"),
        (cohort_of(5, 5, 5), {"test": -0.1}, "--test"),
        (cohort_of(5, 5, 5), {"count": 1}, "--folds"),
    ],
)
def test_what_cannot_be_divided(cohort, more, fact):
    with pytest.raises(UsageError) as caught:
        make_folds(cohort, **more)
    assert fact in str(caught.value)


def test_a_cohort_takes_the_sides_of_a_fold_in_place_of_its_own():
    cohort = cohort_of(7, 7, 7, scans=2)
    own = tuple(replace(entry, side="train", fold=9) for entry in cohort.entries)
    folds = make_folds(cohort, 3, 0.2)
    sides = folds.sides(cohort, 1)
    placed = folds.placed(replace(cohort, entries=own), 1).entries
    for side, entries in (
        ("train", sides.train),
        ("held-out", sides.held_out),
        ("test", sides.test),
    ):
        scans = {entry.scan for entry in entries}
        assert {entry.scan for entry in placed if entry.side == side} == scans
    for entry in placed:
        held_out = [n for n, fold in enumerate(folds.folds) if entry.patient in fold]
        assert [entry.fold] == (held_out or [None])
    only_test = folds.placed(cohort, None).entries
    assert [entry.side for entry in only_test] == [
        "test" if entry.patient in folds.test else "" for entry in cohort.entries
    ]
    with pytest.raises(UsageError, match="no fold 3"):
        folds.placed(cohort, 3)


def test_no_such_fold():
    cohort = cohort_of(5, 5, 5)
    for number in (-1, 5):
        with pytest.raises(UsageError, match=f"no fold {number}"):
            make_folds(cohort).sides(cohort, number)


@pytest.mark.parametrize("seed", [None, 7])
@pytest.mark.parametrize("more", ["", "é,\udcff"])
def test_folds_are_read_as_they_were_written(tmp_path, seed, more):
    """Also those of patients whose folders have names that are not UTF-8."""
    cohort = cohort_of(6, 7, 8, seed=seed)
    entries = [replace(entry, patient=entry.patient + more) for entry in cohort.entries]
    cohort = replace(cohort, entries=tuple(entries))
    folds = make_folds(cohort, 3, 0.2)
    write_folds(folds, cohort, tmp_path / "folds.csv")
    assert read_folds(tmp_path / "folds.csv", cohort) == folds


def test_a_patient_without_a_fold_is_named(tmp_path):
    cohort = cohort_of(7, 7, 7)
    write_folds(make_folds(cohort, 2, 0.2), cohort, tmp_path / "folds.csv")
    text = (tmp_path / "folds.csv").read_text()
    (tmp_path / "folds.csv").write_text(text.replace(",test", ",TEST"))
    assert read_folds(tmp_path / "folds.csv", cohort).test
    (tmp_path / "folds.csv").write_text(text.replace(",1", ","))
    with pytest.raises(UsageError, match=r"the patient \S+ has no fold"):
        read_folds(tmp_path / "folds.csv", cohort)


def test_labels_may_be_written_in_any_case(tmp_path):
    cohort = cohort_of(7, 7, 7)
    folds = make_folds(cohort, 2)
    write_folds(folds, cohort, tmp_path / "folds.csv")
    other = (tmp_path / "folds.csv").read_text().replace(",normal,", ",NORMAL,")
    (tmp_path / "folds.csv").write_text(other)
    assert read_folds(tmp_path / "folds.csv", cohort) == folds


@pytest.mark.parametrize(
    ("other", "fact"),
    [
        (cohort_of(6, 7, 9), "lacks the patient normal-8"),
        (cohort_of(6, 7, 7), "has 'normal-7'"),
        (cohort_of(6, 7, 8, seed=1), "has 'covid-19-"),
    ],
)
def test_folds_of_another_cohort(tmp_path, other, fact):
    cohort = cohort_of(6, 7, 8)
    write_folds(make_folds(cohort), cohort, tmp_path / "folds.csv")
    with pytest.raises(UsageError, match=fact) as caught:
        read_folds(tmp_path / "folds.csv", other)
    assert "folds.csv" in str(caught.value)


def test_phantoms_of_another_seed_are_others(tmp_path):
    cohort = cohort_of(6, 7, 8, seed=1)
    write_folds(make_folds(cohort), cohort, tmp_path / "folds.csv")
    with pytest.raises(UsageError, match="phantom 1 covid-19-"):
        read_folds(tmp_path / "folds.csv", cohort_of(6, 7, 8, seed=2))


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("", "no file of folds"),
        ("scan,patient,label\n", "no file of folds"),
        ("patient,label,fold\na-0,a,0\nb-0,b,0\n", "folds are 0"),
        ("patient,label,fold\na-0,a,1\nb-0,b,2\n", "folds are 1, 2"),
        ("patient,label,fold\na-0,a,0\nb-0,b,x\n", "folds are 0, x"),
        ("patient,label,fold\na-0,a,0\nb-0,b,1\nb-0,b,0\n", "b-0 is in two folds"),
        ("patient,label,fold\na-0,b,0\nb-0,b,1\n", "label 'b'"),
        ("patient,label,fold\na-0,a,0\nb-0\n", "'b-0'"),
        (b"\xff\xfe", "cannot be read"),
    ],
)
def test_a_file_that_holds_no_folds(tmp_path, text, fact):
    file = tmp_path / "folds.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UsageError, match=fact) as caught:
        read_folds(file, cohort_of(1, 1, classes=("a", "b")))
    assert "folds.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_file_of_folds(tmp_path):
    with pytest.raises(UsageError, match="No such file"):
        read_folds(tmp_path / "folds.csv", cohort_of(1, 1, classes=("a", "b")))
