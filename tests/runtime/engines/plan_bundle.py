"""A bundle with a real TensorRT-RTX plan, of the tiny network."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from tests.tiny_bundle import change_manifest

NAME = "tensorrt-rtx-fp16"
FILE = "tensorrt-rtx/sm89-fp16.plan"
PLUGIN = {"source": "0" * 12, "target": "cuda sm_89", "sha256": "0" * 64, "embedded": False}
PASSED = {
    "scans": 1,
    "source": "random",
    "class_flips": 0,
    "max_probability_difference": 0,
    "max_logits_error": 0,
    "max_cam_error": 0,
    "max_features_error": 0,
    "limits": {},
    "passed": True,
}


def put_plan(bundle: Path, content: bytes, version: str, **changes: Any) -> Path:
    """Replace the bundle's fake plan; `changes` go into its manifest entry."""
    (bundle / FILE).write_bytes(content)
    artifacts = json.loads((bundle / "manifest.json").read_text())["artifacts"]
    artifacts[2] |= {
        "files": {FILE: hashlib.sha256(content).hexdigest()},
        "producer": {"tensorrt_rtx": version},
        **changes,
    }
    change_manifest(bundle, artifacts=artifacts)
    return bundle


def gated(bundle: Path) -> Path:
    """Make the plan the default, as one that passed the gate where it was built."""
    artifacts = json.loads((bundle / "manifest.json").read_text())["artifacts"]
    artifacts[2] |= {
        "executed": True,
        "effective_precision": "fp16",
        "parity": PASSED,
        "latency_ms": 0.5,
    }
    change_manifest(bundle, artifacts=artifacts, default=NAME)
    return bundle


def plan_card(plugin: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """A plan's part of the manifest."""
    return {"kernels": {}, "plugin": plugin} | changes
