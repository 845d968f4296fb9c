import numpy as np
import pytest

from darnet_trt.bundle.reading import open_bundle
from darnet_trt.errors import UsageError
from darnet_trt.export import peers
from darnet_trt.export.peers import ENGINES, load_peers, peers_of
from tests.tiny_bundle import SIZE, change_manifest, write_bundle

VOLUME = np.zeros((1, 1, *SIZE), np.float32)


def ask(runner):
    return runner.infer(VOLUME)


@pytest.fixture
def load(tiny):
    """Load peers of the bundle; return them by name, and the lines on those left out."""

    def loaded(*words):
        lines = []
        found = load_peers(open_bundle(tiny), words, ask, threads=1, left_out=lines.append)
        return {peer.name: peer for peer in found}, lines

    return loaded


def test_engines_and_folders_are_peers_each_once(tiny):
    given = f"onnxruntime, {tiny},onnxruntime,{tiny}:openvino-fp32,"
    assert peers_of(given) == ["onnxruntime", str(tiny), f"{tiny}:openvino-fp32"]
    assert peers_of(",".join(ENGINES)) == list(ENGINES)
    assert peers_of("") == []


@pytest.mark.parametrize("wrong", ["tensorflow", "no/such:openvino-fp32", "onnxruntime:fp32"])
def test_what_is_neither_is_refused(wrong):
    with pytest.raises(UsageError, match="neither an engine nor"):
        peers_of(f"onnxruntime,{wrong}")


def test_an_engine_runs_the_bundles_network(load):
    found, lines = load("onnxruntime", "openvino")
    assert lines == []
    assert found["onnxruntime"].own
    for peer in found.values():
        np.testing.assert_allclose(peer.answers.logits, [[0.5, 0, -0.1]], atol=0.01)


def test_openvino_chooses_its_precision(load):
    from darnet_trt.runtime.engines.openvino.package import cpu_precisions

    expected = "bf16" if "bf16" in cpu_precisions() else "fp32"
    assert load("openvino")[0]["openvino"].runner.precision == expected


def test_another_bundle_runs_its_default_engine_or_the_one_that_is_named(load, tmp_path):
    other = write_bundle(tmp_path / "other", bias=5.0)
    found, lines = load(str(other), f"{other}:onnxruntime-fp32")
    assert lines == []
    assert list(found) == ["other:openvino-fp32", "other:onnxruntime-fp32"]
    for peer in found.values():
        assert not peer.own
        assert peer.warnings == ()
        assert peer.answers.logits[0, 0] == 5


def test_folders_of_one_name_are_told_apart(load, tmp_path):
    one, two = (write_bundle(tmp_path / name / "bundle") for name in ("one", "two"))
    assert list(load(str(one), str(two))[0]) == ["bundle:openvino-fp32", f"{two}:openvino-fp32"]


def test_what_cannot_run_is_left_out_with_its_reason(load, tmp_path, tiny):
    fewer = write_bundle(tmp_path / "fewer", classes=("covid-19", "normal"))
    broken = write_bundle(tmp_path / "broken")
    (broken / "model.onnx").write_bytes(b"altered")
    words = (str(fewer), str(broken), f"{tiny}:nix", str(tmp_path), "torch")
    found, lines = load(*words, "onnxruntime")
    assert list(found) == ["onnxruntime"]
    for word, line in zip(words, lines, strict=True):
        assert line.startswith(f"{word} left out: ")
    said = ("covid-19, normal, ", "altered", "choose from openvino-fp32", "not a bundle", "build")
    assert [words for words, line in zip(said, lines, strict=True) if words not in line] == []


def test_other_inputs_are_left_out_and_another_preparation_is_said(load, tmp_path):
    smaller, wider = (write_bundle(tmp_path / name) for name in ("smaller", "wider"))
    change_manifest(smaller, preprocessing={"size": (8, 32, 32)})
    change_manifest(wider, preprocessing={"size": SIZE, "window_width_hu": 2000})
    found, (line,) = load(str(smaller), str(wider))
    assert "8×32×32" in line
    assert "16×32×32" in line
    (peer,) = found.values()
    assert "window_width_hu" in peer.warnings[0]


def test_a_library_that_fails_in_its_own_way_costs_its_peer_alone(load, monkeypatch):
    def fail(bundle, name, threads):
        raise RuntimeError("no compiler\nof many lines")

    monkeypatch.setattr(peers, "_engine", fail)
    found, lines = load("torch-compile")
    assert (found, lines) == ({}, ["torch-compile left out: RuntimeError: no compiler"])
