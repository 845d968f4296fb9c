"""Fuzz both doors of a running service, and print a line of verdict each.

    python -m tests.runtime.serving.fuzz.run [--count 3000] [--seed 0] [--bundle BUNDLE]

No answer may be of 500 and above, nothing may end the service, and stderr may hold no traceback. At
the end the service must be ready, every study done, and its ledgers must say what its doors say.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.cpu.service.judging.judge import ask, standing_faults
from benchmarks.cpu.service.senders.dicom import Timeline, send_all
from benchmarks.cpu.service.senders.studies import make_studies
from benchmarks.cpu.service.server import Server, running
from benchmarks.cpu.service.soak import quiet
from darnet_trt.bundle.reading import open_bundle
from tests.runtime.serving.fuzz.dicom_door import fuzz_dicom
from tests.runtime.serving.fuzz.http_door import Verdict, fuzz_http
from tests.tiny_bundle import write_bundle

SETTLES_S = 300


def fuzz(bundle: Path, folder: Path, seeds: range, *, document_s: int = 0) -> list[Verdict]:
    """Fuzz both doors, and judge what is left.

    Args:
        bundle: What is served.
        folder: For all that is written.
        seeds: One a request, and one an association.
        document_s: How long schemathesis makes requests of the OpenAPI document; 0: not at all.
    """
    studies = make_studies(7, 30)[::5]  # one is classified, one is refused
    slices = [each.content for each in studies[0][:4]]
    manifest = open_bundle(bundle).manifest
    with running(bundle, folder, "--settle", 1) as server:
        send_all(Timeline((0, each) for study in studies for each in study), server.dicom)
        assert quiet(server, time.monotonic() + SETTLES_S)
        model = server.model
        verdicts = [
            fuzz_http(server, model, manifest.preprocessing.size, slices, seeds),
            fuzz_dicom(server, slices, seeds),
        ]
        if document_s:
            verdicts.append(fuzz_document(server, document_s, seeds.start))
        verdicts.append(judged(server))
    return verdicts


def fuzz_document(server: Server, seconds: int, seed: int) -> Verdict:
    """Let schemathesis make requests of the OpenAPI document.

    A fault is an answer of 500 and above, and one that the document does not describe. It can make
    neither the bodies of STOW-RS nor answers without an end.
    """
    verdict = Verdict("schemathesis")
    command = [
        sys.executable, "-m", "schemathesis.cli", "run",
        f"http://127.0.0.1:{server.http}/openapi.json", "--checks",
        "not_a_server_error,status_code_conformance,content_type_conformance,"
        "response_schema_conformance",
        "--seed", str(seed), "--max-time", str(seconds), "--request-timeout", "20",
        "--continue-on-failure", "--no-color", "--exclude-path-regex", "events$|dicomweb",
    ]  # fmt: skip
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=20 * seconds + 300, cwd=server.folder
    )
    verdict.ends[f"exit {ended.returncode}"] += 1
    if ended.returncode:
        verdict.faults.append(ended.stdout[-6000:] + ended.stderr[-1000:])
    else:
        print(ended.stdout[-1500:], file=sys.stderr)
    return verdict


def judged(server: Server) -> Verdict:
    """Say what must hold after all."""
    verdict = Verdict("afterwards")
    checks = {
        "the service runs": lambda: server.alive,
        "it is ready": lambda: server.ready,
        "every study is done": lambda: quiet(server, time.monotonic() + SETTLES_S),
        "no traceback on stderr": lambda: "Traceback" not in server.said,
        "no library's warning on stderr": lambda: "Warning" not in server.said,
    }
    for name, holds in checks.items():
        verdict.ends[name] += 1
        if not holds():
            verdict.faults.append(f"not so: {name}: {server.said[-3000:]}")
    if not verdict.faults:
        verdict.ends["doors and ledgers agree"] += 1
        verdict.faults += standing_faults(ask(server, None))
        if server.stop():
            verdict.faults.append(f"it did not end well: {server.said[-1000:]}")
    return verdict


def main() -> int:
    """Return 1 where a fault was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=3000, help="requests, and associations")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--bundle", type=Path, help="serve this one instead of a tiny one")
    parser.add_argument("--document", type=int, default=120, help="seconds for schemathesis")
    given = parser.parse_args()
    with TemporaryDirectory() as name:
        folder = Path(name)
        bundle = given.bundle or write_bundle(folder / "bundle")
        seeds = range(given.seed, given.seed + given.count)
        verdicts = fuzz(bundle, folder / "service", seeds, document_s=given.document)
    for verdict in verdicts:
        print(verdict.line())
        for fault in verdict.faults[:20]:
            print(f"  {fault}")
    return int(any(verdict.faults for verdict in verdicts))


if __name__ == "__main__":
    sys.exit(main())
