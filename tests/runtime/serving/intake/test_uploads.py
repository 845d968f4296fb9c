"""Volume files and archives: whole, or refused with nothing left behind."""

import gzip
import hashlib
import io
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest

from darnet_trt.errors import BusyError, RefusedScanError, UnreadableScanError
from darnet_trt.scan import Volume
from tests.runtime.serving.received import a_file, contents, open_store
from tests.scan.series_factory import chest
from tests.scan.written_scans import VOLUME_FILES, stored, write_itk, write_nifti


@pytest.fixture
def kept(tmp_path):
    return open_store(tmp_path / "state")


@pytest.fixture(scope="module")
def scan():
    return stored(Volume(chest(12, 32), (5.0, 6.0, 6.0), (0.0, 0.0, 0.0), np.eye(3)))


def in_chunks(content, size=1000):
    return [content[at : at + size] for at in range(0, len(content), size)]


def zipped(members, method=zipfile.ZIP_DEFLATED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def unzip(kept, content):
    with kept.store.temporary() as (file, path):
        file.write(content)
        file.flush()
        return kept.store.unzip(path, peer="http")


def nothing_left(kept):
    incoming = kept.store.folder("0").parents[1] / "incoming"
    return not list(incoming.iterdir())


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "two.nii.gz", "a.nrrd", "packed.mha"])
def test_a_volume_file_is_kept_under_a_name_of_ours(kept, scan, tmp_path, name):
    content = VOLUME_FILES[name](scan, tmp_path / name).read_bytes()
    received = kept.store.keep_volume(in_chunks(content), peer="http")
    digest = hashlib.sha256(content).hexdigest()
    assert received.study == hashlib.sha256(f"file\n{digest}".encode()).hexdigest()[:32]
    assert received.file == "scan." + name.partition(".")[2]
    assert contents(kept.store) == {f"{received.study}/{received.file}": content}
    assert kept.store.keep_volume([content], peer="http").outcome == "known"
    assert [each.outcome for each, _ in kept.arrived] == ["new", "known"]
    assert nothing_left(kept)


@pytest.mark.parametrize("name", ["a.nhdr", "a.mhd"])
def test_a_header_that_names_another_file_is_refused(kept, scan, tmp_path, name):
    header = VOLUME_FILES[name](scan, tmp_path / name).read_bytes()
    with pytest.raises(UnreadableScanError) as caught:
        kept.store.keep_volume([header], peer="http")
    assert str(tmp_path) not in str(caught.value)
    assert contents(kept.store) == {}
    assert nothing_left(kept)


def test_a_header_cannot_reach_what_another_client_sends(kept, scan, tmp_path):
    write_itk(scan, tmp_path / "a.nhdr")
    header = (tmp_path / "a.nhdr").read_bytes()
    with kept.store.temporary() as (file, path):
        file.write(bytes(scan.hu.nbytes))
        file.flush()
        for name in (path.name, f"../incoming/{path.name}", str(path), "/etc/passwd"):
            lines = [
                line.partition(b": ")[0] + b": " + name.encode()
                if line.startswith(b"data file")
                else b"encoding: raw"
                if line.startswith(b"encoding")
                else line
                for line in header.split(b"\n")
            ]
            with pytest.raises(UnreadableScanError) as caught:
                kept.store.keep_volume([b"\n".join(lines)], peer="http")
            assert str(tmp_path) not in str(caught.value).replace(name[:80], "")
    assert contents(kept.store) == {}


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"%PDF-1.7", b"PK\3\4", gzip.compress(b"x" * 500, mtime=0), bytes(10_000)],
)
def test_what_is_no_scan_is_refused(kept, content):
    with pytest.raises(UnreadableScanError):
        kept.store.keep_volume([content], peer="http")
    assert (contents(kept.store), kept.arrived, nothing_left(kept)) == ({}, [], True)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
def test_a_cut_volume_is_refused(kept, scan, tmp_path, part):
    content = write_nifti(scan, tmp_path / "a.nii").read_bytes()
    with pytest.raises(UnreadableScanError):
        kept.store.keep_volume([content[: int(len(content) * part)]], peer="http")
    assert nothing_left(kept)


def test_an_upload_ends_at_its_limit(tmp_path):
    kept = open_store(tmp_path / "state", upload=10_000)
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield bytes(1000)

    with pytest.raises(RefusedScanError):
        kept.store.keep_volume(endless(), peer="http")
    assert len(taken) == 11
    assert nothing_left(kept)


def test_a_client_that_goes_away_leaves_nothing(kept):
    def broken():
        yield bytes(1000)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        kept.store.keep_volume(broken(), peer="http")
    assert nothing_left(kept)


def test_an_archive_s_slices_are_kept_and_the_others_named(kept):
    done = unzip(
        kept,
        zipped(
            {
                "a/1.dcm": a_file(1),
                "a/2": a_file(2),
                "a/3.dcm.gz": gzip.compress(a_file(3)),
                "b/1 again.dcm": a_file(1),
                "b/other.dcm": a_file(1, InstanceNumber=5),
                "b/broken.dcm": a_file(4)[:200],
                "b/nameless.dcm": a_file(5, StudyInstanceUID=""),
                "readme.txt": b"hello",
                "report.pdf": b"%PDF-1.7",
                "inner.zip": zipped({"x.dcm": a_file(9)}),
            }
        ),
    )
    assert [each.outcome for each in done.received] == ["new", "new", "new", "known", "conflict"]
    assert done.ignored == {"text": 1, "PDF": 1, "zip": 1}
    assert [name for name, _ in done.refused] == ["b/broken.dcm", "b/nameless.dcm"]
    assert all(why for _, why in done.refused)
    assert sorted(contents(kept.store).values()) == sorted(
        [a_file(1), a_file(2), a_file(3), a_file(1, InstanceNumber=5)]
    )


def test_no_name_of_a_member_is_written(kept, tmp_path):
    names = ["../../out.dcm", "/tmp/abs.dcm", "C:\\x.dcm", "..", "a" * 300 + ".dcm", "\x1b[31m.dcm"]
    done = unzip(kept, zipped({name: a_file(n) for n, name in enumerate(names, 1)}))
    assert len(done.received) + len(done.refused) == len(names)
    assert all(name.isprintable() for name, _ in done.refused)
    assert {each.name for each in tmp_path.iterdir()} == {"state"}
    assert not Path("/tmp/abs.dcm").exists()


def test_an_archive_stays_open_no_longer_than_it_is_read(kept):
    unzip(kept, zipped({"1.dcm": a_file()}))
    with pytest.raises(UnreadableScanError):
        unzip(kept, zipped({"1.dcm": a_file()})[:-30])
    opened = [each.path for each in psutil.Process().open_files()]
    assert not [path for path in opened if "/incoming/" in path]


def test_the_limits_of_an_archive(tmp_path):
    three = zipped({f"{n}.dcm": a_file(n) for n in range(3)})
    for limits in ({"files": 2}, {"unpacked": 2 * len(a_file(1))}):
        kept = open_store(tmp_path / "state", **limits)
        with pytest.raises(RefusedScanError):
            unzip(kept, three)
        assert contents(kept.store) == {}


def test_what_is_packed_twice_is_counted_unpacked(tmp_path):
    """A slice in gzip says nothing of its size to the archive that it lies in."""
    large = a_file(1, ImageComments="0" * 5000)
    members = {f"{n}.dcm.gz": gzip.compress(a_file(n, ImageComments="0" * 5000)) for n in range(9)}
    kept = open_store(tmp_path / "state", unpacked=4 * len(large))
    with pytest.raises(RefusedScanError):
        unzip(kept, zipped(members))
    assert len(contents(kept.store)) <= 4


def test_a_bomb_is_not_unpacked(kept):
    with pytest.raises(UnreadableScanError, match="limits"):
        unzip(kept, zipped({"1.dcm": a_file()[:132] + bytes(1 << 26)}))
    done = unzip(kept, zipped({"1.dcm.gz": gzip.compress(a_file()[:132] + bytes(1 << 26))}))
    assert (done.received, len(done.refused)) == ([], 1)
    assert contents(kept.store) == {}


@pytest.mark.parametrize("cut", [0, 3, 40, 200])
def test_a_broken_archive_is_refused(kept, cut):
    content = zipped({"1.dcm": a_file()})
    with pytest.raises(UnreadableScanError) as caught:
        unzip(kept, content[:-cut] if cut else b"PK\3\4" + bytes(100))
    assert "incoming" not in str(caught.value)


def test_a_damaged_member_is_named_and_the_others_stay(kept):
    content = bytearray(zipped({"1.dcm": a_file(1), "2.dcm": a_file(2)}))
    content[100] ^= 0xFF  # within the first one's packed bytes
    done = unzip(kept, bytes(content))
    assert [name for name, _ in done.refused] == ["1.dcm"]
    assert len(done.received) == 1


def test_what_was_kept_before_the_place_ran_out_is_known_afterwards(tmp_path):
    places = [1, 1]

    def admit(study):
        if not places:
            raise BusyError("full", retry_after_s=1)
        places.pop()

    kept = open_store(tmp_path / "state", admit)
    content = zipped({f"{n}.dcm": a_file(n) for n in range(4)})
    with pytest.raises(BusyError):
        unzip(kept, content)
    places[:] = [1] * 4
    outcomes = [each.outcome for each in unzip(kept, content).received]
    assert outcomes == ["known", "known", "new", "new"]


def test_few_archives_are_in_memory_at_once(tmp_path):
    under_way, may_go, most = set(), threading.Event(), []

    def admit(study):
        under_way.add(threading.get_ident())
        most.append(len(under_way))
        if len(under_way) == 4:
            may_go.set()
        assert may_go.wait(60)
        under_way.discard(threading.get_ident())

    def bring(number):
        unzip(kept, zipped({"1.dcm": a_file(number)}))

    kept = open_store(tmp_path / "state", admit)
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(bring, range(12)))
    assert len(kept.arrived) == 12
    assert max(most) == 4
