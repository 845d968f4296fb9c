"""Results hold raw logits beside calibrated probabilities, and flag scans unlike the training's."""

import json

import numpy as np
import onnxruntime
import pytest

from darnet_trt.bundle.reading import open_bundle
from darnet_trt.bundle.trust import CANNOT_FLAG
from darnet_trt.errors import BundleError
from darnet_trt.evaluation.familiarity import Familiarity
from darnet_trt.evaluation.metrics import softmax
from darnet_trt.evaluation.texture import texture
from darnet_trt.runtime.prediction.predict import predict
from darnet_trt.runtime.prediction.results.result import UNLIKE
from darnet_trt.scan import choose, find_studies, read_volume
from darnet_trt.scan.preprocessing import preprocess
from tests.tiny_bundle import change_manifest, put_familiarity, write_bundle


def classified(bundle, scan):
    said = []
    (result,) = predict(open_bundle(bundle), scan, notify=said.append, artifact="onnxruntime-fp32")
    return result, said


def codes(result):
    return [warning.code for warning in result.warnings]


def with_temperature(bundle, temperature):
    card = json.loads((bundle / "manifest.json").read_text())["model"]
    change_manifest(bundle, model={**card, "temperature": temperature})
    return bundle


def test_probabilities_are_calibrated_and_logits_are_as_they_were(tiny, phantom_series):
    before, _ = classified(tiny, phantom_series)
    after, _ = classified(with_temperature(tiny, 4.0), phantom_series)
    assert after.logits == before.logits
    assert after.predicted == before.predicted
    for result, temperature in ((before, 1.0), (after, 4.0)):
        expected = softmax(np.array([[*result.logits.values()]]) / temperature)[0]
        np.testing.assert_allclose([*result.probabilities.values()], expected, atol=1e-6)
    assert list(after.logits) == list(after.probabilities)


def test_a_scan_that_lies_far_away_is_flagged(tiny, phantom_series):
    near, said = classified(put_familiarity(tiny, 1e9), phantom_series)
    assert UNLIKE not in codes(near)
    assert not any(CANNOT_FLAG in line for line in said)
    far, _ = classified(put_familiarity(tiny, 1e-9), phantom_series)
    assert codes(far).count(UNLIKE) == 1
    assert far.probabilities == near.probabilities


def test_a_scan_lies_where_training_finds_it(tiny, phantom_series):
    """Training measures the inputs that it keeps in float16, results the engine's."""
    size = open_bundle(tiny).manifest.preprocessing
    volume = preprocess(size, read_volume(choose(find_studies(phantom_series)[0]).series))
    kept = volume.astype(np.float16).astype(np.float32)
    session = onnxruntime.InferenceSession(tiny / "model.onnx")
    (features,) = session.run(["features"], {"volume": kept[None]})
    stored = np.load(put_familiarity(tiny, 1.0) / "familiarity.npz")
    (distance,) = Familiarity.unpacked(stored).distance(features, texture(kept)[None])
    for threshold, flagged in ((distance * 1.001, False), (distance * 0.999, True)):
        result, _ = classified(put_familiarity(tiny, threshold), phantom_series)
        assert (UNLIKE in codes(result)) is flagged


def test_an_older_bundle_says_once_that_it_cannot_flag(tmp_path, phantom_series):
    result, said = classified(write_bundle(tmp_path / "older", features=0), phantom_series)
    assert result.status == "ok"
    assert UNLIKE not in codes(result)
    assert sum(CANNOT_FLAG in line for line in said) == 1


def test_an_altered_file_or_one_of_another_network_is_refused(tiny, phantom_series):
    put_familiarity(tiny, 1.0)
    card = json.loads((tiny / "manifest.json").read_text())["model"]
    change_manifest(tiny, model={**card, "features": 64})
    with pytest.raises(BundleError, match=r"familiarity\.npz"):
        classified(tiny, phantom_series)
    change_manifest(tiny, model=card)
    put_familiarity(tiny, 1.0, textures=0)  # of an older version
    with pytest.raises(BundleError, match=r"familiarity\.npz.*version; build the bundle again"):
        classified(tiny, phantom_series)
    (tiny / "familiarity.npz").write_bytes(b"altered")
    with pytest.raises(BundleError, match="altered"):
        classified(tiny, phantom_series)
