"""A signal that ends a command leaves nothing half-written and no process behind."""

import json
import signal
import subprocess

import psutil
import pytest

from benchmarks.cpu.predict.archive import phantom_slices, template, write_archive
from darnet_trt.phantom import CohortPlan, write_cohort
from darnet_trt.runtime.prediction.history.index import INDEX
from darnet_trt.training.checkpoint import save_checkpoint
from tests.cli.command import COMMAND
from tests.export.networks import TINY, trained_like

CODES = {signal.SIGTERM: 143, signal.SIGHUP: 129}


STUDIES = 100  # so many that none ends before a test on a busy machine has sent its signal


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    out = tmp_path_factory.mktemp("signals") / "cohort"
    write_cohort(CohortPlan(scans=12, matrix=48, slices=(30, 30)), out, processes=1)
    return out


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    chest = template(phantom_slices(48, 14))
    return write_archive(tmp_path_factory.mktemp("signals") / "archive", [chest], STUDIES)


def start(number: signal.Signals, handler: signal.Handlers, when: str, *words: object):
    """Start a command; return it and its children once it has printed `when`."""
    process = subprocess.Popen(
        [COMMAND, *map(str, words)],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        preexec_fn=lambda: signal.signal(number, handler),
    )  # fmt: skip
    said = ""
    while when not in said:
        said = process.stderr.readline()
        assert said, f"ended before it printed {when!r}"
    return process, psutil.Process(process.pid).children(recursive=True)


def end(number: signal.Signals, when: str, *words: object) -> str:
    """Send the signal to the command, not to its children, once it has printed `when`.

    Returns the line that it prints before its last one.
    """
    process, children = start(number, signal.SIG_DFL, when, *words)  # under nohup, too
    process.send_signal(number)
    _, rest = process.communicate(timeout=300)
    assert process.returncode == CODES[number], rest
    assert rest.splitlines()[-1] == f"darnet-trt: ended by {number.name}"
    assert "Traceback" not in rest
    assert psutil.wait_procs(children, timeout=60)[1] == []
    return (["", *rest.splitlines()])[-2]


def test_phantom(tmp_path):
    words = ("--scans", 60, "--matrix", 48, "--slices", 30, "--processes", 2)
    said = end(signal.SIGTERM, "writing scans", "phantom", tmp_path / "cohort", *words)
    assert said == "run the same command again to continue"
    (partial,) = tmp_path.iterdir()
    assert partial.name == ".cohort.partial", "the folder in which the same command continues"
    assert [f for f in partial.rglob("*") if f.name.startswith(".") and f.is_file()] == []


def test_the_processes_of_a_killed_phantom_end_too(tmp_path):
    words = ("--scans", 60, "--matrix", 48, "--slices", 30, "--processes", 2)
    words = ("writing scans", "phantom", tmp_path / "cohort", *words)
    process, children = start(signal.SIGTERM, signal.SIG_DFL, *words)
    assert len(children) >= 2
    process.kill()
    process.communicate()
    assert psutil.wait_procs(children, timeout=60)[1] == []


def test_train(cohort, tmp_path):
    words = ("-o", tmp_path / "run", "--epochs", 100, "--threads", 1)
    said = end(signal.SIGTERM, "epoch 1/100", "train", cohort, *words)
    assert said == "run the same command again to continue"
    files = {file.name for file in (tmp_path / "run").iterdir()}
    assert files == {"history.csv", "inputs", "split.csv", "state.pt", "state-before.pt"}


def test_build(tmp_path):
    save_checkpoint(trained_like(TINY), tmp_path / "run")
    # The engines' files are written by the time the reference runs.
    end(signal.SIGTERM, "reference", "build", tmp_path / "run", "-o", tmp_path / "bundle")
    assert [file.name for file in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("number", CODES)
def test_predict_keeps_finished_results(tiny, archive, tmp_path, number):
    said = end(number, "[3/", "predict", tiny, archive, "-o", tmp_path / "out")
    assert said == "run the same command with --resume to continue"
    lines, table = ((tmp_path / "out" / f"results.{kind}").read_text() for kind in ("jsonl", "csv"))
    files = {file.name for file in (tmp_path / "out").iterdir()}
    assert files == {"results.jsonl", "results.csv", INDEX}
    assert 3 <= lines.count("\n") < STUDIES
    assert table.count("\n") == 1 + lines.count("\n")


def test_bench_ends_the_process_it_measures_and_keeps_what_it_has(tiny, cohort, tmp_path):
    pytest.importorskip("matplotlib")
    words = ("--scan", cohort / "P0001" / "1", "--rounds", 1, "-o", tmp_path / "out")
    said = end(signal.SIGTERM, "new processes", "bench", tiny, *words)
    assert said == f"the report is in {tmp_path / 'out'}"
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["interrupted"]
    assert report["engines"][0]["cold_start"] is None
    assert len(report["configurations"]) == 2


def test_an_ignored_hangup_stays_ignored(tiny, cohort, tmp_path):
    """As `nohup` does."""
    words = ("[1/", "predict", tiny, cohort, "-o", tmp_path / "out")
    process, _ = start(signal.SIGHUP, signal.SIG_IGN, *words)
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=300)
    assert process.returncode == 0
