"""Files in archives are opened as if the archive were a folder, within limits."""

import gzip
import io
import multiprocessing
import random
import struct
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from darnet_trt.errors import UnreadableScanError
from darnet_trt.machine import unpacking
from darnet_trt.machine.archives import open_archive, open_file

DICOM = bytes(128) + b"DICM"


def noise(size, seed=0):
    return random.Random(seed).randbytes(size)


def zipped(path, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def read(path):
    with open_file(path) as stream:
        return stream.read()


def code(path):
    with pytest.raises(UnreadableScanError) as caught:
        read(path)
    return caught.value.code


def test_a_plain_file(tmp_path):
    (tmp_path / "a").write_bytes(b"\x1f\x8b no gzip")
    assert read(tmp_path / "a") == b"\x1f\x8b no gzip"
    with pytest.raises(FileNotFoundError):
        open_file(tmp_path / "b")
    with pytest.raises(NotADirectoryError):
        open_file(tmp_path / "a" / "b")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("in_memory", [1 << 24, 0])
def test_a_member_reads_and_seeks_as_a_file_does(tmp_path, monkeypatch, method, in_memory):
    monkeypatch.setattr(unpacking, "IN_MEMORY", in_memory)
    content = noise(200_000) + bytes(200_000)
    path = zipped(tmp_path / "a.zip", {"x/y.bin": content}, method) / "x" / "y.bin"
    plain = io.BytesIO(content)
    draw = random.Random(1)
    with open_file(path) as stream:
        for _ in range(200):
            place, count = draw.randrange(450_000), draw.randrange(100_000)
            whence = draw.choice([0, 2])
            offset = place if whence == 0 else place - 450_000
            if whence == 2 and offset < -len(content):
                continue
            assert stream.seek(offset, whence) == plain.seek(offset, whence)
            assert stream.read(count) == plain.read(count)
        assert stream.seek(0, 2) == len(content)


def test_names_stay_inside_the_archive(tmp_path):
    members = {"../../etc/passwd": b"1", "/abs/a": b"2", "C:\\b\\c.dcm": b"3", "d/./e": b"4"}
    archive = zipped(tmp_path / "a.zip", members)
    assert sorted(open_archive(archive).files) == ["C:/b/c.dcm", "abs/a", "d/e", "etc/passwd"]
    assert read(archive / "etc" / "passwd") == b"1"
    assert read(archive / "C:" / "b" / "c.dcm") == b"3"
    with pytest.raises(FileNotFoundError):
        open_file(archive / "nothing")


def test_a_changed_archive_is_opened_anew(tmp_path):
    archive = zipped(tmp_path / "a.zip", {"a": b"1"})
    assert read(archive / "a") == b"1"
    zipped(archive, {"a": b"2", "b": b"3"})
    assert read(archive / "a") == b"2"


def test_threads_and_processes_read_at_once(tmp_path):
    members = {f"{i}": noise(50_000, i) for i in range(40)}
    archive = zipped(tmp_path / "a.zip", members)
    paths = [archive / name for name in members] * 5
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(read, paths)) == list(members.values()) * 5
    with multiprocessing.get_context("spawn").Pool(2) as processes:
        assert processes.map(read, paths[:40]) == list(members.values())


def test_gzip_is_unpacked_where_it_holds_dicom(tmp_path):
    content = DICOM + noise(100_000)
    (tmp_path / "a.bin").write_bytes(gzip.compress(content))
    assert read(tmp_path / "a.bin") == content
    with open_file(tmp_path / "a.bin") as stream:
        assert stream.seek(-10, 2) == len(content) - 10
        assert stream.read() == content[-10:]
        assert stream.seek(5) == 5
        assert stream.read(5) == content[5:10]
    other = gzip.compress(b"something else" * 100)
    (tmp_path / "b.dcm.gz").write_bytes(other)
    assert read(tmp_path / "b.dcm.gz") == other
    archive = zipped(tmp_path / "a.zip", {"a.dcm.gz": gzip.compress(content)})
    assert read(archive / "a.dcm.gz") == content


@pytest.mark.parametrize("cut", [slice(-1000), slice(0, -4)])
def test_a_cut_gzip_file(tmp_path, cut):
    (tmp_path / "a.dcm.gz").write_bytes(gzip.compress(DICOM + noise(100_000))[cut])
    with pytest.raises(OSError, match=r"damaged|cut"):
        read(tmp_path / "a.dcm.gz")


def test_two_gzip_files_in_one_are_not_taken_for_one(tmp_path):
    content = DICOM + noise(1000)
    (tmp_path / "a").write_bytes(gzip.compress(content) * 2)
    with pytest.raises(OSError, match="2 DICOM files"):
        read(tmp_path / "a")


def test_the_parts_of_one_gzip_file_are_one_file(tmp_path):
    content = DICOM + noise(1000)
    (tmp_path / "a").write_bytes(gzip.compress(content) + gzip.compress(noise(2000)))
    assert read(tmp_path / "a") == content + noise(2000)


def test_a_damaged_member(tmp_path):
    archive = zipped(tmp_path / "a.zip", {"a": noise(1000)}, zipfile.ZIP_STORED)
    damaged = bytearray(archive.read_bytes())
    damaged[500] ^= 1
    archive.write_bytes(damaged)
    with pytest.raises(OSError, match="damaged in its archive"):
        read(archive / "a")


def test_a_method_without_a_bound_on_memory(tmp_path):
    archive = zipped(tmp_path / "a.zip", {"a": bytes(100)}, zipfile.ZIP_BZIP2)
    assert code(archive / "a") == "archive-method"


@pytest.mark.parametrize(
    "content", [b"", b"PK\3\4", b"PK\3\4" + bytes(500), b"PK\5\6" + b"\xff" * 18]
)
def test_a_broken_archive(tmp_path, content):
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(UnreadableScanError) as caught:
        open_archive(tmp_path / "a.zip")
    assert caught.value.code == "archive-broken"


def test_encrypted_links_and_double_names_are_told(tmp_path):
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("secret", b"x")
        file.writestr("plain", b"x")
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        file.writestr(link, b"/etc/passwd")
        file.writestr("twice", b"1")
        with pytest.warns(UserWarning, match="Duplicate"):
            file.writestr("twice", b"2")
    data = archive.read_bytes()
    at = data.index(b"PK\x01\x02")
    archive.write_bytes(data[: at + 8] + b"\1" + data[at + 9 :])  # the first is encrypted
    opened = open_archive(archive)
    assert sorted(opened.files) == ["plain", "twice"]
    assert opened.encrypted == 1
    assert +opened.ignored == {"link": 1, "older file of one name": 1}
    assert read(archive / "twice") == b"2"


def overlapping(path, count):
    """Write a member and its entry, `count` times in the list of files."""
    zipped(path, {"a.dcm": noise(100_000)})
    data = path.read_bytes()
    at, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    entries = b"".join(
        data[at : at + 46] + f"{i:05d}".encode() for i in range(count)
    )  # names as long as a.dcm
    tail = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, len(entries), at, 0)
    assert len(data[at:end]) == 51
    path.write_bytes(data[:at] + entries + tail)


def listing(path, count):
    """Write a list of files without the files."""
    head = struct.pack("<4s6H3I5H2I", b"PK\1\2", *[0] * 6, *[0] * 3, 1, *[0] * 4, 0, 0) + b"a"
    body = head * count
    tail = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 0xFFF0, 0xFFF0, len(body), 0, 0)
    path.write_bytes(body + tail)


def zeros(size):
    """Return deflated zeros, made without their memory."""
    packer, crc, packed = zlib.compressobj(9, zlib.DEFLATED, -15), 0, []
    piece = bytes(1 << 20)
    for _ in range(size >> 20):
        packed.append(packer.compress(piece))
        crc = zlib.crc32(piece, crc)
    return b"".join([*packed, packer.flush()]), crc


def ratio(path):
    packed, crc = zeros(1 << 27)
    name = b"a.dcm"
    fields = (20, 0, 8, 0, 0, crc, len(packed), 1 << 27, len(name), 0)
    local = struct.pack("<4s5H3I2H", b"PK\3\4", *fields) + name + packed
    entry = struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, *fields, 0, 0, 0, 0, 0) + name
    tail = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, len(entry), len(local), 0)
    path.write_bytes(local + entry + tail)


@pytest.mark.parametrize(
    "make",
    [
        lambda path: overlapping(path, 5000),
        lambda path: listing(path, 110_000),
        lambda path: listing(path, 1_000_000),
        ratio,
    ],
)
def test_a_bomb_is_beyond_the_limits(tmp_path, make):
    make(tmp_path / "a.zip")
    with pytest.raises(UnreadableScanError) as caught:
        open_archive(tmp_path / "a.zip")
    assert caught.value.code == "archive-limit"


def test_a_gzip_bomb_is_beyond_the_limits(tmp_path):
    packed = gzip.compress(DICOM + bytes(1 << 26))
    (tmp_path / "a.dcm.gz").write_bytes(packed)
    assert code(tmp_path / "a.dcm.gz") == "archive-limit"
    # one that claims to be small gives no more than it claims
    (tmp_path / "b.dcm.gz").write_bytes(packed[:-4] + struct.pack("<I", 1000))
    with pytest.raises(OSError, match="more than it says"):
        read(tmp_path / "b.dcm.gz")
