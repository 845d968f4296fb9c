"""Which shard a result folder holds."""

import pytest

from darnet_trt.errors import UsageError
from darnet_trt.runtime.prediction.shards.shard import MARK, Mark, marked, parse_shard, read_mark


@pytest.mark.parametrize(
    "text", ["", "3", "0/4", "5/4", "-1/4", "1/0", "a/b", "1/4/", "1/10001", " 1/4", "٣/٤"]
)
def test_what_is_no_shard_is_an_error(text):
    with pytest.raises(UsageError, match=r"--shard: .* is no shard"):
        parse_shard(text)


def test_a_folder_says_which_shard_it_holds_and_whether_its_run_ended(tmp_path):
    assert read_mark(tmp_path) is None
    with pytest.raises(KeyboardInterrupt), marked(tmp_path, parse_shard("3/16")):
        raise KeyboardInterrupt
    assert read_mark(tmp_path) == Mark((3, 16), ended=False)
    with marked(tmp_path, (3, 16)):
        assert read_mark(tmp_path) == Mark((3, 16), ended=False)
    assert read_mark(tmp_path) == Mark((3, 16), ended=True)


@pytest.mark.parametrize("shard", [None, (4, 16), (3, 8)])
def test_a_folder_of_another_shard_is_not_continued(tmp_path, shard):
    with marked(tmp_path, (3, 16)):
        pass
    with pytest.raises(UsageError, match="holds shard 3/16"), marked(tmp_path, shard):
        pytest.fail("it was opened")
    assert read_mark(tmp_path) == Mark((3, 16), ended=True)


def test_a_run_that_is_no_shard_leaves_no_mark(tmp_path):
    with marked(tmp_path, None):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["", "{}", "[" * 10_000, '{"shard": 3}', '{"shard": "9/3"}'])
def test_a_broken_mark_is_one_error(tmp_path, content):
    (tmp_path / MARK).write_text(content)
    with pytest.raises(UsageError, match=r"shard\.json: does not say which shard"):
        read_mark(tmp_path)
