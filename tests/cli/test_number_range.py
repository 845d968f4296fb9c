"""Options that take a number or a range."""

import pytest

from darnet_trt.cli.number_range import number_range
from darnet_trt.errors import UsageError


@pytest.mark.parametrize("text", ["", "a", "1:", ":8", "1-8", "1:2:3", "-1", "1.5"])
def test_other_words_are_refused(text):
    with pytest.raises(UsageError) as caught:
        number_range(text, "--batch")
    assert caught.value.where == "--batch"
    assert repr(text) in caught.value.what
