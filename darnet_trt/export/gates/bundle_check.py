"""Check a bundle on this machine, without torch: its files, its engines, and parity again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from darnet_trt.bundle.manifest import Artifact, Parity
from darnet_trt.bundle.reading import Bundle, verified_file
from darnet_trt.bundle.reference import ReferenceOutputs, read_reference
from darnet_trt.errors import BundleError, DarnetError, DeviceError, MissingPackageError
from darnet_trt.runtime.engines.loading import load_engine
from darnet_trt.runtime.engines.openvino.package import cpu_precisions
from darnet_trt.runtime.engines.parity import exceeded, gate
from darnet_trt.runtime.engines.runner import Outputs

Status = Literal["ok", "failed", "cannot run here"]

_NOT_FOR_OPENVINO_HERE: Final = ("bf16", "fp16")  # precisions that not every CPU computes in


@dataclass(frozen=True)
class EngineCheck:
    """The result of checking one engine.

    Attributes:
        name: The engine's.
        status: "ok": it loads here and agrees with the reference as far as it must.
        detail: Why it failed or cannot run, or what was not checked; empty if all is fine.
        precision: What it runs in here; None if it was not loaded.
        parity: Compared with the stored reference; None if that was not possible.
        warnings: Of `load_engine`.
    """

    name: str
    status: Status
    detail: str
    precision: str | None = None
    parity: Parity | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class BundleCheck:
    """The result of checking a bundle.

    Attributes:
        files: Each file of the manifest, with what is wrong with it; None: it is intact.
        engines: One for each engine.
        reference: The stored inputs, described; None in older bundles, which have none.
    """

    files: dict[str, str | None]
    engines: tuple[EngineCheck, ...]
    reference: str | None

    @property
    def passed(self) -> bool:
        """Return whether all files are intact and no engine failed."""
        intact = all(problem is None for problem in self.files.values())
        return intact and all(engine.status != "failed" for engine in self.engines)


def check_bundle(bundle: Bundle, *, threads: int | None = None) -> BundleCheck:
    """Check the hash of every file, load every engine that runs here, and compare its outputs.

    An engine is compared with the reference outputs that `build` stored, within the limits of the
    precision that it runs in here. One that somebody accepted although it failed the parity gate
    is compared too, but does not fail here for that.

    Args:
        bundle: From `open_bundle`; files may be missing.
        threads: CPU threads; None leaves the number to the engines.
    """
    files = {name: _problem(bundle, name) for name in bundle.manifest.files}
    described = bundle.manifest.reference
    reference, unusable = None, "not compared: the bundle has no reference outputs"
    if described is not None:
        try:
            reference = read_reference(bundle)
        except BundleError as error:
            unusable = f"not compared: {described.file}: {error.what}"
            files[described.file] = error.what
    engines = []
    for artifact in bundle.manifest.artifacts:
        broken = next((name for name in artifact.files if files[name] is not None), None)
        if broken is not None:
            detail = f"{broken}: {files[broken]}"
            engines.append(EngineCheck(artifact.name, "failed", detail))
        else:
            engines.append(_checked(bundle, artifact, reference, unusable, threads))
    return BundleCheck(files, tuple(engines), None if described is None else described.source)


def _problem(bundle: Bundle, name: str) -> str | None:
    """Return what is wrong with a file; None: it is intact."""
    try:
        verified_file(bundle, name)
    except BundleError as error:
        return "missing" if not (bundle.path / name).exists() else error.what
    return None


def _checked(
    bundle: Bundle,
    artifact: Artifact,
    reference: ReferenceOutputs | None,
    unusable: str,
    threads: int | None,
) -> EngineCheck:
    """Check an engine whose files are intact."""
    try:
        engine = load_engine(bundle, artifact.name, threads=threads)
    except DarnetError as error:
        status: Status = "cannot run here" if _of_this_machine(artifact, error) else "failed"
        return EngineCheck(artifact.name, status, error.what)
    never_compared = artifact.effective_precision is None and reference is not None
    precision = engine.runner.precision
    warnings = () if never_compared else engine.warnings  # it is compared now
    try:
        if reference is None:
            return EngineCheck(artifact.name, "ok", unusable, precision, None, warnings)
        expected = Outputs(reference.logits, reference.cam, reference.features)
        source = "" if bundle.manifest.reference is None else bundle.manifest.reference.source
        parity = gate(engine.runner, expected, list(reference.inputs), source)
    except DarnetError as error:
        return EngineCheck(artifact.name, "failed", error.what, precision, None, warnings)
    finally:
        engine.runner.close()
    if parity.passed:
        return EngineCheck(artifact.name, "ok", "", precision, parity, warnings)
    if artifact.parity is not None and not artifact.parity.passed:
        detail = f"differs as when it was built; accepted by {artifact.accepted}"
        return EngineCheck(artifact.name, "ok", detail, precision, parity, warnings)
    detail = f"differs from the reference: {', '.join(exceeded(parity))}"
    return EngineCheck(artifact.name, "failed", detail, precision, parity, warnings)


def _of_this_machine(artifact: Artifact, error: DarnetError) -> bool:
    """Return whether an engine with intact files cannot be loaded because of this machine."""
    if isinstance(error, DeviceError | MissingPackageError) or artifact.target != "cpu":
        return True
    return (
        artifact.backend == "openvino"
        and artifact.precision in _NOT_FOR_OPENVINO_HERE
        and artifact.precision not in cpu_precisions()
    )
