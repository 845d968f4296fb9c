"""The labels that a network is compared with are of its classes, in every form of a cohort."""

import pytest
from PIL import Image

from darnet_trt.cli.labelled import labelled_cohort
from darnet_trt.errors import UsageError
from darnet_trt.scan.cohorts import PAPER_CLASSES


def test_folders_of_cc_ccii_have_the_papers_classes(tmp_path):
    for number, name in enumerate(("NCP", "CP", "Normal")):
        scan = tmp_path / name / str(number) / "100"
        scan.mkdir(parents=True)
        Image.new("L", (8, 8)).save(scan / "0000.png")
    cohort = labelled_cohort(tmp_path, PAPER_CLASSES)
    assert cohort.classes == PAPER_CLASSES
    assert [entry.label for entry in cohort.entries].count("common-pneumonia") == 1
    with pytest.raises(UsageError, match=r"has the class '(CP|Normal)'"):
        labelled_cohort(tmp_path, ("ncp", "fungal"))


def test_a_table_may_have_fewer_classes(tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("scan,patient,label\na,1,Viral\nb,2,clear\n")
    classes = ("viral", "fungal", "clear")
    cohort = labelled_cohort(table, classes)
    assert cohort.classes == classes
    assert [entry.label for entry in cohort.entries] == ["viral", "clear"]
    assert labelled_cohort(table, ()).classes == ("Viral", "clear")
