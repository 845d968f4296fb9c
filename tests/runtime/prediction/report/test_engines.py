"""What the page says about the engines of a bundle."""

import numpy as np

from darnet_trt.bundle.manifest import Manifest
from darnet_trt.bundle.reading import open_bundle
from darnet_trt.calibration.decisions.decide import decide
from darnet_trt.runtime.prediction.report.engines import int8, section


def judged(scans, seen, changed=0):
    logits = np.eye(3, dtype=np.float32)[np.arange(scans) % 3]
    found = decide(logits, np.roll(logits, changed, 1), list(np.arange(scans) % 3), "phantoms")
    return found.model_copy(update={"seen": seen})


def with_int8(bundle, seen) -> Manifest:
    manifest = open_bundle(bundle).manifest
    engine = manifest.artifacts[0].model_copy(update={"precision": "int8"})
    quantization = {"scans": 32}
    from types import SimpleNamespace

    def int8_engine(name, changed):
        return engine.model_copy(
            update={
                "name": name,
                "decisions": judged(75, seen, changed),
                "quantization": SimpleNamespace(**quantization),
            }
        )

    return manifest.model_copy(
        update={
            "artifacts": (*manifest.artifacts, int8_engine("kept-int8", 0)),
            "rejected": (int8_engine("bad-int8", 1),),
        }
    )


def test_which_scans_judged_int8_and_what_they_cannot_show(tiny):
    first, *others = int8(with_int8(tiny, 4))
    for number in ("75 scans", "4 of them", "32 scans"):
        assert number in first
    assert any("kept-int8" in line and "reserve: " in line for line in others)
    assert any("bad-int8" in line and "failure: " in line for line in others)


def test_where_nobody_knows_which_scans_were_seen(tiny):
    assert "not known" in int8(with_int8(tiny, None))[0]


def test_every_engine_has_a_row(tiny):
    manifest = open_bundle(tiny).manifest
    page = section(manifest)
    assert int8(manifest) == []
    assert all(artifact.name in page for artifact in manifest.artifacts)
