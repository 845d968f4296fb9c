import pytest

from darnet_trt.calibration.search.memo import Memo
from darnet_trt.machine.cache import digest


def refuse():
    pytest.fail("a known result was computed again")


def test_a_result_is_kept_for_the_next_process(tmp_path):
    file = tmp_path / "new" / "trials.jsonl"
    assert Memo(file).get("a", lambda: [1.5, 0.1]) == [1.5, 0.1]
    assert Memo(file).get("a", refuse) == [1.5, 0.1]


def test_a_result_whose_line_was_cut_off_is_computed_again(tmp_path):
    file = tmp_path / "trials.jsonl"
    memo = Memo(file)
    memo.get("a", lambda: 1)
    memo.get("b", lambda: 2)
    file.write_bytes(file.read_bytes()[:-9])
    again = Memo(file)
    assert again.get("a", refuse) == 1
    assert again.get("b", lambda: 3) == 3
    assert Memo(file).get("b", refuse) == 3


@pytest.mark.parametrize(
    "content", [b"\xff\xfe\x00", b"[]\n{}\nnull\n", b'{"key": 1}\n', b"[" * 9000]
)
def test_lines_of_another_kind_are_skipped(tmp_path, content):
    file = tmp_path / "trials.jsonl"
    file.write_bytes(content)
    assert Memo(file).get("a", lambda: 7) == 7


def test_without_a_writable_file_results_are_kept_in_memory(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    memo = Memo(blocked / "trials.jsonl")
    assert memo.get("a", lambda: 1) == 1
    assert memo.get("a", refuse) == 1


def test_a_digest_tells_its_parts_apart():
    assert digest("ab", "c") != digest("a", "bc")
    assert digest(b"x", [1, 2]) == digest(b"x", [1, 2])
