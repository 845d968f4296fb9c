"""Which kinds of scans a cohort's classes have."""

import pytest

from darnet_trt.errors import UsageError
from darnet_trt.phantom import CohortPlan, plan_classes
from darnet_trt.phantom.body.kinds import KINDS
from darnet_trt.phantom.plan import members
from darnet_trt.scan.cohorts import PAPER_CLASSES


def test_by_default_the_papers_classes_have_every_kind():
    shares = plan_classes()
    assert tuple(shares) == PAPER_CLASSES
    assert {kind for kinds in shares.values() for kind in kinds} == set(KINDS)
    for kinds in shares.values():
        assert sum(kinds.values()) == pytest.approx(1)


def test_other_classes_take_kinds_from_the_papers():
    shares = plan_classes("tuberculosis=small-nodules+emphysema,covid-19,viral-pneumonia,normal")
    assert list(shares) == ["tuberculosis", "covid-19", "viral-pneumonia", "normal"]
    assert set(shares["tuberculosis"]) == {"small-nodules", "emphysema"}
    assert shares["viral-pneumonia"] == {"viral-pneumonia": 1}
    assert shares["normal"] == {"normal": 1}


def test_a_share_is_taken_from_the_other_kinds_of_its_class():
    kinds = plan_classes(shares=["mild-covid-19=0.6"])["covid-19"]
    assert kinds["mild-covid-19"] == 0.6
    assert kinds["covid-19"] == pytest.approx(0.4 * 0.6 / 0.9)
    only = plan_classes(shares=["covid-19=1", "common-pneumonia=1", "normal=1"])
    plan = CohortPlan(scans=60, kinds=only)
    assert {m.kind for m in members(plan)} == set(PAPER_CLASSES)


def test_patients_have_the_kinds_in_these_shares():
    plan = CohortPlan(scans=2000, kinds=plan_classes("a=covid-19,b=normal+emphysema"))
    of = {(m.patient, m.label, m.kind) for m in members(plan)}
    assert len({patient for patient, _, _ in of}) == len(of), "a patient has one kind"
    assert {(label, kind) for _, label, kind in of} == {
        ("a", "covid-19"),
        ("b", "normal"),
        ("b", "emphysema"),
    }
    of_b = [kind for _, label, kind in of if label == "b"]
    assert of_b.count("emphysema") / len(of_b) == pytest.approx(0.15 / 0.8, abs=0.04)


@pytest.mark.parametrize(
    ("classes", "shares", "reason"),
    [
        ("a=flu,normal", [], "'flu'"),
        ("a,normal", [], "'a'"),
        ("a=,normal", [], "''"),
        ("normal", [], "two classes"),
        ("a=emphysema,A=normal", [], "twice"),
        ("a=emphysema,b=emphysema", [], "emphysema twice"),
        ("covid-19=covid-19,normal", ["mild-covid-19=0.5"], "no class has the kind mild-covid-19"),
        (None, ["normal"], "'normal'"),
        (None, ["normal=2"], "0 to 1"),
        (None, ["normal=nan"], "0 to 1"),
        (None, ["normal=0.7", "emphysema=0.7"], "add up to 1.4"),
        ("a=emphysema,normal", ["emphysema=0.5"], "add up to 0.5"),
        ("b=normal+emphysema+small-nodules,normal", [], "without a kind"),
    ],
)
def test_impossible_classes_and_shares_are_one_line(classes, shares, reason):
    with pytest.raises(UsageError, match=reason) as error:
        plan_classes(classes, shares)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name",
    [
        *("../a", ".a", "a\\b", "NCP", "lesions", "ct_lesion_seg", "CT_lesion_seg", "__MACOSX"),
        *("cohort.json", "cohort.csv", "phantoms.csv", "ct_cleaned_v2.csv", "ct_val.json"),
    ],
)
def test_a_class_that_cannot_have_a_folder(name):
    kinds = plan_classes(f"covid-19,{name}=emphysema")
    CohortPlan(kinds=kinds)
    with pytest.raises(UsageError, match="folder"):
        CohortPlan(kinds=kinds, format="cc-ccii")
