"""The cohort's table."""

import pytest

from darnet_trt.errors import UsageError
from darnet_trt.phantom import CohortPlan, write_cohort
from darnet_trt.scan.cohorts import Entry, describes_phantoms, is_phantom, read_cohort
from tests.scan.series_factory import only, write_series


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("scan,label\na,normal\n", "no column patient"),
        ("", "no column scan, patient, label"),
        ("scan,patient,label\n", "names no scan"),
        ("scan,patient,label\na,1,flu\n", "line 2: unknown class 'flu'"),
        ("scan,patient,label\na,,normal\n", "line 2 has an empty field"),
        ("scan,patient,label\na\n", "line 2 has an empty field"),
        ("scan,patient,label\na,1,normal\na,2,normal\n", "occurs twice"),
        ("scan,patient,label\na/b,1,normal\na//./b,2,normal\n", "occurs twice"),
        ("scan,patient,label\n../a,1,normal\n", "line 2: the path '../a'"),
        ("scan,patient,label\n/b/../a,1,normal\n", "line 2: the path '/b/../a'"),
        ("scan,patient,label\na\0b,1,normal\n", "line 2: the path"),
        ("scan,patient,label,side\na,1,normal,left\n", "line 2: unknown side 'left'"),
        ("scan,patient,label,fold\na,1,normal,first\n", "line 2: 'first' is no fold"),
        ("scan,patient,label,fold\na,1,normal,-1\n", "line 2: '-1' is no fold"),
        ("scan,patient,label,fold\na,1,normal,\u00b2\n", "line 2: '\u00b2' is no fold"),
        ("scan,patient,label,fold,side\na,1,normal,1,test\n", "line 2: a scan of the test side"),
        ("scan,patient,label,side,split\na,1,normal,test,val\n", "side test and split held-out"),
        ("scan,patient,label,side,split\na,1,normal,test,3\n", "line 2: unknown side '3'"),
        ('scan,patient,label\na,1,"normal\n' + "b,1,normal\n" * 20000, "a quotation mark that is"),
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
    with pytest.raises(UsageError, match="no such file or folder"):
        read_cohort(tmp_path / "nowhere")


def test_two_columns_that_agree(tmp_path):
    (tmp_path / "cohort.csv").write_text(
        "scan,patient,label,side,split\na,1,normal,train,training\nb,2,normal,,test\nc,3,cp,val,\n"
    )
    sides = [entry.side for entry in read_cohort(tmp_path).entries]
    assert sides == ["train", "test", "held-out"]


def test_a_folder_with_the_name_of_the_table(tmp_path):
    (tmp_path / "cohort.csv").mkdir()
    with pytest.raises(UsageError, match="is a folder, expected a table") as caught:
        read_cohort(tmp_path)
    assert caught.value.where == str(tmp_path / "cohort.csv")


def test_what_the_phantoms_were_made_from_is_no_cohort(phantom_cohort):
    with pytest.raises(UsageError, match="give the folder that it lies in"):
        read_cohort(phantom_cohort / "cohort.json")


def test_table_of_a_spreadsheet(tmp_path):
    (tmp_path / "cohort.csv").write_text(
        "\ufefflabel,scan,patient,age\r\nnormal, a ,7,50\r\n", encoding="utf-8"
    )
    cohort = read_cohort(tmp_path)
    assert cohort.entries == (Entry(tmp_path / "a", "7", "normal"),)
    said = cohort.describe(cohort.entries)
    assert said.startswith("1 scan of 1 patient of the cohort")
    assert not describes_phantoms(said)


def test_folds_sides_and_absolute_paths(tmp_path):
    elsewhere = tmp_path / "elsewhere" / "b.nii.gz"
    (tmp_path / "cohort.csv").write_text(
        f"scan,patient,label,Split,split,fold\na,1,NCP,x,Train,0\n{elsewhere},2,cp,y,val,\n"
        "c,3,Common_Pneumonia,z,TEST,\n"
    )
    cohort = read_cohort(tmp_path)
    assert cohort.entries == (
        Entry(tmp_path / "a", "1", "covid-19", side="train", fold=0),
        Entry(elsewhere, "2", "common-pneumonia", side="held-out"),
        Entry(tmp_path / "c", "3", "common-pneumonia", side="test"),
    )
    assert [cohort.name(entry) for entry in cohort.entries] == ["a", "elsewhere/b.nii.gz", "c"]
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "cohort.csv").write_text(f"scan,patient,label\n{elsewhere},2,cp\n")
    outside = read_cohort(tmp_path / "x")
    assert outside.name(outside.entries[0]) == str(elsewhere)


def test_synthetic_cohort_says_so(phantom_cohort):
    cohort = read_cohort(phantom_cohort)
    said = cohort.describe(cohort.entries)
    assert said == "2 synthetic phantoms (darnet-trt phantom, seed 3); not real patients"
    assert describes_phantoms(said)


@pytest.mark.parametrize("kind", ["dicom", "nifti", "slices"])
def test_phantoms_are_told_from_patients(tmp_path, kind):
    plan = CohortPlan(scans=1, format=kind, matrix=48, slices=(30, 30))
    write_cohort(plan, tmp_path / "phantoms", processes=1)
    phantom = only(tmp_path / "phantoms")
    assert is_phantom(phantom)
    (tmp_path / "phantoms" / "cohort.json").unlink()
    # without its cohort's folder only a DICOM header still says it
    assert is_phantom(phantom) == (kind == "dicom")


def test_a_patient_among_phantoms_is_a_patient(tmp_path):
    write_series(tmp_path / "P0002" / "1")
    (tmp_path / "cohort.json").write_text('{"synthetic": true, "seed": 0}')
    assert not is_phantom(only(tmp_path / "P0002"))
