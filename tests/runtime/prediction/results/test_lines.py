import json

import pytest

from darnet_trt.errors import OutputError, UsageError
from darnet_trt.runtime.prediction.results.folder import ResultFolder
from darnet_trt.runtime.prediction.results.lines import read_results
from darnet_trt.runtime.prediction.results.result import json_line
from tests.runtime.prediction.results.test_result import result

LINE = json_line(result("a", pseudonymous=True)).encode()


def changed(**fields):
    return json.dumps({**json.loads(LINE), **fields}).encode() + b"\n"


def without(field):
    return json.dumps({k: v for k, v in json.loads(LINE).items() if k != field}).encode() + b"\n"


WRONG = {
    "null": b"null\n",
    "list": b"[]\n",
    "text": b"Dear diary\n",
    "text without an end": b"Dear diary",
    "another program's JSON": b'{"scan": "a", "mean": 3}\n',
    "another program's JSON without an end": b'{"scan": "a", "mean": 3}',
    "deep": b"[" * 100_000 + b"]" * 100_000 + b"\n",
    "deep without an end": b'{"a":' * 100_000,
    "deep field": changed(scan=None)[:-2] + b', "x": ' + b"[" * 100_000 + b"\n",
    "NaN": changed(trained_on=0).replace(b": 0,", b": NaN,"),
    "infinite": LINE.replace(b"0.75", b"1e999"),
    "huge number": b'{"schema_version": ' + b"9" * 10_000 + b"}\n",
    "50 MB": b'{"schema_version": 3, "scan": "' + b"a" * 50_000_000 + b'"}\n',
    "50 MB without an end": b"a" * 50_000_000,
    "binary": bytes(range(256)) * 4 + b"\n",
    "UTF-16": LINE.decode().encode("utf-16"),
    "zeros inside": bytes(100) + b"\n",
    "field missing": without("content"),
    "field of another type": changed(probabilities=None),
    "flag for a number": changed(schema_version=True),
    "schema 1": changed(schema_version=1),
    "schema 2": changed(schema_version=2),
    "schema 4": changed(schema_version=4),
    "no schema": without("schema_version"),
    "overlay elsewhere": changed(overlay="../../a.overlay.png"),
    "no time": changed(finished="yesterday"),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("before", [b"", LINE], ids=["first", "second"])
def test_a_file_that_is_not_ours_is_refused_and_stays(tmp_path, wrong, before):
    file = tmp_path / "results.jsonl"
    file.write_bytes(before + WRONG[wrong])
    number = 2 if before else 1
    for reading in (lambda: ResultFolder(tmp_path, resume=True), lambda: [*read_results(file)]):
        with pytest.raises(UsageError, match=f"line {number} ") as caught:
            reading()
        assert len(str(caught.value)) < 300 + len(str(file))
    assert file.read_bytes() == before + WRONG[wrong]


@pytest.mark.parametrize("version", [1, 2, 4])
def test_another_schema_is_named(tmp_path, version):
    (tmp_path / "results.jsonl").write_bytes(changed(schema_version=version))
    with pytest.raises(UsageError, match=f"schema {version}.*schema 3"):
        ResultFolder(tmp_path, resume=True)


def test_what_an_editor_did_to_the_file_does_no_harm(tmp_path):
    """A byte order mark, Windows line ends, empty lines, no end of the last line."""
    lines = [changed(key=key, scan=key).strip() for key in "aba"]
    (tmp_path / "results.jsonl").write_bytes(b"\xef\xbb\xbf" + b"\r\n\r\n".join(lines))
    assert [r.scan for r in read_results(tmp_path)] == ["b", "a"]
    with ResultFolder(tmp_path, resume=True) as folder:
        folder.add(result("c"))
        assert [r.scan for r in folder.results()] == ["b", "a", "c"]
    written = (tmp_path / "results.jsonl").read_bytes()
    assert [json.loads(line.decode())["scan"] for line in written.splitlines()] == ["b", "a", "c"]


def test_a_line_that_is_being_written_is_left_out(tmp_path):
    file = tmp_path / "results.jsonl"
    file.write_bytes(LINE)
    reading = read_results(file)
    file.write_bytes(LINE + changed(key="b")[:100])
    assert [r.scan for r in reading] == ["a"]
    assert file.stat().st_size == len(LINE) + 100


@pytest.mark.parametrize("kind", ["nothing", "folder", "dangling link", "pipe"])
def test_what_is_no_results_file_is_said(tmp_path, kind):
    import os

    file = tmp_path / "results.jsonl"
    if kind == "folder":
        file.mkdir()
    elif kind == "dangling link":
        file.symlink_to(tmp_path / "nowhere")
    elif kind == "pipe":
        os.mkfifo(file)
    with pytest.raises(UsageError):
        next(read_results(tmp_path))
    if kind != "nothing":
        with pytest.raises(UsageError, match="not a file"):
            ResultFolder(tmp_path)


def test_a_disk_that_fails_is_no_usage_error(tmp_path):
    (tmp_path / "results.jsonl").symlink_to("/proc/self/mem")
    with pytest.raises(OutputError, match="cannot be read"):
        next(read_results(tmp_path))
