"""Load what `bench --against` measures beside a bundle's engines."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from darnet_trt.cli.printing import say, warn

if TYPE_CHECKING:
    from darnet_trt.bundle.reading import Bundle
    from darnet_trt.runtime.bench.against.fidelity import Compared
    from darnet_trt.runtime.engines.loading import Engine
    from darnet_trt.runtime.engines.runner import Outputs, Runner


def compare(
    bundle: Bundle,
    engines: list[Engine],
    words: list[str],
    scan: Path | None,
    threads: int | None,
    *,
    no_cuda_graph: bool,
) -> tuple[dict[str, Runner], Compared]:
    """Load the peers, and let all engines answer the same inputs; a single engine answers none."""
    from darnet_trt.export.peers import load_peers
    from darnet_trt.runtime.bench.against.fidelity import Compared, compare_answers, questions
    from darnet_trt.runtime.bench.file_to_result.from_file import FromFile

    if len(engines) == 1 and not words:
        return {}, Compared()
    asked = questions(
        bundle, None if scan is None else FromFile("", bundle, scan, engines[0]).input()
    )
    say(f"first all engines answer the same inputs: {asked.source}")
    answers = {engine.artifact.name: asked.ask(engine.runner) for engine in engines}

    def ask(runner: Runner) -> Outputs:
        if no_cuda_graph:
            _without_graphs(runner)
        return asked.ask(runner)

    left_out: list[str] = []
    peers = load_peers(bundle, words, ask, threads=threads, left_out=left_out.append)
    for line in (*left_out, *(f"warning: {said}" for peer in peers for said in peer.warnings)):
        warn(line)
    if len(engines) == 1 and not peers:
        return {}, Compared(left_out=tuple(left_out))
    own = [(engine.artifact.name, engine.runner) for engine in engines]
    own += [(peer.name, peer.runner) for peer in peers if peer.own]
    about, fidelity = compare_answers(
        asked,
        answers | {peer.name: peer.answers for peer in peers},
        [name for name, runner in own if runner.precision == "fp32"],
    )
    warnings = {peer.name: peer.warnings for peer in peers}
    runners = {peer.name: peer.runner for peer in peers}
    return runners, Compared(about, fidelity, warnings, tuple(left_out))


def without_graphs(engines: Iterable[Engine]) -> None:
    """Turn the CUDA graphs of plans off, before they run; warn of engines that have none."""
    others = dict.fromkeys(
        engine.artifact.name for engine in engines if not _without_graphs(engine.runner)
    )
    if others:
        warn(f"--no-cuda-graph changes nothing for {', '.join(others)}: only plans have graphs")


def _without_graphs(runner: Runner) -> bool:
    """Turn the CUDA graphs of a plan off; return whether it is a plan."""
    from darnet_trt.runtime.engines.tensorrt.runner import TensorRTRunner

    if not isinstance(runner, TensorRTRunner):
        return False
    runner.without_graphs()
    return True
