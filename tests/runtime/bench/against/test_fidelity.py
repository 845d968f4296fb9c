import numpy as np
import pytest

from darnet_trt.bundle.reading import open_bundle
from darnet_trt.bundle.reference import ReferenceOutputs, write_reference
from darnet_trt.runtime.bench.against.fidelity import Questions, compare_answers, questions
from darnet_trt.runtime.bench.file_to_result.from_file import FromFile
from darnet_trt.runtime.engines.loading import load_engine
from darnet_trt.runtime.engines.runner import Outputs
from tests.tiny_bundle import SIZE, change_manifest


def answering(*logits):
    logits = np.array(logits, np.float32)
    return Outputs(logits, np.zeros((len(logits), logits.shape[1], 1, 1, 1), np.float32))


def asked(count=2, **options):
    return Questions([np.zeros((1, 1, 1, 1), np.float32)] * count, "two scans", **options)


def test_flips_and_differences_from_the_reference():
    reference, other = answering([2, 0], [0, 4]), answering([2, 0], [4, 2])
    about, found = compare_answers(asked(reference=reference), {"int8": other}, [])
    assert (about.inputs, about.source, about.random) == (2, "two scans", False)
    assert about.reference == "float32 reference"
    fidelity = found["int8"]
    assert (fidelity.class_flips, fidelity.finite) == (1, True)
    expected = 1 / (1 + np.exp(-2)) - 1 / (1 + np.exp(4))
    assert fidelity.max_probability_difference == pytest.approx(expected)
    assert fidelity.max_logits_error == 1  # 4 of 4


def test_without_stored_answers_an_engine_in_float32_is_the_reference_or_the_first_one():
    answers = {"int8": answering([0, 1]), "fp32": answering([0, 2])}
    about, found = compare_answers(asked(1), answers, ["fp32"])
    assert about.reference == "fp32"
    assert found["fp32"].max_logits_error == 0
    assert found["int8"].max_logits_error == 0.5
    assert compare_answers(asked(1), answers, [])[0].reference == "int8"


def test_answers_that_are_no_numbers_are_no_reference_and_flip_all():
    answers = {"broken": answering([np.nan, 1]), "whole": answering([0, 1])}
    about, found = compare_answers(asked(1), answers, ["broken", "whole"])
    assert about.reference == "whole"
    assert (found["broken"].finite, found["broken"].class_flips) == (False, 1)
    assert found["whole"].max_probability_difference == 0


def test_another_network_has_features_of_its_own():
    one, two = answering([0, 1]), answering([0, 1])
    wide, narrow = (np.zeros((1, n), np.float32) for n in (64, 32))
    answers = {
        "one": Outputs(one.logits, one.cam, wide),
        "two": Outputs(two.logits, two.cam, narrow),
    }
    assert compare_answers(asked(1), answers, [])[1]["two"].max_logits_error == 0


def test_the_bundles_phantoms_are_asked_and_else_random_numbers(tiny):
    random = questions(open_bundle(tiny))
    assert random.random
    assert random.reference is None
    assert {volume.shape for volume in random.inputs} == {(1, *SIZE)}
    inputs, logits = np.ones((2, 1, *SIZE), np.float32), np.zeros((2, 3), np.float32)
    kept = ReferenceOutputs(inputs, logits, np.zeros((2, 3, 2, 2, 2), np.float32))
    entry = write_reference(tiny, kept, "2 synthetic phantoms")
    change_manifest(tiny, reference=entry.model_dump(mode="json"))
    phantoms = questions(open_bundle(tiny))
    assert (phantoms.source, phantoms.random) == ("2 synthetic phantoms", False)
    np.testing.assert_array_equal(np.stack(phantoms.inputs), inputs)
    np.testing.assert_array_equal(phantoms.reference.logits, logits)


def test_a_scan_is_asked_as_predict_sees_it(tiny, phantom_series):
    bundle = open_bundle(tiny)
    volume = FromFile("", bundle, phantom_series, load_engine(bundle)).input()
    assert volume.shape == (1, *SIZE)
    assert 0 <= volume.min() < volume.max() <= 1
    assert questions(bundle, volume).inputs[0] is volume
