"""A bundle's engines as a table, for `build` and `bundle show`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from darnet_trt.cli.printing import print_line, print_table

if TYPE_CHECKING:
    from darnet_trt.bundle.manifest import Artifact, Decisions, Manifest, Parity

PARITY: Final = ("flips", "probability", "logits", "map", "features")


def parity_cells(parity: Parity | None) -> list[str]:
    """Return the cells under `PARITY`."""
    if parity is None:
        return ["-"] * len(PARITY)
    errors = (
        parity.max_probability_difference,
        parity.max_logits_error,
        parity.max_cam_error,
        parity.max_features_error,
    )
    cells = ("-" if error is None else f"{error:.1e}" for error in errors)
    return [f"{parity.class_flips} of {parity.scans}", *cells]


def print_engines(folder: Path, manifest: Manifest) -> None:
    """Print one row for each engine, then the default and what else is known of each engine."""
    rejected = {artifact.name for artifact in manifest.rejected}
    engines = (*manifest.artifacts, *manifest.rejected)
    rows = (
        [
            a.name,
            a.effective_precision or a.precision,
            a.target,
            "-" if a.name in rejected else _size(folder, a),
            "-" if a.latency_ms is None else f"{a.latency_ms:.1f}",
            *parity_cells(a.parity),
            _gates(a, rejected=a.name in rejected),
        ]
        for a in engines
    )
    print_table(("engine", "runs in", "target", "size", "ms/volume", *PARITY, "gates"), rows)
    for line in (_default(manifest), *(line for a in engines for line in _remarks(a))):
        print_line(line)


def _size(folder: Path, artifact: Artifact) -> str:
    files = [folder / name for name in artifact.files]
    return f"{sum(f.stat().st_size for f in files if f.exists()) / 1e6:.1f} MB"


def _gates(artifact: Artifact, *, rejected: bool) -> str:
    if rejected:
        return "rejected"
    if artifact.accepted is not None:
        return "failed, accepted"
    return "passed" if artifact.executed else "not run"


def _default(manifest: Manifest) -> str:
    if manifest.default is None:
        return "default: none: no engine passed the checks on the machine that built the bundle"
    chosen = next(a for a in manifest.artifacts if a.name == manifest.default)
    passed = [a for a in manifest.artifacts if a.latency_ms is not None]
    fastest = all((chosen.latency_ms or 0) <= (a.latency_ms or 0) for a in passed)
    why = "the fastest" if fastest else "the fastest that may be chosen automatically"
    return f"default: {chosen.name}, {why}"


def _remarks(artifact: Artifact) -> list[str]:
    """List the notes, the gates' findings and what a plan runs, one line each."""
    from darnet_trt.bundle.trust import failed_gates
    from darnet_trt.export.tensorrt.layer_table import described

    lines = [*artifact.notes, *failed_gates(artifact)]
    if artifact.accepted is not None:
        lines.append(f"accepted by {artifact.accepted}")
    if artifact.decisions is not None:
        found = artifact.decisions
        lines += [*_decisions(found), *found.reserves, *found.notes]
    if artifact.plan is not None:
        lines += described(artifact.plan)
    said: list[str] = []
    for line in lines:
        if not any(line in other for other in said):  # a note repeats the reason it is for
            said.append(line)
    return [f"{artifact.name}: {line}" for line in said]


def _decisions(found: Decisions) -> Iterator[str]:
    """List the decision gate's findings, one line each."""
    yield f"decision gate, judged on {found.judges}"
    yield (
        f"{found.class_flips} of {found.scans} scans changed class; with {found.confidence}, at "
        f"most {100 * found.flips_at_most:.1f} % of new scans would"
    )
    yield f"probabilities moved by at most {found.max_probability_drift:.2g}"
    for name, metric in (("AUC", found.auc), ("accuracy", found.accuracy)):
        if metric is not None:
            yield (
                f"{name} from {metric.reference:.3f} to {metric.candidate:.3f}; 95 % interval of "
                f"the change {metric.lower:+.3f} to {metric.upper:+.3f}"
            )
