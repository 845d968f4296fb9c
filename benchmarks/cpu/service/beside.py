"""Count what becomes of acknowledged slices at Orthanc, whose stable-study hook begins a job.

    python -m benchmarks.cpu.service.beside [--short] [--seed 0]

The same studies, senders and kills as in `benchmarks.cpu.service.promise`. A script in Lua, which
Orthanc calls when a study was quiet for StableAge, writes down the instances that the study has:
that is the job that a classifier would be given. An instance in no job is lost to it; one in two
is classified twice.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.cpu.service.ending.kills import LONG, SHORT, Size, send_and_kill
from benchmarks.cpu.service.orthanc import Orthanc
from benchmarks.cpu.service.senders.dicom import Acknowledged
from darnet_trt.machine.cpus import usable_cpus
from darnet_trt.machine.hardware import cpu

_HOOK = """
function OnStableStudy(study, tags, metadata)
  local held = ParseJson(RestApiGet('/studies/' .. study .. '/instances'))
  local found = {}
  for _, instance in ipairs(held) do
    table.insert(found, '"' .. instance['MainDicomTags']['SOPInstanceUID'] .. '"')
  end
  local file = io.open('%s', 'a')
  file:write('{"study":"' .. tags['StudyInstanceUID'] .. '","instances":['
    .. table.concat(found, ',') .. ']}\\n')
  file:close()
end
"""


@dataclass
class OrthancWithHook:
    """Orthanc as a receiver that is killed and started again."""

    folder: Path
    quiet_s: float
    archive: Orthanc = field(init=False)

    def __post_init__(self) -> None:
        self.archive = Orthanc(self.folder)

    @property
    def port(self) -> int:
        """Return its DICOM port."""
        return self.archive.dicom

    @property
    def jobs(self) -> list[dict[str, Any]]:
        """Return what the hook wrote down."""
        file = self.folder / "jobs"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def start(self) -> None:
        """Start it, with what it holds."""
        self.folder.mkdir(parents=True, exist_ok=True)
        script = self.folder / "hook.lua"
        script.write_text(_HOOK % (self.folder / "jobs"))
        self.archive.start(LuaScripts=[str(script)], StableAge=round(self.quiet_s))

    def kill(self) -> None:
        """End it by SIGKILL."""
        self.archive.stop()


@dataclass(frozen=True)
class Jobs:
    """Count the jobs that acknowledged instances are in.

    Attributes:
        acknowledged: Instances (by SOPInstanceUID) that were acknowledged.
        held: Of these, those that Orthanc holds at the end.
        times: In how many jobs → how many instances.
        studies: Jobs of a study → how many studies.
        last: Instances that are in the last job of their study.
    """

    acknowledged: int
    held: int
    times: Counter[int]
    studies: Counter[int]
    last: int


def count(done: Acknowledged, receiver: OrthancWithHook) -> Jobs:
    """Count jobs once no new one comes."""
    jobs = receiver.jobs
    limit = time.monotonic() + 60
    while time.monotonic() < limit:
        time.sleep(3 * receiver.quiet_s + 2)
        before, jobs = jobs, receiver.jobs
        if len(before) == len(jobs):
            break
    sent = set(done.contents())
    times = Counter(dict.fromkeys(sent, 0))
    last: dict[str, set[str]] = {}
    for job in jobs:
        times.update(sent & set(job["instances"]))
        last[job["study"]] = set(job["instances"])
    studies = Counter({instance.study_uid: 0 for instance in done.times})
    studies.update(job["study"] for job in jobs)
    return Jobs(
        len(sent),
        len(sent & set(receiver.archive.instances())),
        Counter(times.values()),
        Counter(studies.values()),
        len(sent & set().union(*last.values())),
    )


def run(size: Size, folder: Path, seed: int) -> tuple[Acknowledged, Jobs]:
    """Send, kill, and count."""
    receiver = OrthancWithHook(folder / "orthanc", size.quiet_s)
    receiver.start()
    try:
        done = send_and_kill(receiver, size, seed, called="ORTHANC")
        return done, count(done, receiver)
    finally:
        receiver.kill()


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="4 studies of 30 slices, 3 kills")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    size = SHORT if given.short else LONG
    with TemporaryDirectory() as name:
        done, jobs = run(size, Path(name), given.seed)
    print(size)
    print(f"{os.getloadavg()[0]:.1f} load; {usable_cpus()} cores of {cpu().name}")
    print(f"answers: {dict(done.answers)}")
    print(f"acknowledged instances: {jobs.acknowledged}, held by Orthanc: {jobs.held}")
    for number in range(3):
        many = "2 or more" if number == 2 else str(number)
        found = sum(n for k, n in jobs.times.items() if k == number or (number == 2 and k > 2))
        studies = sum(n for k, n in jobs.studies.items() if k == number or (number == 2 and k > 2))
        print(f"in {many} jobs: {found} instances; {studies} studies with so many jobs")
    print(f"in the last job of their study: {jobs.last}")


if __name__ == "__main__":
    main()
