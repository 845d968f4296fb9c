"""A real archive gets every object once, and what it says of each is shown."""

import pytest

from tests.runtime.delivery.folders import sop_uid, write_results
from tests.runtime.delivery.orthanc import needs_orthanc, running

# pynetdicom leaves a socket that did not connect to the garbage collector.
pytestmark = [
    needs_orthanc,
    pytest.mark.filterwarnings(
        "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"
    ),
]


@pytest.mark.parametrize("way", ["ae", "web"])
def test_an_archive_gets_every_object_once(command, archive, tmp_path, way):
    out = tmp_path / "out"
    uids = write_results(out, 3)
    first = command("deliver", out, "--send", getattr(archive, way))
    assert (first.returncode, first.stderr) == (0, "")
    assert "9 sent" in first.stdout
    assert archive.instances() == uids
    assert len(archive.get("/studies")) == 3
    again = command("deliver", out)
    assert (again.returncode, again.stderr) == (0, "")
    assert "nothing left" in again.stdout
    (out / ".darnet-trt.queue").unlink()  # what is sent again is the same object
    assert "9 sent" in command("deliver", out, "--send", getattr(archive, way)).stdout
    assert archive.instances() == uids


def test_an_archive_commits_what_it_stored(command, archive, tmp_path):
    out = tmp_path / "out"
    write_results(out, 2)
    done = command("deliver", out, "--send", archive.ae, "--listen", archive.ours)
    assert (done.returncode, done.stderr) == (0, "")
    assert "6 sent, 6 committed" in done.stdout


def test_what_an_archive_has_lost_is_not_committed_and_sent_again(command, archive, tmp_path):
    out = tmp_path / "out"
    uids = write_results(out, 2)
    assert command("deliver", out, "--send", archive.ae).returncode == 0
    lost = [
        i
        for i in archive.get("/instances?expand")
        if i["MainDicomTags"]["SOPInstanceUID"] == sop_uid(1, "pm")
    ]
    archive.delete(f"/instances/{lost[0]['ID']}")
    some = command("deliver", out, "--listen", archive.ours)
    assert some.returncode == 1
    assert "5 committed" in some.stdout
    assert "1 to be tried again" in some.stdout
    assert "not committed" in some.stdout
    rest = command("deliver", out, "--listen", archive.ours, "--retry")
    assert (rest.returncode, rest.stderr) == (0, "")
    assert "1 sent, 1 committed" in rest.stdout
    assert archive.instances() == uids


def test_an_archive_that_refuses_or_is_down_is_shown_so(command, tmp_path):
    out = tmp_path / "out"
    uids = write_results(out, 1)
    strict = {"DicomAlwaysAllowStore": False, "DicomModalities": {}}
    with running(tmp_path / "archive", **strict) as archive:
        refused = command("deliver", out, "--send", archive.ae)
        assert refused.returncode == 1
        assert " sent" not in refused.stdout
        assert archive.instances() == []
        archive.stop()
        down = command("deliver", out, "--retry")
        assert down.returncode == 1
        assert "3 to be tried again" in down.stdout
        archive.start()
        assert command("deliver", out, "--retry").returncode == 0
        assert archive.instances() == uids
