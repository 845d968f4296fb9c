"""Results against the labels of a cohort."""

from darnet_trt.runtime.prediction.report.labels import Labelled
from darnet_trt.scan.cohorts import read_cohort
from tests.runtime.prediction.report.results import refused, result


def cohort(folder):
    lines = ("scan,patient,label", "P00000/1,P0,covid-19", "P00001/1,P1,normal", "b,P2,normal")
    (folder / "cohort.csv").write_text("\n".join(lines))
    return read_cohort(folder)


def test_a_label_belongs_to_its_scan_alone(tmp_path):
    labelled = Labelled(cohort(tmp_path))
    assert labelled.add(result(0)) == "covid-19"
    assert labelled.add(result(0, scan="P00000/1/study")) == "covid-19"
    assert labelled.add(result(0, scan=str(tmp_path / "b"))) == "normal"
    assert labelled.add(result(0, scan="1")) is None
    assert labelled.add(result(0, scan="other/P00000/1")) is None


def test_what_was_not_classified_counts_as_wrong(tmp_path):
    labelled = Labelled(cohort(tmp_path))
    for each in (result(0), result(1), refused(2, scan="b"), result(9)):
        labelled.add(each)
    assert (labelled.right, labelled.counts.total()) == (1, 3)
    section = labelled.section()
    assert "0.333" in section
    assert "area under the ROC curve" in section
    assert "refused" in section
