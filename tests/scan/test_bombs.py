"""What claims gigabytes ends in an error with a code, within 1.5 GB of memory."""

import pytest

from tests.scan.bombs import BOMBS
from tests.scan.fuzz.watched import Child


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb(tmp_path, bomb):
    BOMBS[bomb](tmp_path)
    with Child() as child:
        end = child.read(tmp_path)
    assert end.defect == ""
    assert end.codes
    assert "ok" not in end.codes.split(" ")
