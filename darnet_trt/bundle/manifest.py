"""The schema of `manifest.json`, which describes a bundle and each of its engines."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import Field

from darnet_trt.bundle.class_code import ClassCode
from darnet_trt.bundle.plan import Part, Plan
from darnet_trt.scan.cohorts import describes_phantoms
from darnet_trt.scan.preprocessing import Preprocessing

SCHEMA_VERSION: Final = 1
FILE_NAME: Final = "manifest.json"
MODEL_FILE: Final = "model.onnx"
"""The network as a float32 ONNX file of standard operators, in every bundle: engines are rebuilt
from it. In bundles of older versions each attention is a call of a local function."""
INT8_FILE: Final = "model-int8.onnx"
"""The same with quantized convolutions, for ONNX Runtime."""
FP16_FILE: Final = "model-fp16.onnx"
"""The same in float16, with float32 inputs and outputs, for ONNX Runtime on a GPU."""
TRAINING_SCANS_FILE: Final = "training_scans.npz"
"""Which scans trained the weights, as hashes."""

Backend = Literal["openvino", "onnxruntime", "tensorrt", "tensorrt-rtx"]
Precision = Literal["fp32", "bf16", "fp16", "int8"]


class ModelCard(Part):
    """The network and its training data.

    Attributes:
        attention: "none", "channel", "depth" or "both".
        width: Channels of the first stage.
        parameters: Number of trained parameters.
        checkpoint_sha256: Hash of the checkpoint that the engines were built from.
        trained_on: One sentence on the training data: what, how many scans, from where.
        validation: Metrics on held-out patients; empty if there were none.
        phantoms_only: Whether the training scans were all synthetic phantoms; None in older
            bundles, see `saw_only_phantoms`.
        coarsest_pixel_mm: In-plane detail of the coarsest training scan; None where it is not
            known, as in older bundles.
        features: Number of pooled features that every engine gives; 0 in older bundles, whose
            engines give none.
        temperature: What the logits are divided by before the softmax; 1 where no scans were held
            out from training, and in older bundles.
    """

    attention: Literal["none", "channel", "depth", "both"]
    width: int
    parameters: int
    checkpoint_sha256: str
    trained_on: str
    validation: dict[str, float] = Field(default_factory=dict)
    phantoms_only: bool | None = None
    coarsest_pixel_mm: float | None = None
    features: int = 0
    temperature: float = Field(default=1.0, gt=0)

    @property
    def saw_only_phantoms(self) -> bool:
        """Return `phantoms_only`; in older bundles `trained_on` tells it."""
        if self.phantoms_only is None:
            return describes_phantoms(self.trained_on)
        return self.phantoms_only


class Parity(Part):
    """The differences of an engine from the float32 reference on the same scans.

    Attributes:
        scans: Number of scans.
        source: Describes the scans.
        class_flips: Scans whose most probable class differs.
        max_probability_difference: Largest absolute difference of any class probability.
        max_logits_error: Largest absolute difference of any logit, over the largest reference
            logit's magnitude.
        max_cam_error: The same for the class activation map.
        max_features_error: The same for the pooled features; None where the engine or the
            reference is of an older bundle and does not give them.
        limits: The largest allowed value of each of these, by name.
        passed: Within `limits`, and no class flipped that the reference was sure of.
    """

    scans: int
    source: str
    class_flips: int
    max_probability_difference: float
    max_logits_error: float
    max_cam_error: float
    max_features_error: float | None = None
    limits: dict[str, float]
    passed: bool


class Difference(Part):
    """A metric of two engines on the same labelled scans.

    Attributes:
        reference: Its value for the float32 engine.
        candidate: Its value for the engine that is judged.
        lower: Lower end of the 95 % interval of candidate − reference.
        upper: Upper end of that interval.
    """

    reference: float
    candidate: float
    lower: float
    upper: float


class Decisions(Part):
    """The decisions of an engine beside the float32 engine's, on scans that did not calibrate it.

    Attributes:
        scans: Number of scans.
        source: Describes the scans.
        seen: Scans of patients that trained the weights; None where nobody knows, as in older
            bundles.
        labelled: Scans of each class, in the order of the logits; None if there were no labels or
            an output was NaN or infinite, so that nothing was judged by labels.
        class_flips: Scans whose most probable class differs.
        sure_flips: Class flips of which the float32 engine was sure.
        agreement: Share of the scans with the same class.
        flips_at_most: Largest share of new scans whose class would differ, with `confidence`.
        mean_probability_drift: Mean over the scans of the largest change of a class probability; a
            change counts as `Margins.far` at most.
        max_probability_drift: Largest change of a class probability.
        auc: The positive class against the rest; None without `labelled` or if one side is absent.
        accuracy: Of all classes; None without `labelled`.
        limits: The limits, by name; see `calibration.decisions.margins.Margins`.
        failures: Each limit that was exceeded, in a sentence.
        reserves: Reasons these scans are not enough to show that decisions are kept, a sentence
            each. With one, the engine is not chosen automatically.
        notes: What else could not be judged, and why.
        passed: There is no failure.
    """

    scans: int
    source: str
    seen: int | None = None
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

    @property
    def confidence(self) -> str:
        """Return the confidence of `flips_at_most` in words; older bundles have 97.5 %."""
        return f"{100 - 100 * self.limits.get('chance', 0.025):g} % confidence"

    @property
    def judges(self) -> str:
        """Return `source`, and which of these scans trained the weights."""
        if self.seen is None:
            return f"{self.source}; nobody knows which of them trained the weights"
        which = "all" if self.seen == self.scans else self.seen or "none"
        return f"{self.source}; {which} of them trained the weights"


class LayerEffect(Part):
    """The change of the logits by quantizing a layer or block.

    Errors are relative to the largest magnitude of the float32 engine's logits.

    Attributes:
        layer: The convolution or the block ("stem", "stages.2.0").
        alone: Error if only it is quantized.
        left_out: How much the error falls if everything but it is quantized, instead of all.
    """

    layer: str
    alone: float
    left_out: float


class Quantization(Part):
    """The calibration of an int8 engine.

    Attributes:
        scans: Number of scans that gave the activations' ranges.
        source: Describes the scans.
        digest: Hash of the preprocessed scans.
        random: The "scans" were random numbers; use the engine only to measure its speed.
        method: How the ranges were chosen from the activations' statistics.
        errors: Logits error of each method on some of these scans.
        layers: Quantized convolutions.
        spared: Convolutions left in higher precision, most harmful first.
        equalized: The channels between two convolutions were made alike.
        by_channel: In plans, the quantized convolutions whose weights have a scale for each output
            channel; the others have one scale. On the CPU all have a scale a channel.
        scale_trials: For each way of scaling the weights of plans that was tried, why the engine
            failed, as in `trials`; empty if one scale a layer passed at once.
        effects: Effect of each layer, if measured, most harmful first.
        block_effects: Effect of each block ("stem", "stages.2.0"), if measured, most harmful
            first.
        trials: For each number of spared layers that was tried, why the engine failed, a sentence
            each; empty: it kept the decisions.
    """

    scans: int
    source: str
    digest: str
    random: bool
    method: str
    errors: dict[str, float]
    layers: tuple[str, ...]
    spared: tuple[str, ...] = ()
    equalized: bool = False
    by_channel: tuple[str, ...] = ()
    scale_trials: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    effects: tuple[LayerEffect, ...] = ()
    block_effects: tuple[LayerEffect, ...] = ()
    trials: dict[int, tuple[str, ...]] = Field(default_factory=dict)


class Artifact(Part):
    """One engine. The defaults describe one that has not run.

    Attributes:
        name: Unique in the bundle, "openvino-bf16".
        files: SHA-256 of each file, by path relative to the bundle; the first is the one to load.
        backend: The software that runs it.
        precision: The precision asked for.
        effective_precision: The precision that the engine reported on the build machine; None if
            it did not run there.
        target: "cpu", "cuda", "sm89", "portable".
        batch: Smallest and largest batch.
        producer: Version of each package that built it.
        executed: Whether it ran on the build machine.
        parity: None if it did not run on the build machine.
        latency_ms: Median engine time for one volume on the build machine; None if it did not run
            there or failed a gate.
        notes: What else the user should know.
        plan: Only of TensorRT and TensorRT-RTX.
        quantization: Only of int8.
        decisions: Only of int8.
        accepted: Who took an int8 engine although it failed a gate, and why; `parity` and
            `decisions` keep what failed.
    """

    name: str
    files: dict[str, str]
    backend: Backend
    precision: Precision
    effective_precision: Precision | None = None
    target: str
    batch: tuple[int, int]
    producer: dict[str, str]
    executed: bool = False
    parity: Parity | None = None
    latency_ms: float | None = None
    notes: tuple[str, ...] = ()
    plan: Plan | None = None
    quantization: Quantization | None = None
    decisions: Decisions | None = None
    accepted: str | None = None


class Reference(Part):
    """The file with inputs and the float32 reference's outputs for them.

    Attributes:
        file: Path relative to the bundle; `bundle.reference` reads it.
        sha256: Hash of the file.
        scans: Number of inputs.
        source: Describes the inputs.
    """

    file: str
    sha256: str
    scans: int
    source: str


class StoredFile(Part):
    """A file beside the engines.

    Attributes:
        file: Path relative to the bundle.
        sha256: Hash of the file.
    """

    file: str
    sha256: str


class Manifest(Part):
    """The whole of `manifest.json`.

    Attributes:
        toolkit: The program and version that wrote it.
        created: Date and time, ISO 8601 in UTC.
        intended_use: A sentence for people who find the file.
        model: The network.
        classes: Names of the logits, in order; the first is the positive one.
        class_codes: Codes of classes in DICOM objects, where they are not the toolkit's own.
        preprocessing: How the engines' input is made.
        artifacts: The engines, and `MODEL_FILE`.
        default: Name of the artifact to use if none is named; None if no artifact passed the
            checks on the build machine.
        rejected: Engines that failed a gate; their files are not in the bundle.
        reference: What `darnet-trt bundle check` compares engines with; None in older bundles.
        familiarity: What tells scans unlike those that trained the weights; None where no scans
            were held out from training, and in older bundles.
        training_scans: What tells which scans trained the weights, hashes of patients and slices;
            None where nobody knows, as in older bundles. `evaluation.seen` reads the file.
        built_on: Machine and versions.
        content_sha256: `content_digest` of the rest; `write_manifest` fills it in.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    toolkit: str
    created: str
    intended_use: str
    model: ModelCard
    classes: tuple[str, ...]
    class_codes: dict[str, ClassCode] = Field(default_factory=dict)
    preprocessing: Preprocessing
    artifacts: tuple[Artifact, ...]
    rejected: tuple[Artifact, ...] = ()
    reference: Reference | None = None
    familiarity: StoredFile | None = None
    training_scans: StoredFile | None = None
    default: str | None
    built_on: dict[str, Any]
    content_sha256: str = ""

    @property
    def files(self) -> dict[str, str]:
        """Return the SHA-256 of each file of the bundle, by path."""
        found = {name: sha for artifact in self.artifacts for name, sha in artifact.files.items()}
        for stored in (self.reference, self.familiarity, self.training_scans):
            if stored is not None:
                found[stored.file] = stored.sha256
        return found


def content_digest(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a manifest's JSON content: without `content_sha256`, keys sorted.

    It detects edits by hand and damaged copies. It is not a signature: anyone can compute it again.
    """
    rest = {key: value for key, value in content.items() if key != "content_sha256"}
    canonical = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
