"""The folders of CC-CCII, as they are downloaded and with the corrections of its cleaned form."""

import shutil

import pytest

from darnet_trt.errors import UsageError
from darnet_trt.phantom import CohortPlan, write_cohort
from darnet_trt.scan.cohorts import Entry, is_cohort, make_folds, read_cohort, study_of
from tests.scan.cohorts.layouts import corrections, write_csv, write_raw, write_scan

ARCHIVES = "zip_file,label,patient_id,scan_id,n_slice"


def test_the_folders_are_the_labels(tmp_path):
    write_raw(tmp_path, names=("ncp", "CP", "NORMAL"))
    write_scan(tmp_path / "ct_lesion_seg" / "mask" / "0")
    write_scan(tmp_path / ".cache" / "x" / "y")
    (tmp_path / "CP" / "Thumbs.db").write_bytes(b"")
    for name in ("lesions_slices.csv", "metadata.csv"):
        write_csv(tmp_path / name, "imgpath")
    cohort = read_cohort(tmp_path)
    assert cohort.table == cohort.root == tmp_path
    assert cohort.notes == ()
    assert len(cohort.entries) == 12
    assert cohort.entries[0] == Entry(tmp_path / "CP/3/1030", "3", "common-pneumonia")
    assert {e.label: e.patient for e in cohort.entries} == {
        "covid-19": "2",
        "common-pneumonia": "4",
        "normal": "6",
    }
    assert cohort.name(cohort.entries[0]) == "CP/3/1030"
    assert len(make_folds(cohort, 2).folds) == 2
    assert "12 scans of 6 patients" in cohort.describe(cohort.entries)


def test_other_classes(tmp_path):
    write_raw(tmp_path, names=("b", "a", "d", "C"))
    assert read_cohort(tmp_path, ("d", "c", "b", "a")).classes == ("d", "c", "b", "a")
    assert read_cohort(tmp_path, ()).classes == ("C", "a", "b", "d")
    with pytest.raises(UsageError, match="no cohort table"):
        read_cohort(tmp_path)


def test_a_folder_whose_name_is_no_class(tmp_path):
    write_raw(tmp_path, names=("NCP", "CP", "Nornal"))
    with pytest.raises(UsageError, match="name is no class") as caught:
        read_cohort(tmp_path)
    assert caught.value.where == str(tmp_path / "Nornal")
    shutil.rmtree(tmp_path / "Nornal")
    (tmp_path / "Normal").mkdir()
    with pytest.raises(UsageError, match="no patient has the label normal"):
        make_folds(read_cohort(tmp_path), 2)


def test_folders_without_a_scan(tmp_path):
    for name in ("NCP", "CP", "Normal"):
        (tmp_path / name / "1").mkdir(parents=True)
    with pytest.raises(UsageError, match="no cohort table"):
        read_cohort(tmp_path)


def test_what_the_download_lacks_is_said(tmp_path):
    write_raw(tmp_path)
    rows = [("NCP-1.zip", "NCP", 1, 1010, 4), ("NCP-1.zip", "NCP", 1, 1011, 5)]
    rows += [("NCP-1.zip", "NCP", 9, 1090, 40), ("CP-1.zip", "CP", 9, 1091, 40)]
    write_csv(tmp_path / "unzip_filenames.csv", ARCHIVES, *rows, rows[-1])
    missing, short = read_cohort(tmp_path).notes
    assert missing.startswith("2 scans are missing")
    assert missing.endswith("NCP/9/1090")
    assert short.startswith("1 scan is short of slices")
    assert short.endswith("NCP/1/1011")


def test_slices_are_put_right(tmp_path):
    write_raw(tmp_path)
    shutil.rmtree(tmp_path / "NCP")
    for scan in range(1, 9):
        write_scan(tmp_path / "NCP" / "7" / str(scan), range(3, 13))
    write_scan(tmp_path / "NCP" / "7" / "9", (3, 4, 6), ".jpg")
    corrections(
        tmp_path,
        ("NCP", 7, 1, 0, 0, "", "reverse"),
        ("NCP", 7, 2, 1, 0, "", "9-12+3-8"),
        ("NCP", 7, 3, 0, 1, "0-4;7;11-999999999", ""),
        ("NCP", 7, 4, 0, 1, "8", "12+3-5+8+4-6"),
        ("NCP", 7, 5, 0, 1, "discard", ""),
        ("NCP", 7, 6, 0, 1, "0-400", ""),
        ("NCP", 7, 7, 0, 0, "", "4-6"),
        ("NCP", 7, 9, 0, 0, "", ""),
        ("NCP", 7, 99, 0, 0, "", "reverse"),
    )
    cohort = read_cohort(tmp_path)
    of = {int(e.scan.name): e.slices for e in cohort.entries if e.label == "covid-19"}
    numbers = {scan: [int(name[:4]) for name in names] for scan, names in of.items()}
    assert numbers == {
        1: [*range(12, 2, -1)],
        2: [9, 10, 11, 12, 3, 4, 5, 6, 7, 8],
        3: [5, 6, 8, 9, 10],
        4: [12, 3, 4, 5, 6],
        7: [4, 5, 6],
        8: [],
        9: [],
    }
    assert cohort.notes == (
        "2 scans are left out: of no use, by CT_cleaned_v2.csv",
        "9 scans are not in CT_cleaned_v2.csv, such as CP/3/1030",
        "1 line of CT_cleaned_v2.csv not used: no such scan is here, such as NCP/7/99",
    )


@pytest.mark.parametrize("folder", ["NCP", "ncp", "covid_19", "COVID-19", "covid"])
@pytest.mark.parametrize("classes", [None, ()])
def test_corrections_hold_whatever_the_class_is_called(tmp_path, folder, classes):
    write_raw(tmp_path, names=(folder, "Pneumonia", "Normal"))
    corrections(
        tmp_path, ("NCP", 1, 1010, 0, 0, "", "reverse"), ("CP", 3, 1030, 0, 0, "", "2-3+0-1")
    )
    write_csv(
        tmp_path / "unzip_filenames.csv",
        ARCHIVES,
        ("NCP-1.zip", "NCP", 1, 1010, 4),
        ("CP-1.zip", "CP", 3, 1031, 5),
    )
    cohort = read_cohort(tmp_path, classes)
    ordered = {e.scan.name: [int(name[:4]) for name in e.slices] for e in cohort.entries}
    assert ordered["1010"] == [3, 2, 1, 0]
    assert ordered["1030"] == [2, 3, 0, 1]
    (short,) = [note for note in cohort.notes if "unzip_filenames.csv" in note]
    assert short.startswith("1 scan is short of slices")
    assert short.endswith("Pneumonia/3/1031")


@pytest.mark.parametrize(
    ("row", "gone"),
    [
        ((0, "", "reverse"), 15),
        ((0, "", "20-29+0-19"), 10),
        ((0, "", "20-29+0-9+10-19"), 21),
        ((0, "", "20-29+0-19"), 0),  # the first and the last file meet in the middle
        ((0, "", "20-29+0-19"), 29),
        ((0, "", "20-30+0-19"), 30),
        ((1, "3;5-9", ""), 4),
        ((1, "3;5-9", "reverse"), 10),
    ],
)
def test_a_scan_with_a_missing_slice_that_the_row_does_not_explain_is_left_out(tmp_path, row, gone):
    write_raw(tmp_path, names=("CP", "Normal"))
    scan = tmp_path / "NCP" / "7" / "1"
    write_scan(scan, range(30))
    corrections(tmp_path, ("NCP", 7, 1, 0, *row))
    if (file := scan / f"{gone:04d}.png").exists():
        assert scan in [entry.scan for entry in read_cohort(tmp_path).entries]
        file.unlink()
    cohort = read_cohort(tmp_path)
    assert scan not in [entry.scan for entry in cohort.entries]
    assert any(note.endswith(f"such as in NCP/7/1 (slice {gone})") for note in cohort.notes)


def test_a_missing_slice_of_a_row_without_a_correction_is_refused(tmp_path):
    plan = CohortPlan(scans=1, format="cc-ccii", matrix=48, slices=(30, 30))
    write_cohort(plan, tmp_path / "c", processes=1)
    (entry,) = read_cohort(tmp_path / "c", ()).entries
    corrections(tmp_path / "c", (*entry.scan.relative_to(tmp_path / "c").parts, 0, 0, "", ""))
    (entry.scan / "0015.png").unlink()
    (after,) = read_cohort(tmp_path / "c", ()).entries
    verdict = study_of(after).series[0].verdict
    assert verdict.reason.code == "missing-numbers"
    assert not verdict.usable


@pytest.mark.parametrize(
    ("row", "gone"),
    [
        ((1, "3;5-9", ""), (3, 6, 7)),
        ((1, "0-5;6-9", "reverse"), range(10)),
        ((1, "4-9", "15-29+0-14"), range(4, 10)),
        ((0, "", "20-29+0-9"), range(10, 20)),
        ((1, "11-999999999", "0-10"), range(11, 30)),
    ],
)
def test_slices_that_the_row_leaves_out_may_be_gone(tmp_path, row, gone):
    write_raw(tmp_path, names=("CP", "Normal"))
    write_scan(tmp_path / "NCP" / "7" / "1", range(30))
    corrections(tmp_path, ("NCP", 7, 1, 0, *row))
    scan = tmp_path / "NCP" / "7" / "1"
    before = next(e for e in read_cohort(tmp_path).entries if e.scan == scan)
    for number in gone:
        (scan / f"{number:04d}.png").unlink()
    after = next(e for e in read_cohort(tmp_path).entries if e.scan == scan)
    assert after.slices == tuple(n for n in before.slices if int(n[:4]) not in gone) != ()


def test_a_far_number_takes_no_time(tmp_path):
    write_raw(tmp_path)
    scan = tmp_path / "NCP" / "1" / "1010"
    (scan / "0003.png").rename(scan / f"{10**17}.png")
    corrections(tmp_path, ("NCP", 1, 1010, 0, 0, "", "reverse"))
    cohort = read_cohort(tmp_path)
    assert scan not in [entry.scan for entry in cohort.entries]
    assert any("NCP/1/1010 (slice 3)" in note for note in cohort.notes)


@pytest.mark.parametrize(
    ("row", "fact"),
    [
        (("NCP", 1, 1010, 0, 0, "", "backwards"), "line 2: 'backwards'"),
        (("NCP", 1, 1010, 0, 0, "", "0-1+"), "line 2: ''"),
        (("NCP", 1, 1010, 0, 0, "", "3-1"), "line 2: '3-1'"),
        (("NCP", 1, 1010, 0, 1, "0;x", ""), "line 2: 'x'"),
        (("NCP", 1, 1010, 0, 1, "\u00b2", ""), "line 2: '\u00b2'"),
        (("NCP", 1, 1010, 0, 1, "", ""), "line 2: is_repeat"),
        (("NCP", 1, 1010, 0, 0, "3", ""), "line 2: is_repeat"),
        (("..", "..", 1010, 0, 0, "", ""), r"line 2: '\.\.' is no name of a folder"),
        (("NCP", 1, "../..", 0, 0, "", ""), r"line 2: '\.\./\.\.' is no name of a folder"),
        (("NCP", "/etc", 1010, 0, 0, "", ""), "line 2: '/etc' is no name of a folder"),
        (("NCP", "", 1010, 0, 0, "", ""), "line 2: '' is no name of a folder"),
    ],
)
def test_corrections_that_cannot_be_read(tmp_path, row, fact):
    corrections(write_raw(tmp_path), row)
    with pytest.raises(UsageError, match=fact) as caught:
        read_cohort(tmp_path)
    assert caught.value.where == str(tmp_path / "CT_cleaned_v2.csv")


def test_lines_that_contradict(tmp_path):
    rows = [("NCP", 1, 1010, 0, 0, "", "reverse"), ("NCP", 1, 1010, 0, 0, "", "")]
    corrections(write_raw(tmp_path), rows[0], rows[0])
    assert read_cohort(tmp_path).entries
    corrections(tmp_path, *rows)
    with pytest.raises(UsageError, match=r"line 3: an earlier line .* of NCP/1/1010"):
        read_cohort(tmp_path)


def test_lines_about_scans_that_are_not_here_are_counted(tmp_path):
    rows = [("flu", 1, 1010), ("CP", 1, 1010), ("NCP", 99, 1010)]
    corrections(write_raw(tmp_path), *((*row, 0, 0, "", "reverse") for row in rows))
    cohort = read_cohort(tmp_path)
    assert not any(entry.slices for entry in cohort.entries)
    assert cohort.notes[-1] == (
        "3 lines of CT_cleaned_v2.csv not used: no such scan is here, such as flu/1/1010"
    )


def test_slices_without_numbers(tmp_path):
    write_raw(tmp_path)
    scan = tmp_path / "NCP" / "1" / "1010"
    (scan / "0001.png").rename(scan / "one.png")
    corrections(tmp_path, ("NCP", 1, 1010, 0, 0, "", ""))
    assert next(e.slices for e in read_cohort(tmp_path).entries if e.scan == scan) == ()
    corrections(tmp_path, ("NCP", 1, 1010, 0, 0, "", "reverse"))
    with pytest.raises(UsageError, match="not all their names are numbers") as caught:
        read_cohort(tmp_path)
    assert caught.value.where == str(scan)
    corrections(tmp_path, ("NCP", 1, 1010, 0, 1, "discard", ""))
    assert scan not in {e.scan for e in read_cohort(tmp_path).entries}


@pytest.mark.parametrize("name", ["unzip_filenames.csv", "CT_cleaned_v2.csv"])
@pytest.mark.parametrize("content", [b"", b"a,b\n", b"\xff\xfe\0"])
def test_tables_of_the_data_set_that_cannot_be_read(tmp_path, name, content):
    (write_raw(tmp_path) / name).write_bytes(content)
    with pytest.raises(UsageError) as caught:
        read_cohort(tmp_path)
    assert caught.value.where == str(tmp_path / name)
    assert "\n" not in str(caught.value)
    write_csv(tmp_path / "unzip_filenames.csv", ARCHIVES, ("a.zip", "CP", 1, 1, "many"))
    if name == "unzip_filenames.csv":
        with pytest.raises(UsageError, match="line 2: n_slice is 'many'"):
            read_cohort(tmp_path)
        write_csv(tmp_path / name, ARCHIVES, ("a.zip", "CP", "../x", 1, 4))
        with pytest.raises(UsageError, match=r"line 2: '\.\./x' is no name of a folder"):
            read_cohort(tmp_path)


def test_what_is_a_cohort(tmp_path):
    raw = write_raw(tmp_path / "raw")
    others = write_raw(tmp_path / "others", names=("a", "b"))
    (tmp_path / "NCP" / "1").mkdir(parents=True)
    (tmp_path / "x.nii.gz").write_bytes(b"")
    assert is_cohort(raw)
    assert is_cohort(others, ("a", "b"))
    assert not is_cohort(others)
    assert not is_cohort(tmp_path)
    assert not is_cohort(tmp_path / "x.nii.gz")
    (tmp_path / "cohort.csv").write_text("")
    assert is_cohort(tmp_path)
    assert is_cohort(tmp_path / "cohort.csv")


@pytest.mark.usefixtures("obeyed_permissions")
def test_a_folder_that_cannot_be_opened(tmp_path):
    write_raw(tmp_path)
    for folder in (tmp_path / "lost+found", tmp_path / "NCP" / "1"):
        folder.mkdir(exist_ok=True)
        folder.chmod(0)
        try:
            if folder.parent == tmp_path:
                assert len(read_cohort(tmp_path).entries) == 12
                continue
            with pytest.raises(UsageError, match="cannot be opened") as caught:
                read_cohort(tmp_path)
            assert caught.value.where == str(folder)
        finally:
            folder.chmod(0o700)
