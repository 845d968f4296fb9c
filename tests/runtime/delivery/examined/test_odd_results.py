"""Objects of results that are unlike most: other classes, flat maps, texts of all kinds."""

from dataclasses import replace

import numpy as np
import pytest

from darnet_trt.bundle.class_code import ClassCode
from darnet_trt.bundle.reading import open_bundle
from darnet_trt.errors import Finding
from darnet_trt.runtime.delivery.objects.make import make_objects
from darnet_trt.runtime.delivery.source import source_of
from darnet_trt.runtime.prediction.predict import predict
from darnet_trt.scan import find_studies
from darnet_trt.scan.loading.load import load_study
from tests.runtime.delivery.checkers import (
    dciodvfy,
    dsrdump,
    has_dciodvfy,
    has_dsrdump,
    strictly_read,
)
from tests.runtime.delivery.examined.read_back import (
    code,
    everything,
    map_by_highdicom,
    probabilities_by_highdicom,
    probabilities_by_pydicom,
)
from tests.runtime.delivery.examined.studies import phantom
from tests.tiny_bundle import write_bundle

pytestmark = [has_dciodvfy, has_dsrdump]
LONG = "pneumonia of a kind that takes many words to tell it from "


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """A result, its source, and the bundle."""
    folder = tmp_path_factory.mktemp("scans")
    phantom(folder / "scan")
    bundle = open_bundle(write_bundle(folder / "bundle"))
    (result,) = predict(bundle, folder / "scan", evidence=True)
    (study,) = find_studies(folder / "scan")
    spec = bundle.manifest.preprocessing
    choice, loaded = load_study(study, spec)
    low, high = loaded.sampled.covered
    return result, source_of(choice.series, spec, (low, high + 1)), bundle.manifest


@pytest.fixture
def made(parts, tmp_path):
    """Write and check the objects of the result with some changes."""

    def make(kinds, *, cam=None, codes=None, **changes):
        result, source, manifest = parts
        evidence = result.evidence if cam is None else replace(result.evidence, cam=cam)
        changed = result.model_copy(update=changes)
        files = {}
        objects = make_objects(changed, evidence, source, kinds, manifest.model, codes or {})
        for one in objects:
            files[one.kind] = tmp_path / f"{one.kind}.dcm"
            files[one.kind].write_bytes(one.content)
            assert dciodvfy(files[one.kind]) == set()
            strictly_read(files[one.kind])
        return files

    return make


@pytest.mark.parametrize(
    "names",
    [
        ("bacterial-pneumonia-a", "bacterial-pneumonia-b", "normal"),
        ("肺炎", "grippe à virus", "back\\slash"),
        (LONG + "a", LONG + "b", LONG * 3),
    ],
)
def test_each_class_has_a_code_of_its_own(made, names):
    probabilities = dict(zip(names, (0.5, 0.3, 0.2), strict=True))
    files = made(["sr", "pm"], probabilities=probabilities, predicted=names[0])
    found = probabilities_by_pydicom(files["sr"])
    assert sorted(found.values()) == [0.2, 0.3, 0.5]
    assert found == probabilities_by_highdicom(files["sr"])


def test_the_codes_of_the_bundle_are_taken(made):
    codes = {
        "normal": ClassCode("RID13173", "RADLEX", "normal"),
        "common-pneumonia": ClassCode("1" * 40, "99OTHER", "x" * 64),
    }
    found = probabilities_by_pydicom(made(["sr"], codes=codes)["sr"])
    assert {*found} == {
        ("RID13173", "RADLEX"),
        ("1" * 40, "99OTHER"),
        ("882784691000119100", "SCT"),
    }


@pytest.mark.parametrize("p", [(1.0, 0.0, 0.0), (1e-6, 0.333333, 0.666666)])
def test_probabilities_are_exact(made, parts, p):
    probabilities = dict(zip(parts[0].probabilities, p, strict=True))
    file = made(["sr"], probabilities=probabilities)["sr"]
    assert tuple(probabilities_by_pydicom(file).values()) == p
    assert tuple(probabilities_by_highdicom(file).values()) == p


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scale", "offset"), [(0, 0), (0, 3), (1, 100), (1, -100), (1e20, 0), (1e-20, 0), (-1, 0)]
)
def test_a_map_keeps_its_values(made, parts, scale, offset):
    result, _, _ = parts
    cam = (result.evidence.cam * scale + offset).astype(np.float32)
    files = made(["sr", "pm", "sc"] if offset else ["pm"], cam=cam)
    shown = cam[list(result.probabilities).index(result.predicted)]
    volume = map_by_highdicom(files["pm"])
    step = np.ptp(shown) / 65535 or 1e-6
    assert np.allclose(np.sort(volume.values), np.sort(shown.ravel()), rtol=1e-6, atol=step)


@pytest.mark.slow
@pytest.mark.parametrize("trained_on", ["", "é 肺 🫁 a\\b\r\nc\td\x01\x7f" + "y" * 3000])
def test_any_text_can_say_what_the_network_was_trained_on(made, trained_on):
    said = dsrdump(made(["sr"], trained_on=trained_on)["sr"])
    assert "Research use only" in said


@pytest.mark.parametrize(
    ("reason", "of_code"),
    [
        ("gantry tilted by 18.5° (at most 1°)", "tilted"),
        ('C:\\scans\\a.dcm is "no" <scan> & no series', "a-code-of-more-than-16-characters"),
        ("z" * 1000, "long"),
        ("nothing\x00here\x1b", "control"),
    ],
)
def test_any_reason_makes_a_refusal(made, reason, of_code):
    finding = Finding(of_code, reason)
    changes = {"status": "refused", "reason": finding, "code": of_code}
    file = made(["refusal"], predicted=None, probabilities={}, **changes)["refusal"]
    said = dsrdump(file)
    assert of_code in said
    assert reason.replace("\\", "/")[:7] in said
    ds = strictly_read(file)
    meanings = [value for key, value in everything(ds) if key == "CodeMeaning"]
    assert reason not in meanings  # the same code has the same meaning
    assert code(ds.ConceptNameCodeSequence[0])
