"""Compare the fused attention tail with torch and with the memory's speed.

    python -m benchmarks.attention.run [--batch 1,4,8] [--rounds 20] [--limit S] [--before OLD]
        [-o FILE]

On a GPU, for the four stages of the paper's network: bytes/s of each phase against copies that move
as many bytes, and the fused tail against torch eager and torch.compile running the paper's layers,
and against the sum of its own phases. Needs torch and nvcc.

How it is measured (cuda_timing.py, tail.py): what is compared takes turns, `--rounds` times, and
medians and their ratios are printed. One turn replays a CUDA graph of a millisecond or more that is
queued before its time begins, so no launch is in it, not in torch eager's either. The graph goes
through sets of maps, weights and workspace that are together far larger than the L2 cache, so that
no run finds its input there; within one run of the tail the second pass may find what the first one
left, as in the network. Copies are torch's cudaMemcpyAsync and a torch kernel that reads and writes
16 bytes a thread; the faster one counts. After its turns every result is compared with the paper's
layers in float32. Torch has no int8 tail: int8 is compared with copies alone.

To compare with an earlier form of the kernels, run the benchmark at its commit with -o (the last
with three launches is 6bfca65), then here with --before and that file: the report has both times.

FILE is rewritten after each row; a row that fails holds the reason. Without a GPU the script prints
bytes and launches from the source's own accounting.

Exit code 0: all targets were reached; 3: one was missed; 4: none was missed, but not all could be
measured; 2: the benchmark could not begin.
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
from darnet_trt.errors import DarnetError, UsageError
from darnet_trt.kernels.build import build_library
from darnet_trt.kernels.library import Library, architecture

NOT_BEGUN = 2
TARGET_MISSED = 3
TARGET_NOT_MEASURED = 4


def verdict(judged: list[dict[str, Any]]) -> int:
    """Return the exit code."""
    verdicts = {target["verdict"] for target in judged}
    if MISSED in verdicts:
        return TARGET_MISSED
    return TARGET_NOT_MEASURED if NOT_MEASURED in verdicts else 0


def write_whole(path: Path, content: dict[str, Any]) -> None:
    """Replace a JSON file; if this is stopped meanwhile, the previous file stays."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(content, indent=2) + "\n")
    partial.replace(path)


def batch_list(text: str) -> list[int]:
    """Parse "1,4,8"."""
    batches = [int(batch) if batch.isdecimal() else 0 for batch in text.split(",")]
    if min(batches) < 1:
        raise argparse.ArgumentTypeError(f"expected numbers as 1,4,8, found {text!r}")
    return batches


def rows_before(path: Path) -> list[Row]:
    """Return the rows of an earlier run's file."""
    try:
        return list(json.loads(path.read_text())["rows"])
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            "holds no measured rows", where=path, do="give the -o file of a run on a GPU"
        ) from error


def gpu_name() -> str | None:
    """Return the name of the GPU that torch sees."""
    try:
        import torch
    except ImportError:
        return None
    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def main() -> int:
    """Measure on a GPU; without one, count bytes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--batch", type=batch_list, default=[1, 4, 8], help="comma-separated")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--limit", type=float, default=math.inf, help="seconds to begin rows in")
    parser.add_argument("--before", type=Path, help="the -o file of an earlier run")
    parser.add_argument("-o", "--out", type=Path, help="write everything as JSON")
    arguments = parser.parse_args()
    content: dict[str, Any] = {"gpu": gpu_name()}
    try:
        if arguments.before is not None:
            content["before"] = rows_before(arguments.before)
        if arguments.out is not None:
            write_whole(arguments.out, content)  # fails now, not after measuring
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
    """Count bytes and launches into `content`; return the text to print."""
    content["accounting"] = accounting(Library(build_library("cpu")), batches)
    return (
        "No NVIDIA GPU that torch sees: nothing is measured. Bytes that must cross the memory bus, "
        "from\nthe kernels' own accounting and, counted the same way, for the paper's layers "
        "unfused.\n\n" + accounting_table(content["accounting"])
    )


def measure_here(content: dict[str, Any], arguments: argparse.Namespace) -> str:
    """Measure row by row into `content`; return the text to print."""
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

    # The most important first: a limit may leave no time for the rest.
    cases = [(kind, batch, stage) for batch in batches for kind in KINDS for stage in STAGES]
    one = partial(measure_on_gpu, library, arguments.rounds)
    measure_all(cases, one, write, arguments.limit)
    return report(content)


if __name__ == "__main__":
    sys.exit(main())
