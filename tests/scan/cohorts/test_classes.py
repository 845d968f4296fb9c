"""Labels are read as people write them, and the classes that a person lists must differ."""

import pytest

from darnet_trt.errors import UsageError
from darnet_trt.scan.cohorts import PAPER_CLASSES, class_named, parse_classes


@pytest.mark.parametrize(
    ("label", "classes", "named"),
    [
        ("NCP", PAPER_CLASSES, "covid-19"),
        (" Common_Pneumonia ", PAPER_CLASSES, "common-pneumonia"),
        ("flu", PAPER_CLASSES, None),
        ("viral_pneumonia", ("viral_pneumonia", "normal"), "viral_pneumonia"),
        ("NCP", ("covid", "normal"), "covid"),
        ("covid-19", ("NCP", "normal"), "NCP"),
        ("NCP", ("covid", "covid-19"), "covid-19"),
        ("Viral-Pneumonia", ("viral_pneumonia", "normal"), "viral_pneumonia"),
    ],
)
def test_a_label_names_a_class(label, classes, named):
    assert class_named(label, classes) == named


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("a", "two classes"),
        ("a,", "two classes"),
        ("a,A", "twice"),
        ("a_b,a-b", "twice"),
        ("a," + "b" * 65, "at most 64 characters"),
        ("a,b\x07", "printable"),
    ],
)
def test_lists_that_are_no_classes(text, fact):
    with pytest.raises(UsageError, match=fact) as caught:
        parse_classes(text)
    assert caught.value.where == "--classes"
    assert "\x07" not in str(caught.value)
