"""`manifest.json`: what a bundle is, and how each of its engines came to be."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from darnet_trt.scan.cohort import describes_phantoms
from darnet_trt.scan.preprocessing import Preprocessing

__all__ = [
    "FILE_NAME",
    "INT8_FILE",
    "MODEL_FILE",
    "SCHEMA_VERSION",
    "Artifact",
    "Backend",
    "Decisions",
    "Difference",
    "LayerEffect",
    "Manifest",
    "ModelCard",
    "Parity",
    "Plan",
    "PluginLibrary",
    "Precision",
    "Quantization",
    "content_digest",
]

SCHEMA_VERSION: Final = 1
FILE_NAME: Final = "manifest.json"
MODEL_FILE: Final = "model.onnx"
"""The network as ONNX in float32: in every bundle, because other engines are rebuilt from it."""
INT8_FILE: Final = "model-int8.onnx"
"""The same with quantized convolutions, where ONNX Runtime runs it."""

Backend = Literal["openvino", "onnxruntime", "tensorrt", "tensorrt-rtx"]
Precision = Literal["fp32", "bf16", "fp16", "int8"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelCard(_Part):
    """The network, and what its weights know.

    Attributes:
        attention: "none", "channel", "depth" or "both".
        width: Channels of the first stage.
        parameters: Number of trained parameters.
        checkpoint_sha256: Of the checkpoint the engines came from.
        trained_on: One sentence on the data: what, how many scans, from where.
        validation: Metrics on held-out patients, where there are any.
        phantoms_only: Whether the training scans were all synthetic phantoms; None in older
            bundles, see `saw_only_phantoms`.
        coarsest_pixel_mm: In-plane detail of the coarsest training scan; None where it is not
            known, as in older bundles.
    """

    attention: Literal["none", "channel", "depth", "both"]
    width: int
    parameters: int
    checkpoint_sha256: str
    trained_on: str
    validation: dict[str, float] = Field(default_factory=dict)
    phantoms_only: bool | None = None
    coarsest_pixel_mm: float | None = None

    @property
    def saw_only_phantoms(self) -> bool:
        """Return `phantoms_only`; in older bundles `trained_on` tells it."""
        if self.phantoms_only is None:
            return describes_phantoms(self.trained_on)
        return self.phantoms_only


class Parity(_Part):
    """How far an engine is from the float32 reference on the same scans.

    Attributes:
        scans: How many, and `source` says which.
        class_flips: Scans whose most probable class differs.
        max_probability_difference: Largest absolute difference of any class probability.
        max_logits_error: Largest absolute difference of any logit, over the largest reference
            logit's magnitude.
        max_cam_error: The same for the class activation map.
        limits: What each of the three errors may be, by its name here.
        passed: Within `limits`, and no class flipped that the reference was sure of.
    """

    scans: int
    source: str
    class_flips: int
    max_probability_difference: float
    max_logits_error: float
    max_cam_error: float
    limits: dict[str, float]
    passed: bool


class Difference(_Part):
    """A measure of two engines on the same labelled scans.

    Attributes:
        reference: Of the float32 engine.
        candidate: Of the engine that is judged.
        lower: Of the 95 % interval of candidate − reference.
        upper: Of the same.
    """

    reference: float
    candidate: float
    lower: float
    upper: float


class Decisions(_Part):
    """Whether an engine decides as the float32 engine does, on scans that did not calibrate it.

    Attributes:
        scans: How many, and `source` says which.
        labelled: Scans of each class, in the order of the logits; None where nothing could be
            judged by labels: there were none, or an output was no number.
        class_flips: Scans whose most probable class differs.
        sure_flips: Those among them of which the float32 engine was sure.
        agreement: Share of the scans with the same class.
        flips_at_most: Share of other scans whose class may differ, by the 95 % interval.
        mean_probability_drift: Mean over the scans of the class probability that moved most.
        max_probability_drift: The largest of these.
        auc: COVID-19 against the rest; None without `labelled` or where one side is absent.
        accuracy: Of all classes; None without `labelled`.
        limits: `calibration.margins.Margins`, by name.
        failures: What was found and what is allowed, a sentence each.
        reserves: Why these scans cannot show that decisions are kept, a sentence each; none: they
            can. With one an engine does not become the default by itself.
        notes: What else could not be judged, and why.
        passed: No failure.
    """

    scans: int
    source: str
    labelled: tuple[int, ...] | None
    class_flips: int
    sure_flips: int
    agreement: float
    flips_at_most: float
    mean_probability_drift: float
    max_probability_drift: float
    auc: Difference | None
    accuracy: Difference | None
    limits: dict[str, float]
    failures: tuple[str, ...]
    reserves: tuple[str, ...]
    notes: tuple[str, ...]
    passed: bool


class PluginLibrary(_Part):
    """The fused attention's library, which a TensorRT plan with its layers cannot do without.

    Attributes:
        source: Key of the sources: a library of another key may compute something else.
        target: What it was compiled for when the plan was built: "cpu", or "cuda" and the
            architectures. The one that runs the plan must be for "cuda".
        sha256: Of the library that the plan was built with.
        embedded: The plan carries it: nothing else is needed. Where not, a CUDA build of the same
            `source` must be loaded before the plan is.
    """

    source: str
    target: str
    sha256: str
    embedded: bool


class Plan(_Part):
    """What only a TensorRT plan has.

    Attributes:
        kernels: Kind of kernel → type of its first input → how many, from the builder's table:
            "convolution", "plugin", "generated", "reformat", …; of all profiles together. Empty
            where the builder printed no such table.
        plugin: None: it needs none.
        profiles: Smallest, preferred and largest batch of each optimization profile, in their
            order in the plan. Without one the batch is the artifact's own.
        version_compatible: It runs in later versions of TensorRT too, where the runtime allows
            host code.
        hardware_compatible: It runs on every GPU from Ampere on, not only on `target`.
    """

    kernels: dict[str, dict[str, int]]
    plugin: PluginLibrary | None = None
    profiles: tuple[tuple[int, int, int], ...] = ()
    version_compatible: bool = False
    hardware_compatible: bool = False


class LayerEffect(_Part):
    """What quantizing a layer or a block does to the logits, over their largest magnitude.

    The logits are the float32 engine's.

    Attributes:
        layer: The convolution, or the block: "stem", "stages.2.0".
        alone: Error with it alone quantized.
        left_out: How much smaller the error of all others is than that of all.
    """

    layer: str
    alone: float
    left_out: float


class Quantization(_Part):
    """How an int8 engine was calibrated.

    Attributes:
        scans: How many gave the activations' ranges.
        source: Which, in a sentence.
        digest: Of the preprocessed scans.
        random: True: they were random numbers, asked for by name; the engine is for speed alone.
        method: How the ranges were chosen from their statistics.
        errors: Method → logits error on some of the scans that gave the ranges.
        layers: Quantized convolutions.
        spared: Convolutions left in higher precision, most harmful first.
        effects: Each layer's, where they were measured, most harmful first.
        block_effects: Each block's ("stem", "stages.2.0"), where they were measured, most harmful
            first.
        trials: Number of layers spared → why the engine failed then, a sentence each; empty: it
            kept the decisions.
    """

    scans: int
    source: str
    digest: str
    random: bool
    method: str
    errors: dict[str, float]
    layers: tuple[str, ...]
    spared: tuple[str, ...] = ()
    effects: tuple[LayerEffect, ...] = ()
    block_effects: tuple[LayerEffect, ...] = ()
    trials: dict[int, tuple[str, ...]] = Field(default_factory=dict)


class Artifact(_Part):
    """One engine.

    Attributes:
        name: Unique in the bundle, "openvino-bf16".
        files: Paths relative to the bundle → SHA-256; the first is the one to load.
        backend: What runs it.
        precision: The precision asked for.
        effective_precision: What the engine said it ran with on the build machine; None where
            it was not executed.
        target: "cpu", "cuda", "sm89", "portable".
        batch: Smallest and largest batch.
        producer: Package → version, of what built it.
        executed: False: built here, never run here.
        parity: None exactly where it was not executed.
        latency_ms: Median engine time for one volume on the build machine; None where it was not
            executed, or failed the gate.
        notes: What else a person should know.
        plan: Of TensorRT and TensorRT-RTX.
        quantization: Of int8.
        decisions: Of int8.
        accepted: Who took an int8 engine that failed a gate, and why; what `parity` and
            `decisions` say of it stays.
    """

    name: str
    files: dict[str, str]
    backend: Backend
    precision: Precision
    effective_precision: Precision | None
    target: str
    batch: tuple[int, int]
    producer: dict[str, str]
    executed: bool
    parity: Parity | None
    latency_ms: float | None
    notes: tuple[str, ...] = ()
    plan: Plan | None = None
    quantization: Quantization | None = None
    decisions: Decisions | None = None
    accepted: str | None = None


class Manifest(_Part):
    """The whole of `manifest.json`.

    Attributes:
        toolkit: What wrote it, with its version.
        created: When, ISO 8601 in UTC.
        intended_use: For people who find the file.
        classes: Names of the logits, in order.
        preprocessing: What makes the engines' input.
        artifacts: The engines, and `MODEL_FILE`.
        default: Name of the artifact to use where nobody chose; None where no artifact was
            executed on the build machine, or none may be taken unasked.
        rejected: Candidates that failed a gate; their files are not in the bundle.
        built_on: Machine and versions.
        content_sha256: `content_digest` of all the rest; `write_manifest` fills it in.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    toolkit: str
    created: str
    intended_use: str
    model: ModelCard
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    artifacts: tuple[Artifact, ...]
    rejected: tuple[Artifact, ...] = ()
    default: str | None
    built_on: dict[str, Any]
    content_sha256: str = ""


def content_digest(content: Mapping[str, Any]) -> str:
    """SHA-256 of a manifest's JSON content without `content_sha256`, keys sorted, no spaces.

    It finds edits by hand and damaged copies. It is no signature: who changes the content on
    purpose can compute it again.
    """
    rest = {key: value for key, value in content.items() if key != "content_sha256"}
    canonical = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
