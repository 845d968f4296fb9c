"""`darnet-trt cohort` as a user sees it."""

import csv

import pytest

from darnet_trt.scan.cohorts import make_folds, read_cohort, read_folds


def write_table(folder, patients=6, more=()):
    """A cohort whose scans are not there: folds need none."""
    rows = [
        (f"{label}{number}/{scan}.nii.gz", f"{label}{number}", label)
        for label in ("ncp", "cp", "normal")
        for number in range(patients)
        for scan in range(2)
    ]
    lines = ["scan,patient,label", *map(",".join, rows), *more]
    folder.mkdir(exist_ok=True)
    (folder / "cohort.csv").write_text("\n".join(lines))
    return folder


def test_folds_are_written_and_shown(tmp_path, command):
    cohort = write_table(tmp_path / "c", more=["x.nii.gz,cp0,normal"])
    words = ("cohort", "folds", cohort, "-o", tmp_path / "f.csv", "--folds", 3, "--seed", 4)
    done = command(*words, "--test", 0.3)
    assert done.returncode == 0, done.stderr
    read = read_cohort(cohort)
    folds = read_folds(tmp_path / "f.csv", read)
    assert folds == make_folds(read, 3, 0.3, 4)
    assert len(folds.test) == 6
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["test", "2", "2", "2", "6"] in rows
    assert "cp0" in done.stderr
    assert str(tmp_path / "f.csv") in done.stdout
    again = command(*words)
    assert again.returncode == 2
    assert again.stderr.startswith(f"darnet-trt: {tmp_path / 'f.csv'}: exists already")


def test_the_test_cohort_by_name(tmp_path, command):
    cohort = write_table(tmp_path / "c")
    (tmp_path / "names.txt").write_text("\ufeffncp1\n\n  cp2 \r\n", "utf-8")
    words = ("cohort", "folds", cohort, "-o", tmp_path / "f.csv")
    done = command(*words, "--test", tmp_path / "names.txt")
    assert done.returncode == 0, done.stderr
    assert read_folds(tmp_path / "f.csv", read_cohort(cohort)).test == {"ncp1", "cp2"}


def test_the_table_may_name_folds_and_test(tmp_path, command):
    rows = [
        (f"{label}{number}", label, "test" if number == 3 else "", "" if number == 3 else number)
        for label in ("ncp", "cp", "normal")
        for number in range(4)
    ]
    table = tmp_path / "my.csv"
    with table.open("w", newline="") as file:
        lines = [(f"{row[0]}.nii.gz", *row) for row in rows]
        csv.writer(file).writerows([("scan", "patient", "label", "side", "fold"), *lines])
    done = command("cohort", "folds", table, "-o", tmp_path / "f.csv")
    assert done.returncode == 0, done.stderr
    folds = read_folds(tmp_path / "f.csv", read_cohort(table))
    assert folds.test == {"ncp3", "cp3", "normal3"}
    assert [sorted(fold) for fold in folds.folds] == [
        [f"cp{number}", f"ncp{number}", f"normal{number}"] for number in range(3)
    ]
    done = command("cohort", "folds", table, "-o", tmp_path / "g.csv", "--seed", 1)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "names its folds itself" in done.stderr
    text = table.read_text()
    for wrong, fact in (
        (text.replace("ncp3,ncp,test,", "ncp3,ncp,,"), "patient ncp3 is in no fold"),
        (text + "x,ncp1,ncp,,2\n", "patient ncp1 is in two folds"),
        (text.replace(",0\n", ",3\n").replace(",0\r", ",3\r"), "folds are 1, 2, 3"),
    ):
        table.write_text(wrong)
        done = command("cohort", "folds", table, "-o", tmp_path / "g.csv")
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert fact in done.stderr
    assert not (tmp_path / "g.csv").exists()


@pytest.mark.parametrize(
    ("words", "fact"),
    [
        (("--folds", 7), "6 patients for 7 folds"),
        (("--folds", 0), "--folds"),
        (("--test", "nowhere.txt"), "'nowhere.txt' is neither a share nor a file"),
        (("--test", "a\0b"), "--test"),
        (("--test", "empty.txt"), "empty.txt names no patient"),
        (("--test", "binary.txt"), "file that can be read (no text)"),
        (("--test", "title.txt"), "one a line without a title"),
        (("--test", "all.txt"), "all patients of the class covid-19 are kept for the test"),
        (("--test", "nan"), "--test"),
        (("--test", "1.5"), "--test"),
        (("--classes", "ncp"), "--classes"),
        (("--classes", "ncp,cp"), "unknown class 'normal'"),
        (("--classes", "ncp,cp,normal,flu"), "no patient has the label flu"),
    ],
)
def test_what_cannot_be_divided(tmp_path, command, monkeypatch, words, fact):
    monkeypatch.chdir(tmp_path)
    contents = {"empty": b"\n \n", "binary": b"\x89\xff", "title": b"patient\nncp1\n"}
    contents["all"] = "".join(f"ncp{number}\n" for number in range(6)).encode()
    for name, content in contents.items():
        (tmp_path / f"{name}.txt").write_bytes(content)
    cohort = write_table(tmp_path / "c")
    done = command("cohort", "folds", cohort, "-o", tmp_path / "f.csv", *words)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert fact in done.stderr
    assert not (tmp_path / "f.csv").exists()


def test_folds_that_cannot_be_written(tmp_path, command):
    cohort = write_table(tmp_path / "c")
    done = command("cohort", "folds", cohort, "-o", "/proc/no/f.csv")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "/proc/no" in done.stderr
