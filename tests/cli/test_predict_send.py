"""`darnet-trt predict --send`: objects go out while scans are classified."""

import json
import shutil
import threading

import pytest

from darnet_trt.cli import predict_delivery, printing
from darnet_trt.cli.predict_delivery import delivering
from darnet_trt.cli.predict_output import Output, OutputOptions
from darnet_trt.runtime.delivery.deliver import Ours
from darnet_trt.runtime.prediction.results.folder import ResultFolder
from tests.runtime.delivery.dicom_peers import peer, raw_peer
from tests.runtime.delivery.folders import made
from tests.runtime.delivery.orthanc import free_port
from tests.runtime.prediction.results.test_result import result

BASIC_TEXT = "1.2.840.10008.5.1.4.1.1.88.11"
# pynetdicom leaves a socket that did not connect to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture(scope="module")
def receiver():
    with peer(classes=[*PAPER_CLASSES, BASIC_TEXT]) as running:
        yield running


PAPER_CLASSES = [f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("88.34", "30", "7")]


@pytest.fixture(autouse=True)
def empty(receiver):
    receiver.stored.clear()


def objects(out):
    lines = (out / "results.jsonl").read_text().splitlines()
    return sorted(made["sop_uid"] for line in lines for made in json.loads(line)["dicom"])


def test_each_object_is_sent_once(command, tiny, phantom_series, tmp_path, receiver):
    out = tmp_path / "out"
    words = ["predict", tiny, phantom_series, "-o", out, "--send", receiver.ae]
    done = command(*words)
    assert done.returncode == 0
    assert f"{receiver.ae}: 3 sent" in done.stderr
    assert sorted(receiver.stored) == objects(out)
    quiet = command("-q", *words, "--resume")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    assert len(receiver.stored) == 3


def test_a_peer_that_is_down_stops_nothing(command, tiny, phantom_series, tmp_path, receiver):
    out, down = tmp_path / "out", f"PEER@127.0.0.1:{free_port()}"
    command("predict", tiny, phantom_series, "-o", out, "--dicom", "sr,sc")
    words = ["--resume", "--dicom", "sr,sc", "--send", down, "--send", receiver.ae]
    done = command("-q", "predict", tiny, phantom_series, "-o", out, *words)
    assert done.returncode == 1
    assert f"{down}: 2 to be tried again" in done.stderr
    assert len(objects(out)) == 2
    assert sorted(receiver.stored) == objects(out)  # what was made before is sent, too
    assert command("deliver", out).returncode == 1


def test_a_peer_that_hangs_holds_up_the_end_for_a_bounded_time(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(predict_delivery, "LAST_S", 0.2)
    monkeypatch.setattr(printing, "quiet", False)
    let_go = threading.Event()
    with (
        ResultFolder(tmp_path) as folder,
        raw_peer(lambda connection: let_go.wait(60)) as hanging,
    ):
        options = OutputOptions(tmp_path, False, False, False, False, False, None, False, None)
        output = Output(options, folder, None)
        with delivering(output, [hanging.ae], Ours()) as sent:
            output.add(result(made=(made(0, "sr"),)))
        assert not let_go.is_set()
        assert sent.tell()
        let_go.set()
    said = capsys.readouterr().err
    assert "1 to be tried again" in said
    assert "darnet-trt deliver" in said


def test_refusals_are_sent_where_they_are_asked_for(
    command, tiny, phantom_series, tmp_path, receiver
):
    few = tmp_path / "few"
    few.mkdir()
    for file in sorted(phantom_series.iterdir())[:2]:
        shutil.copy(file, few)
    out = tmp_path / "out"
    done = command("predict", tiny, few, "-o", out, "--send", receiver.ae, "--send-refusals")
    assert done.returncode == 0
    assert receiver.stored == objects(out)
    assert len(receiver.stored) == 1


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--send", "PACS@127.0.0.1:104"], "--send"),
        (["-o", "OUT", "--send", "PACS"], "--send"),
        (["-o", "OUT", "--send", "PACS@h:1", "--ae", "x" * 17], "--ae"),
        (["-o", "OUT", "--send", "PACS@h:1", "--dicom", "xml"], "'xml'"),
        (["-o", "OUT", "--send", "PACS@h:1", "--ray", "auto"], "--send"),
        (["-o", "OUT", "--send-refusals"], "--send-refusals"),
        (["-o", "OUT", "--listen", "104"], "--listen"),
        (["-o", "OUT", "--ae", "US"], "--ae"),
    ],
)
def test_what_cannot_work_is_one_line(command, tiny, phantom_series, tmp_path, words, named):
    words = [tmp_path / "out" if word == "OUT" else word for word in words]
    done = command("predict", tiny, phantom_series, *words)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert named in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_port_that_is_taken_is_named(command, tiny, phantom_series, tmp_path, receiver):
    words = ["--send", receiver.ae, "--listen", receiver.port]
    done = command("predict", tiny, phantom_series, "-o", tmp_path / "out", *words)
    assert done.returncode == 2
    assert "--listen" in done.stderr.splitlines()[-1]
