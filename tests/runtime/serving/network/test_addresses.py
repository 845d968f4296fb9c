"""Where the doors listen, and what no address is."""

import pytest

from darnet_trt.errors import UsageError
from darnet_trt.runtime.serving.network.addresses import is_loopback, listen


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost", "LocalHost"])
def test_loopback_is_reached_from_this_machine_alone(host):
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "scanner", "localhost.example", ""])
def test_what_others_reach_is_no_loopback(host):
    assert not is_loopback(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_it_listens_on_a_free_port(host):
    with listen(host, 0, 1, "--http") as door:
        assert door.getsockname()[1]
        with pytest.raises(UsageError, match="--dicom"):
            listen(host, door.getsockname()[1], 1, "--dicom")


@pytest.mark.parametrize("host", ["no.such.host.invalid", "203.0.113.1", "a..b", "x" * 64, ".."])
def test_what_is_no_address_of_this_machine_is_named(host):
    with pytest.raises(UsageError) as refused:
        listen(host, 0, 1, "--http")
    assert host in str(refused.value)
    assert "\n" not in str(refused.value)
