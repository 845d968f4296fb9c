"""What is acknowledged is on the disk, once, and nothing else is."""

import hashlib
import os
import random
import re
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from darnet_trt.errors import BusyError, OutputError, RefusedScanError, UnreadableScanError
from darnet_trt.runtime.serving.intake import store as store_module
from darnet_trt.scan.dicom.encoding.meta import BIG_ENDIAN, DEFLATED
from tests.full_disk import small_disk
from tests.runtime.serving.received import (
    CT,
    IMPLICIT,
    a_file,
    contents,
    encoded,
    one_slice,
    open_store,
)


@pytest.fixture
def kept(tmp_path):
    return open_store(tmp_path / "state")


def test_a_file_is_kept_as_it_came(kept):
    content = a_file()
    received = kept.store.receive(content, peer="CT1")
    assert received.outcome == "new"
    assert contents(kept.store) == {f"{received.study}/{received.file}": content}
    assert kept.arrived == [(received, "CT1")]
    assert received.study == hashlib.sha256(b"dicom\n1.2.3").hexdigest()[:32]
    assert received.file == hashlib.sha256(b"1.2.3.1").hexdigest()[:32] + ".dcm"


def test_only_its_owner_may_read_it(kept):
    received = kept.store.receive(a_file(), peer="CT1")
    folder = kept.store.folder(received.study)
    modes = [folder, folder.parent, folder.parents[1] / "incoming", folder / received.file]
    assert [stat.S_IMODE(each.stat().st_mode) for each in modes] == [0o700] * 3 + [0o600]


def test_the_same_again_is_one_file(kept):
    first = kept.store.receive(a_file(), peer="CT1")
    again = kept.store.receive(a_file(), peer="PACS")
    assert (again.outcome, again.file) == ("known", first.file)
    assert len(contents(kept.store)) == 1
    assert len(kept.arrived) == 2


def test_other_meta_information_makes_no_other_file(kept):
    ds = one_slice()
    kept.store.receive(encoded(ds), peer="CT1")
    ds.file_meta.ImplementationVersionName = "OTHER"
    ds.preamble = b"II*\0" + bytes(124)
    assert kept.store.receive(encoded(ds), peer="CT1").outcome == "known"


def test_other_content_of_a_uid_is_kept_beside(kept):
    first = kept.store.receive(a_file(), peer="CT1")
    other = kept.store.receive(a_file(InstanceNumber=9), peer="CT1")
    assert other.outcome == "conflict"
    assert re.fullmatch(rf"{first.file[:32]}-[0-9a-f]{{16}}\.dcm", other.file)
    assert kept.store.receive(a_file(InstanceNumber=9), peer="CT1").outcome == "known"
    third = kept.store.receive(a_file(InstanceNumber=10), peer="CT1")
    assert third.outcome == "conflict"
    assert kept.store.files(first.study) == sorted([first.file, other.file, third.file])


def test_another_transfer_syntax_is_other_content(kept):
    ds = one_slice()
    kept.store.receive(encoded(ds), peer="CT1")
    ds.file_meta.TransferSyntaxUID = IMPLICIT
    assert kept.store.receive(encoded(ds), peer="PROXY").outcome == "conflict"


@pytest.mark.parametrize("syntax", [IMPLICIT, DEFLATED, BIG_ENDIAN])
def test_slices_in_other_encodings(kept, syntax):
    ds = one_slice(TransferSyntaxUID=syntax)
    ds.PixelData = b""
    received = kept.store.receive(encoded(ds), peer="CT1", sop_uid="1.2.3.1", sop_class=CT)
    assert received.study == hashlib.sha256(b"dicom\n1.2.3").hexdigest()[:32]
    assert kept.store.receive(encoded(ds), peer="CT1").outcome == "known"


def test_the_padding_of_a_uid_counts_for_nothing(kept):
    ds = one_slice()
    content = encoded(ds)
    assert b"1.2.3.1\0" in content
    padded = content.replace(b"1.2.3.1\0", b"1.2.3.1 ")
    assert kept.store.receive(content, peer="CT1", sop_uid="1.2.3.1", sop_class=CT).file
    assert kept.store.receive(padded, peer="CT1", sop_uid="1.2.3.1").outcome == "conflict"
    (study,) = kept.store.studies()
    assert len({file[:32] for file in study[1]}) == 1


@pytest.mark.parametrize(
    "command", [{"sop_uid": "1.2.3.4.5"}, {"sop_class": "1.2.840.10008.5.1.4.1.1.4"}]
)
def test_another_instance_than_its_command_says_is_not_taken(kept, command):
    with pytest.raises(RefusedScanError, match="is not the one"):
        kept.store.receive(a_file(), peer="CT1", **command)
    assert (contents(kept.store), kept.arrived) == ({}, [])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        bytes(400),
        bytes(128) + b"DICM",
        bytes(128) + b"DICM" + b"\xff" * 400,
        a_file(SOPInstanceUID=""),
        a_file(StudyInstanceUID=""),
        a_file(StudyInstanceUID="1." + "2" * 70),
        b"\x89PNG" + bytes(400),
    ],
)
def test_what_does_not_say_what_it_is_is_not_taken(kept, content):
    with pytest.raises(UnreadableScanError) as caught:
        kept.store.receive(content, peer="CT1")
    assert "\n" not in str(caught.value)
    assert contents(kept.store) == {}


def test_a_cut_or_damaged_file_is_kept_or_refused_and_nothing_else(kept):
    content = a_file()
    for length in range(0, len(content), 7):
        try:
            received = kept.store.receive(content[:length], peer="CT1")
        except UnreadableScanError:
            continue
        path = kept.store.folder(received.study) / received.file
        assert path.read_bytes() == content[:length]
    chance = random.Random(17)
    for _ in range(300):
        damaged = bytearray(content)
        for _ in range(chance.randint(1, 8)):
            damaged[chance.randrange(132, len(damaged))] = chance.randrange(256)
        with suppress(UnreadableScanError):
            kept.store.receive(bytes(damaged), peer="CT1")
    assert not list((kept.store.folder("x").parents[1] / "incoming").iterdir())


def test_no_text_of_a_file_becomes_a_name(kept, tmp_path):
    for number, uid in enumerate(["../../../etc/passwd", "a/b", "..", "\x00/x", "ü" * 20]):
        content = a_file(number, StudyInstanceUID="X" * 64, SOPInstanceUID="Y" * 64)
        own = uid.encode("latin1").ljust(64)
        kept.store.receive(content.replace(b"X" * 64, own).replace(b"Y" * 64, own), peer="CT1")
    names = {name for _, _, files in os.walk(tmp_path) for name in files}
    assert all(re.fullmatch(r"[0-9a-f]{32}\.dcm", name) for name in names)
    assert {p.name for p in tmp_path.iterdir()} == {"state"}


def test_many_at_once_are_one(kept):
    """The same instance on many associations at once, with others that have its UID."""
    files = [a_file(), a_file(InstanceNumber=2), a_file(InstanceNumber=3)]
    with ThreadPoolExecutor(12) as pool:
        done = list(pool.map(lambda n: kept.store.receive(files[n % 3], peer="CT1"), range(60)))
    outcomes = [each.outcome for each in done]
    assert (outcomes.count("new"), outcomes.count("conflict")) == (1, 2)
    assert sorted(contents(kept.store).values()) == sorted(files)
    for number, each in enumerate(done):  # who was answered finds what it sent
        assert contents(kept.store)[f"{each.study}/{each.file}"] == files[number % 3]


def test_it_is_on_the_disk_before_it_is_acknowledged(kept, monkeypatch):
    synced = []
    fsync = os.fsync

    def note(fd):
        synced.append(str(Path(f"/proc/self/fd/{fd}").readlink()))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", note)
    for outcome in ("new", "known"):
        synced.clear()
        received = kept.store.receive(a_file(), peer="CT1")
        folder = str(kept.store.folder(received.study))
        assert received.outcome == outcome
        assert synced[-1] == folder
        if outcome == "new":
            parent = str(kept.store.folder(received.study).parent)
            assert parent in synced
            content = next(n for n, path in enumerate(synced) if "/incoming/" in path)
            assert content < synced.index(folder)


def test_who_is_told_finds_it(tmp_path):
    found = []
    kept = open_store(tmp_path / "state")
    kept.store._arrived = lambda received, peer: found.append(
        (kept.store.folder(received.study) / received.file).read_bytes()
    )
    kept.store.receive(a_file(), peer="CT1")
    assert found == [a_file()]


def test_where_none_is_admitted_nothing_is_written(tmp_path):
    def full(study):
        raise BusyError("1 study waits", retry_after_s=3)

    kept = open_store(tmp_path / "state", full)
    with pytest.raises(BusyError):
        kept.store.receive(a_file(), peer="CT1")
    assert contents(kept.store) == {}


def test_a_disk_below_its_mark_refuses(tmp_path):
    kept = open_store(tmp_path / "state", least_free=1 << 60)
    with pytest.raises(BusyError) as caught:
        kept.store.receive(a_file(), peer="CT1")
    assert caught.value.retry_after_s > 0
    with pytest.raises(BusyError):
        kept.store.keep_volume([b"x"], peer="http")
    assert kept.store.free() < 0


def test_a_disk_that_fills_up_keeps_what_was_acknowledged(tmp_path):
    with small_disk(tmp_path / "disk", 100_000):
        kept = open_store(tmp_path / "disk" / "state")
        acknowledged = []

        def fill():
            for number in range(1, 200):
                received = kept.store.receive(a_file(number), peer="CT1")
                acknowledged.append(received)

        with pytest.raises(BusyError):
            fill()
        assert len(acknowledged) > 10
        assert {f"{e.study}/{e.file}" for e in acknowledged} == set(contents(kept.store))
        again = open_store(tmp_path / "disk" / "state")
        assert set(contents(again.store)) == set(contents(kept.store))


def test_a_disk_that_fails_is_said_to(kept, monkeypatch):
    def fails(fd):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(store_module.os, "fsync", fails)
    with pytest.raises(OutputError, match="Input/output"):
        kept.store.receive(a_file(), peer="CT1")
    assert kept.arrived == []


def test_a_file_system_without_links_is_said_to_at_the_start(tmp_path):
    """Two file systems have none between them."""
    state = tmp_path / "state"
    state.mkdir()
    with small_disk(state / "incoming", 100_000), pytest.raises(OutputError, match="cannot be"):
        open_store(state)


def test_a_start_forgets_what_was_not_kept(tmp_path):
    kept = open_store(tmp_path / "state")
    kept.store.receive(a_file(), peer="CT1")
    before = contents(kept.store)
    (tmp_path / "state/incoming/7").write_bytes(b"half")
    (tmp_path / "state/incoming/8.gone").mkdir()
    (tmp_path / "state/studies" / ("0" * 32)).mkdir()
    (tmp_path / "state/studies/.DS_Store").write_bytes(b"")
    again = open_store(tmp_path / "state")
    assert contents(again.store) == before
    assert not list((tmp_path / "state/incoming").iterdir())
    assert again.store.receive(a_file(), peer="CT1").outcome == "known"


def test_a_study_is_removed(kept):
    received = kept.store.receive(a_file(), peer="CT1")
    assert kept.store.remove(received.study)
    assert contents(kept.store) == {}
    assert kept.store.files(received.study) == []
    assert kept.store.remove(received.study)
    assert kept.store.receive(a_file(), peer="CT1").outcome == "new"


def test_a_study_is_not_removed_while_a_file_of_it_comes_in(tmp_path):
    told, go = threading.Event(), threading.Event()
    kept = open_store(tmp_path / "state")

    def arrived(received, peer):
        told.set()
        assert go.wait(60)

    kept.store._arrived = arrived
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(kept.store.receive, a_file(), peer="CT1")
        assert told.wait(60)
        study = next(kept.store.studies())[0]
        assert not kept.store.remove(study)
        go.set()
        assert coming.result().outcome == "new"
    assert len(contents(kept.store)) == 1
    assert kept.store.remove(study)


KILLED = """
import sys, itertools
from pathlib import Path
from tests.runtime.serving.received import a_file, open_store
store = open_store(Path(sys.argv[1])).store
for number in itertools.count(1):
    received = store.receive(a_file(number), peer="CT1")
    print(received.study, received.file, flush=True)
"""


def test_a_killed_process_loses_nothing_that_it_acknowledged(tmp_path):
    acknowledged = set()
    for _ in range(3):
        command = [sys.executable, "-c", KILLED, str(tmp_path / "state")]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for _, line in zip(range(20), process.stdout, strict=False):
            acknowledged.add("/".join(line.split()))
        process.kill()
        acknowledged |= {"/".join(line.split()) for line in process.stdout if line.endswith("\n")}
        process.stdout.close()
        process.wait()
    found = contents(open_store(tmp_path / "state").store)
    assert acknowledged <= set(found)
    assert set(found.values()) <= {a_file(n) for n in range(1, len(found) + 1)}
