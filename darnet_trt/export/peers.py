"""Load what `bench --against` takes: a bundle's network in other engines, and other bundles.

Each engine runs as its own documentation recommends for latency, in the precision that it takes
when nothing is asked for:

- OpenVINO with the hint LATENCY, the way to configure it
  (docs.openvino.ai: "High-level Performance Hints"), and its default execution mode PERFORMANCE,
  which computes in bfloat16 where the CPU has it ("Precision Control").
- ONNX Runtime with its defaults, which are set for speed: all graph optimizations, a thread for
  each physical core, threads that spin while they wait
  (onnxruntime.ai/docs/performance/tune-performance/threading.html).
- torch in inference mode: eager, as a paper's code runs it; compiled, as PyTorch recommends
  (`TorchRunner`); and eager with this toolkit's fused attention.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from darnet_trt.bundle.manifest import MODEL_FILE
from darnet_trt.bundle.reading import Bundle, open_bundle, verified_file
from darnet_trt.errors import BundleError, DarnetError, UsageError, one_line
from darnet_trt.machine.files import temporary_folder
from darnet_trt.machine.hardware import require_packages
from darnet_trt.runtime.engines.loading import load_engine
from darnet_trt.runtime.engines.runner import Outputs, Runner

ENGINES: Final = ("torch", "torch-compile", "torch-fused", "onnxruntime", "openvino")


@dataclass(frozen=True, eq=False)
class Peer:
    """A loaded engine to compare with.

    Attributes:
        name: That of the engine, or "folder:artifact"; with the folder's path where two folders
            have one name.
        runner: Its runner.
        answers: To the inputs that it was tried with.
        own: Whether it runs the bundle's network, and not another bundle's.
        warnings: Of another bundle's engine, and how that bundle differs.
    """

    name: str
    runner: Runner
    answers: Outputs
    own: bool
    warnings: tuple[str, ...] = ()


def peers_of(given: str) -> list[str]:
    """Return the peers in a comma-separated list, each once.

    Raises:
        UsageError: One is neither an engine nor a path, "BUNDLE" or "BUNDLE:ARTIFACT".
    """
    words = [word.strip() for word in given.split(",") if word.strip()]
    for word in words:
        if word not in ENGINES and _path(word) is None:
            raise UsageError(
                f"{word!r} is neither an engine nor a bundle's folder",
                where="--against",
                do=f"choose from {', '.join(ENGINES)}, or give a folder, or folder:artifact",
            )
    return list(dict.fromkeys(words))


def load_peers(
    bundle: Bundle,
    words: Sequence[str],
    ask: Callable[[Runner], Outputs],
    *,
    threads: int | None,
    left_out: Callable[[str], None],
) -> list[Peer]:
    """Load and try peers, and leave out those that cannot run.

    Args:
        bundle: What they are compared with.
        words: From `peers_of`.
        ask: Tries an engine, which may fail at its first inference: torch then compiles.
        threads: CPU threads; None: the engine chooses.
        left_out: Called with a line for each that cannot run: the reason, and what to do.
    """
    found: dict[str, Peer] = {}
    for word in words:
        try:
            if word in ENGINES:
                runner = _engine(bundle, word, threads)
                found[word] = Peer(word, runner, ask(runner), own=True)
            else:
                peer = _of_bundle(bundle, word, found, ask, threads)
                found[peer.name] = peer
        except DarnetError as error:
            left_out(f"{word} left out: {error}")
        except Exception as error:  # other libraries fail in their own ways
            reason = one_line(str(error).strip().partition("\n")[0])
            left_out(f"{word} left out: {type(error).__name__}: {reason}")
    return list(found.values())


def _engine(bundle: Bundle, name: str, threads: int | None) -> Runner:
    """Load the bundle's network in another engine; every bundle has its float32 ONNX file."""
    model = verified_file(bundle, MODEL_FILE)
    if name == "onnxruntime":
        from darnet_trt.runtime.engines.onnxruntime.runner import OnnxRuntimeRunner

        return OnnxRuntimeRunner(model, threads=threads)
    if name == "openvino":
        return _openvino(model, threads)
    from darnet_trt.export.gates.reference import Mode, TorchRunner

    modes: dict[str, Mode] = {"torch-compile": "compiled", "torch-fused": "fused"}
    return TorchRunner.from_onnx(model, threads=threads, mode=modes.get(name, "eager"))


def _openvino(model: Path, threads: int | None) -> Runner:
    from darnet_trt.runtime.engines.openvino.conversion import build_openvino
    from darnet_trt.runtime.engines.openvino.runner import OpenVINORunner

    require_packages("onnx", extra="train")
    import onnx

    from darnet_trt.kernels.onnx_inline import inlined

    # The bundle may not have been built for OpenVINO.
    with TemporaryDirectory(dir=temporary_folder()) as folder:
        xml, _ = build_openvino(inlined(onnx.load(model)), Path(folder))
        return OpenVINORunner(xml, precision=None, threads=threads)


def _path(word: str) -> tuple[Path, str | None] | None:
    """Return the folder and the artifact that a word names."""
    folder, colon, artifact = word.rpartition(":")
    if Path(word).exists():
        return Path(word), None
    return (Path(folder), artifact) if colon and Path(folder).exists() else None


def _of_bundle(
    bundle: Bundle,
    word: str,
    taken: Container[str],
    ask: Callable[[Runner], Outputs],
    threads: int | None,
) -> Peer:
    path, artifact = _path(word) or (Path(word), None)
    other = open_bundle(path)
    _check_fits(bundle, other)
    engine = load_engine(other, artifact, threads=threads)
    short, long = (f"{folder}:{engine.artifact.name}" for folder in (path.resolve().name, path))
    warnings = [str(warning) for warning in engine.warnings]
    ours, theirs = (one.manifest.preprocessing for one in (bundle, other))
    if ours != theirs:
        differs = [name for name, value in theirs if value != getattr(ours, name)]
        warnings.append(
            f"{other.path} prepares scans in another way ({', '.join(differs)}), but answers the "
            f"inputs of {bundle.path} here"
        )
    return Peer(
        long if short in taken else short,
        engine.runner,
        ask(engine.runner),
        own=False,
        warnings=tuple(warnings),
    )


def _check_fits(bundle: Bundle, other: Bundle) -> None:
    """Refuse a bundle with which neither times nor answers can be compared."""
    sizes = ["×".join(map(str, one.manifest.preprocessing.size)) for one in (bundle, other)]
    classes = [", ".join(one.manifest.classes) for one in (bundle, other)]
    for what, (ours, theirs) in (("takes inputs of", sizes), ("has the classes", classes)):
        if ours != theirs:
            raise BundleError(f"it {what} {theirs}, {bundle.path} {ours}", where=other.path)
