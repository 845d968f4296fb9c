"""The folders of CC-CCII, as they are downloaded and with the corrections of its cleaned form."""

import shutil

import pytest

from darnet_trt.errors import UsageError
from darnet_trt.scan.cohorts import Entry, is_cohort, make_folds, read_cohort
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
    assert missing.endswith("ncp/9/1090")
    assert short.startswith("1 scan is short of slices")
    assert short.endswith("ncp/1/1011")


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
        8: [*range(3, 13)],
        9: [3, 4, 6],
    }
    assert of[9][0] == "0003.jpg"
    assert [note.replace(":", ",").split(",")[0] for note in cohort.notes] == [
        "2 scans are left out",
        "9 scans are not in CT_cleaned_v2.csv",
    ]


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
    ],
)
def test_corrections_that_cannot_be_read(tmp_path, row, fact):
    corrections(write_raw(tmp_path), row)
    with pytest.raises(UsageError, match=fact) as caught:
        read_cohort(tmp_path)
    assert caught.value.where == str(tmp_path / "CT_cleaned_v2.csv")


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
