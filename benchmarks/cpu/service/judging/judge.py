"""Judge whether every acknowledged file is in exactly one standing result."""

from __future__ import annotations

import io
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom

from benchmarks.cpu.service.orthanc import Orthanc
from benchmarks.cpu.service.senders.studies import KINDS, Instance
from benchmarks.cpu.service.server import Server

Json = dict[str, Any]
SR = "1.2.840.10008.5.1.4.1.1.88.34"


@dataclass(frozen=True)
class Report:
    """A structured report in the archive.

    Attributes:
        uid: SOPInstanceUID (0008,0018).
        study: StudyInstanceUID (0020,000D).
        evidence: SOPInstanceUID of each file that it names as evidence.
        replaced: The same of each report that it replaces.
    """

    uid: str
    study: str
    evidence: frozenset[str]
    replaced: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Found:
    """Hold what the service and the archive say at the end.

    Attributes:
        studies: Of each its view, as the HTTP door gives it.
        instances: Of each study's name: what became of each of its files, as the door gives it.
        ledgers: The same, from the files in the state folder.
        lines: All lines of results.jsonl.
        reports: The structured reports that the archive holds.
    """

    studies: Sequence[Json]
    instances: Mapping[str, Sequence[Json]]
    ledgers: Mapping[str, Sequence[Json]]
    lines: Sequence[Json]
    reports: Sequence[Report]


def ask(server: Server, archive: Orthanc | None) -> Found:
    """Ask the doors of a service, read its files, and read the reports of the archive."""
    studies = server.studies()
    return Found(
        studies,
        {each["id"]: instances_of(server, each["id"]) for each in studies},
        {file.stem: _ledger(file) for file in (server.state / "ledgers").glob("*.json")},
        [
            json.loads(line)
            for line in (server.state / "results" / "results.jsonl").read_bytes().splitlines()
        ],
        _reports(archive) if archive else [],
    )


def instances_of(server: Server, study: str) -> list[Json]:
    """Return what became of each file of a study, as the HTTP door gives it."""
    found: list[Json] = server.get(f"/v1/scans/{study}/instances")["instances"]
    return found


def _ledger(file: Path) -> list[Json]:
    return list(json.loads(file.read_bytes().splitlines()[1]).values())


def _reports(archive: Orthanc) -> list[Report]:
    found = []
    for each in archive.get("/instances?expand"):
        ds = pydicom.dcmread(io.BytesIO(archive.read(f"/instances/{each['ID']}/file")))
        if ds.SOPClassUID == SR and "CurrentRequestedProcedureEvidenceSequence" in ds:
            found.append(
                Report(
                    str(ds.SOPInstanceUID),
                    str(ds.StudyInstanceUID),
                    _named(ds.CurrentRequestedProcedureEvidenceSequence),
                    _named(ds.get("PredecessorDocumentsSequence", ())),
                )
            )
    return found


def _named(studies: Iterable[Any]) -> frozenset[str]:
    return frozenset(
        str(item.ReferencedSOPInstanceUID)
        for study in studies
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    )


def faults(acknowledged: Iterable[Instance], found: Found, *, sent: bool) -> list[str]:
    """Return every way in which the promise is broken; none: it holds.

    Args:
        acknowledged: Each file that was acknowledged, once.
        found: What the service says.
        sent: Whether the standing reports must be in the archive.
    """
    return [
        *_of_files(acknowledged, found),
        *standing_faults(found),
        *(_of_reports(found) if sent else ()),
    ]


def standing_faults(found: Found) -> list[str]:
    """Return where what the doors say and what the files say do not fit together."""
    return [*_of_views(found), *_of_ledgers(found), *_of_lines(found)]


def _of_files(acknowledged: Iterable[Instance], found: Found) -> Iterable[str]:
    contents: dict[str, set[str]] = defaultdict(set)
    for instance in acknowledged:
        contents[instance.sop_uid].add(instance.digest)
    listed = Counter(each["sop_uid"] for entries in found.instances.values() for each in entries)
    for uid, own in contents.items():
        if listed[uid] < len(own):
            yield f"lost: {uid} was acknowledged with {len(own)} contents, {listed[uid]} are listed"
        elif listed[uid] > len(own):
            yield f"twice: {uid} is listed {listed[uid]} times, {len(own)} were acknowledged"
    for uid in listed.keys() - contents.keys():
        yield f"not ours: {uid} is listed, and was never acknowledged"


def _of_views(found: Found) -> Iterable[str]:
    keys = Counter(result["key"] for study in found.studies for result in study["results"])
    yield from (f"result {key} stands in {n} studies" for key, n in keys.items() if n > 1)
    for study in found.studies:
        name, entries = study["id"], found.instances[study["id"]]
        if study["state"] != "done":
            yield f"study {name} is {study['state']}: {study['error']}"
        fates = Counter(each["fate"] for each in entries)
        counts = {"used": study["used"], "left out": study["left_out"], "refused": study["refused"]}
        if {fate: fates[fate] for fate in counts} != counts or study["received"] != len(entries):
            yield f"study {name} counts {counts} of {study['received']}, its files are {fates}"
        own = {result["key"] for result in study["results"]}
        for each in entries:
            if each["result"] not in own:
                yield f"{each['sop_uid']} is in result {each['result']!r}, which does not stand"
            if (each["fate"] == "used") == bool(each["why"]):
                yield f"{each['sop_uid']} is {each['fate']} because {each['why']!r}"
        classified = {result["key"] for result in study["results"] if result["status"] == "ok"}
        for key in {each["result"] for each in entries if each["fate"] == "used"} ^ classified:
            yield f"result {key}: classified without used files, or the other way round"


def _of_ledgers(found: Found) -> Iterable[str]:
    for study, entries in found.instances.items():
        if _sorted(entries) != _sorted(found.ledgers.get(study, ())):
            yield f"study {study}: its ledger does not say what the door says"
    for study in found.ledgers.keys() - found.instances.keys():
        yield f"study {study} has a ledger, and the door does not show it"


def _sorted(entries: Iterable[Json]) -> list[str]:
    return sorted(json.dumps(each, sort_keys=True) for each in entries)


def _of_lines(found: Found) -> Iterable[str]:
    last = {line["key"]: line for line in found.lines}
    for study in found.studies:
        for result in study["results"]:
            line = last.get(result["key"])
            if line is None or line["content"] != result["content"]:
                yield f"result {result['key']} is not the last of its key in results.jsonl"


def _of_reports(found: Found) -> Iterable[str]:
    held = Counter(report.uid for report in found.reports)
    evidence = {report.uid: report.evidence for report in found.reports}
    replaced = {uid for report in found.reports for uid in report.replaced}
    yield from (f"report {uid} is in the archive {n} times" for uid, n in held.items() if n > 1)
    standing = set()
    for study in found.studies:
        for result in study["results"]:
            standing |= {made["sop_uid"] for made in result["dicom"]}
            own = [made["sop_uid"] for made in result["dicom"] if made["kind"] == "sr"]
            if result["status"] != "ok":
                continue
            if len(own) != 1 or not held[own[0]]:
                yield f"result {result['key']}: its report {own} is not in the archive"
                continue
            used = {
                each["sop_uid"]
                for each in found.instances[study["id"]]
                if each["fate"] == "used" and each["result"] == result["key"]
            }
            if used != evidence[own[0]]:
                differ = len(used ^ evidence[own[0]])
                yield f"result {result['key']}: {differ} files differ between used and evidence"
    for uid in held.keys() - standing - replaced:
        yield f"report {uid} does not stand, and no report in the archive replaces it"


def unexpected(studies: Sequence[Sequence[Instance]], found: Found) -> list[str]:
    """Return each study whose files did not become what studies of its kind must.

    Of the kinds that are not named here, what comes first decides what becomes of the others.
    """
    fates: dict[str, Counter[str]] = defaultdict(Counter)
    for study in found.studies:
        for result in study["results"]:
            fates[result["study_uid"]].update(e["fate"] for e in found.instances[study["id"]])
    wrong = []
    for instances in studies:
        kind, files = KINDS[instances[0].study % len(KINDS)], len(instances)
        own = fates[instances[0].study_uid]
        expected = {
            "chest": {"used": files},
            "localizers": {"used": files - files // 10, "left out": files // 10},
        }.get(kind)
        if (expected and own != expected) or (kind == "no spacing" and own["used"]):
            wrong.append(f"study {instances[0].study} ({kind}): {dict(own)}, not {expected}")
    return wrong
