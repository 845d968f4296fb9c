"""Each leak that is planted among the facts of scans is named, and no other."""

import re
from pathlib import Path

import numpy as np
import pytest

from darnet_trt.scan.cohorts import PAPER_CLASSES, Entry
from darnet_trt.training.checking.findings import faults, traits
from darnet_trt.training.checking.reading import Facts, Seen


def cohort(patients=120, seed=0):
    """Clean scans, one a patient, alike but for chance."""
    rng = np.random.default_rng(seed)
    seen = []
    for number in range(patients):
        facts = Facts(
            file_type=".png",
            slices=round(float(np.exp(rng.uniform(np.log(30), np.log(300))))),
            matrix=(512, 512),
            length_mm=float(rng.uniform(225, 378)),
            cut=(False, False),
            soft_hu=float(rng.normal(-50, 30)),
            air_hu=float(rng.choice([-1024.0, -1000.0]) + rng.normal(0, 5)),
            highest_hu=float(rng.uniform(600, 1200)),
            lowest_hu=-1024.0,
            filled=float(rng.choice([0.04, 0.22]) + rng.normal(0, 0.01)),
            hashes=(2 * number, 2 * number + 1),
        )
        entry = Entry(Path(f"s{number}"), f"p{number}", PAPER_CLASSES[number % 3])
        seen.append(Seen(entry, facts, None))
    return seen


def changed(seen, places, **fields):
    """Change the facts of some scans."""
    return [
        Seen(one.entry, one.facts.model_copy(update=fields), None) if place in places else one
        for place, one in enumerate(seen)
    ]


def codes(found):
    return {one.code for one in found if one.gives_away}


LEAKS = [
    ("masked-bodies", {"masked": True, "code": "segmented-lungs", "error": "x"}),
    ("masked-bodies", {"filled": 0.8}),
    ("slices-chosen", {"cut": (True, True)}),
    ("slices-chosen", {"cut": (False, True)}),
    ("slices-chosen", {"length_mm": 100.0}),
    ("slice-order", {"order": "reversed"}),
    ("slice-order", {"order": "unordered"}),
    ("matrix", {"matrix": (256, 256)}),
    ("slice-count", {"slices": 600}),
    ("slice-count", {"slices": 12}),
    ("grey-window", {"air_hu": -1350.0}),
    ("grey-window", {"soft_hu": 140.0}),
    ("grey-window", {"highest_hu": 150.0}),
    ("grey-window", {"lowest_hu": -3024.0}),
    ("file-type", {"file_type": ".jpg"}),
]


@pytest.mark.parametrize(
    ("code", "fields", "label"), [(*leak, n % 3) for n, leak in enumerate(LEAKS)]
)
def test_a_leak_in_a_tenth_of_one_class_is_named(code, fields, label):
    of_class = [place for place in range(120) if place % 3 == label]
    found = list(traits(changed(cohort(), of_class[::10], **fields), PAPER_CLASSES))
    assert codes(found) == {code}
    (told,) = (one for one in found if one.code == code)
    assert set(told.scans) == {f"s{place}" for place in of_class[::10]}
    assert told.text.endswith(f"in 4 of 120 scans (4 of 40 {PAPER_CLASSES[label]})")


@pytest.mark.parametrize("seed", range(3))
def test_a_clean_cohort_gives_nothing_away(seed):
    assert list(traits(cohort(seed=seed), PAPER_CLASSES)) == []


@pytest.mark.parametrize(("code", "fields"), [LEAKS[0], LEAKS[5], LEAKS[7], LEAKS[14]])
def test_a_trait_of_all_classes_gives_nothing_away(code, fields):
    found = list(traits(changed(cohort(), range(0, 120, 8), **fields), PAPER_CLASSES))
    assert codes(found) == set()
    always = code in ("masked-bodies", "slice-order")  # no scan should be like that
    assert {one.code for one in found} == ({code} if always else set())


def test_two_odd_scans_are_named_and_no_more():
    (found,) = traits(changed(cohort(), (0, 3), matrix=(256, 256)), PAPER_CLASSES)
    assert (found.code, found.gives_away) == ("matrix", False)
    assert "too few" in found.text


def test_a_class_with_more_slices_is_named():
    rng = np.random.default_rng(0)
    seen = [
        Seen(
            one.entry,
            one.facts.model_copy(update={"slices": int(rng.integers(*limits))}),
            None,
        )
        for one in cohort()
        for limits in [(60, 200) if one.entry.label == "normal" else (30, 100)]
    ]
    found = list(traits(seen, PAPER_CLASSES))
    assert codes(found) == {"slice-count"}
    (told,) = (one.text for one in found if "medians" in one.text)
    assert re.fullmatch(
        r"the number of slices: 1[0-9]+ in 40 patients of normal, "
        r"[67][0-9.]* in 80 patients of other classes \(medians\)",
        told,
    )


def test_patients_count_once_however_many_scans_they_have():
    seen = cohort()
    one = seen[0]
    more = [
        Seen(Entry(Path(f"more{n}"), one.entry.patient, one.entry.label), one.facts, None)
        for n in range(12)
    ]
    seen = changed([*seen, *more], (0, *range(120, 132)), matrix=(256, 256))
    assert codes(traits(seen, PAPER_CLASSES)) == set()


def test_faults_are_named_whatever_the_class():
    seen = cohort(12)
    assert list(faults(seen)) == []
    changes = {
        1: {"facts": {"hashes": seen[0].facts.hashes}},  # the same scan, another class
        6: {"facts": {"hashes": seen[3].facts.hashes}},  # the same scan, another patient
        9: {"facts": {"slices": 12}},
        10: {"facts": {"error": "broken", "code": "cannot-read"}},
        11: {"entry": Entry(Path("s11"), "p0", "normal", side="test")},
    }
    for place, change in changes.items():
        facts = seen[place].facts.model_copy(update=change.get("facts"))
        seen[place] = Seen(change.get("entry", seen[place].entry), facts, None)
    found = {one.code: one for one in faults(seen)}
    assert {code: len(one.scans) for code, one in found.items()} == {
        "unusable-scans": 1,
        "short-scans": 1,
        "patients-in-two-classes": 2,
        "patients-on-two-sides": 2,
        "duplicates-in-two-classes": 2,
        "duplicates-of-two-patients": 2,
    }
    assert not any(one.gives_away for one in found.values())


def test_nothing_readable_gives_nothing():
    seen = changed(cohort(3), range(3), file_type="", error="x")
    assert list(traits(seen, PAPER_CLASSES)) == []


def test_names_that_are_not_utf8_can_be_written():
    seen = [
        Seen(Entry(Path(f"\udcff{n}"), "p\udcff", label), Facts(error="x", hashes=(1, 2)), None)
        for n, label in enumerate(PAPER_CLASSES)
    ]
    found = list(faults(seen))
    assert {one.code for one in found} >= {"patients-in-two-classes", "duplicates-in-two-classes"}
    assert all("udcff" in one.model_dump_json() for one in found)
