"""The fused attention tail against torch and against the memory's speed.

    python -m benchmarks.attention.run [--batch 1,4,8] [--rounds 20] [--limit S] [-o FILE]

On a GPU, for the four stages of the paper's network: bytes/s of each phase against copies that move
as many bytes, and the fused tail against torch eager and torch.compile running the paper's layers,
and against the sum of its own phases. Needs torch and nvcc.

How it is measured: whatever is compared takes turns, `--rounds` times, and medians and their ratios
are printed. One turn replays a CUDA graph that lasts a millisecond or longer and is in the queue
before its time begins, so that no launch is in it: torch eager is measured at its best, too
(cuda_timing.py). The graph goes through sets of maps, weights and workspace that are together far
larger than the L2 cache, so that no run finds its input there; within one run of the tail the
second pass may find what the first one left, as in the network. Copies are torch's cudaMemcpyAsync
and a kernel of its own that reads and writes 16 bytes a thread; the faster one counts
(tail.py). After its turns every result is compared with the paper's layers in float32.
Torch has no int8 tail: int8 is compared with copies alone.

FILE is written anew after each row, and what fails is said in its place. Without a GPU it says so
and prints bytes and launches from the source's own accounting.

Exit code 0: all targets were reached; 3: one was missed; 4: none was missed, but not all could be
measured; 2: it could not begin.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.attention.accounting import accounting, accounting_table
from benchmarks.attention.measure import measure_all, measure_on_gpu
from benchmarks.attention.tables import MISSED, NOT_MEASURED, Row, report, targets
from benchmarks.attention.traffic import KINDS, STAGES
from darnet_trt.errors import DarnetError
from darnet_trt.kernels.build import build_library
from darnet_trt.kernels.library import Library, architecture

NOT_BEGUN = 2
TARGET_MISSED = 3
TARGET_NOT_MEASURED = 4


def verdict(judged: list[dict[str, Any]]) -> int:
    """The exit code."""
    verdicts = {target["verdict"] for target in judged}
    if MISSED in verdicts:
        return TARGET_MISSED
    return TARGET_NOT_MEASURED if NOT_MEASURED in verdicts else 0


def write_whole(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file; who is stopped meanwhile leaves the one before."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(content, indent=2) + "\n")
    partial.replace(path)


def batch_list(text: str) -> list[int]:
    """ "1,4,8"."""
    batches = [int(batch) if batch.isdecimal() else 0 for batch in text.split(",")]
    if min(batches) < 1:
        raise argparse.ArgumentTypeError(f"expected numbers as 1,4,8, found {text!r}")
    return batches


def gpu_name() -> str | None:
    """Of the GPU that torch sees."""
    try:
        import torch
    except ImportError:
        return None
    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def main() -> int:
    """Measure, or account."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--batch", type=batch_list, default=[1, 4, 8], help="comma-separated")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--limit", type=float, default=math.inf, help="seconds to begin rows in")
    parser.add_argument("-o", "--out", type=Path, help="write everything as JSON")
    arguments = parser.parse_args()
    content: dict[str, Any] = {"gpu": gpu_name()}
    try:
        if arguments.out is not None:
            write_whole(arguments.out, content)  # what cannot be written is told before measuring
        if content["gpu"] is None:
            text = account(content, arguments.batch)
        else:
            text = measure_here(content, arguments)
    except (DarnetError, OSError) as error:
        print(f"attention: {error}", file=sys.stderr)
        return NOT_BEGUN
    if arguments.out is not None:
        write_whole(arguments.out, content)
    print(text)
    return verdict(content.get("targets", []))


def account(content: dict[str, Any], batches: list[int]) -> str:
    """Fill in what needs no GPU."""
    content["accounting"] = accounting(Library(build_library("cpu")), batches)
    return (
        "No NVIDIA GPU that torch sees: nothing is measured. Bytes that must cross the memory bus, "
        "from\nthe kernels' own accounting and, counted the same way, for the paper's layers "
        "unfused.\n\n" + accounting_table(content["accounting"])
    )


def measure_here(content: dict[str, Any], arguments: argparse.Namespace) -> str:
    """Fill in what is measured, row by row."""
    import torch

    from darnet_trt.kernels.torch_operator import kernels_for

    build_library("cuda", [architecture(torch.cuda.get_device_capability())])
    library = kernels_for(torch.device("cuda", torch.cuda.current_device()))  # the operator's, too
    if library is None:
        raise DarnetError("the kernels that were built do not run on this GPU")
    batches = arguments.batch
    content |= {
        "torch": torch.__version__,
        "rounds": arguments.rounds,
        "l2_bytes": torch.cuda.get_device_properties(torch.cuda.current_device()).L2_cache_size,
    }

    def write(rows: list[Row]) -> None:
        content.update(rows=rows, targets=targets(rows, batches))
        if arguments.out is not None:
            write_whole(arguments.out, content)
        torch.cuda.empty_cache()

    # What says most comes first: a limit may leave no time for the rest.
    cases = [(kind, batch, stage) for batch in batches for kind in KINDS for stage in STAGES]
    one = partial(measure_on_gpu, library, arguments.rounds)
    measure_all(cases, one, write, arguments.limit)
    return report(content)


if __name__ == "__main__":
    sys.exit(main())
