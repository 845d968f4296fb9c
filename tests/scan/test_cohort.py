"""The cohort's table."""

import pytest

from darnet_trt.errors import UsageError
from darnet_trt.phantom import CohortPlan, write_cohort
from darnet_trt.scan.cohort import Entry, read_cohort


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


def test_synthetic_cohort_says_so(tmp_path):
    plan = CohortPlan(scans=1, seed=7, format="nifti", matrix=48, slices=(30, 30))
    write_cohort(plan, tmp_path / "phantoms", processes=1)
    cohort = read_cohort(tmp_path / "phantoms")
    assert cohort.describe(cohort.entries) == (
        "1 synthetic phantoms (darnet-trt phantom, seed 7); not real patients"
    )
