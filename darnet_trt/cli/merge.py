"""`darnet-trt merge`: join result folders into one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from darnet_trt.cli.printing import say, warn

if TYPE_CHECKING:
    from darnet_trt.runtime.prediction.shards.merge import Merged
    from darnet_trt.runtime.prediction.shards.shard import Shard

_LISTED = 8


def merge(
    out: Annotated[
        Path, typer.Argument(help="Folder to write into; made where absent.", show_default=False)
    ],
    shards: Annotated[
        list[Path],
        typer.Argument(
            metavar="SHARD",
            help="Folders that predict wrote: of shards (--shard), or of whole runs. They stay as "
            "they are.",
            show_default=False,
        ),
    ],
    parquet: Annotated[bool, typer.Option("--parquet", help="Write results.parquet, too.")] = False,
) -> None:
    """Join the results of shards into one folder, and check that they belong together.

    All must be of one engine of one bundle, and all with or all without --identifiers. A study
    with the same files in several folders is taken once. One whose files lie in several shards is
    an error that names it: classify it whole into a folder of its own, and join that, too; results
    of folders that are no shards stand in place of the shards'. Exit code 0: joined; 1: joined, but
    shards are missing or have not come to their end; 2: nothing was written.
    """
    from darnet_trt.cli.output_folder import refuse_bundle_or_cohort
    from darnet_trt.runtime.prediction.results.tables import CSV
    from darnet_trt.runtime.prediction.shards.merge import merge as join

    refuse_bundle_or_cohort(out)
    merged = join(out, shards, parquet=parquet)
    say(f"results: {out / CSV}; {tally(merged)}")
    if warn_of_shards(merged):
        raise typer.Exit(1)


def tally(merged: Merged) -> str:
    """Return how many results were joined: "12 scans: 10 ok, 2 refused"."""
    count = merged.statuses.total()
    listed = [f"{merged.statuses[s]:,} {s}" for s in ("ok", "refused", "failed")]
    listed = [part for part in listed if not part.startswith("0 ")]
    again = f"; {merged.repeated:,} in several folders" if merged.repeated else ""
    return f"{count:,} scan{'s' * (count != 1)}: {', '.join(listed)}{again}"


def warn_of_shards(merged: Merged) -> bool:
    """Say which shards are missing or have not come to their end; return whether there are any."""
    if merged.missing:
        warn(f"warning: missing: {_listed(merged.missing)}; run predict with each, and join again")
    if merged.unended:
        warn(
            f"warning: not at their end: {_listed(merged.unended)}; continue each with --resume, "
            "and join again"
        )
    return bool(merged.missing or merged.unended)


def _listed(shards: Sequence[Shard]) -> str:
    from darnet_trt.runtime.prediction.shards.shard import named

    more = f" and {len(shards) - _LISTED} more" if len(shards) > _LISTED else ""
    return f"shard {', '.join(map(named, shards[:_LISTED]))}{more}"
