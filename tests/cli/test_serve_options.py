"""What the options of `serve` mean."""

import pytest

from darnet_trt.cli.serve_options import (
    address_of,
    check_range,
    peers_of,
    quiet,
    seconds_of,
    token_of,
)
from darnet_trt.errors import UsageError
from darnet_trt.runtime.serving.settings import Peer


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8000", ("127.0.0.1", 8000)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:8000", ("::1", 8000)),
        ("ct.example.org:104", ("ct.example.org", 104)),
        ("off", None),
    ],
)
def test_addresses(text, address):
    assert address_of(text, "--http") == address


@pytest.mark.parametrize(
    "text", ["", "8000", ":8000", "::1", "127.0.0.1", "a:b", "a:99999", "[::1]", "a b:1", "a:-1"]
)
def test_what_is_no_address(text):
    with pytest.raises(UsageError):
        address_of(text, "--http")


def test_peers_with_networks_ports_and_quiet_times():
    quiet_s, peers = peers_of(
        ["20", "CT1=30"],
        ["PACS", "CT1@10.0.0.0/24"],
        ["CT1@192.168.1.7:104", "CT1@fe80::1", "CT 2@[::1]:105"],
    )
    assert quiet_s == 20
    assert peers == (
        Peer("PACS"),
        Peer("CT1", ("10.0.0.0/24",), quiet_s=30),
        Peer("CT1", ("192.168.1.7", "fe80::1"), plain=True, quiet_s=30, port=104),
        Peer("CT 2", ("::1",), plain=True, port=105),
    )


@pytest.mark.parametrize("text", ["CT1@", "@10.0.0.1", "", "CT1@a b", "A" * 17])
def test_what_is_no_peer(text):
    with pytest.raises(UsageError):
        peers_of([], [text], [])


@pytest.mark.parametrize("text", ["", "0", "-1", "inf", "CT1=", "CT9=5", "1e9", "x"])
def test_what_is_no_quiet_time(text):
    with pytest.raises(UsageError):
        peers_of([text], ["CT1"], [])


def test_a_short_quiet_time_shortens_the_shortest():
    assert quiet(0.5) == {"quiet_s": 0.5, "shortest_quiet_s": 0.5}
    assert quiet(60)["shortest_quiet_s"] < 60


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("12h", 43200), ("7d", 604800), ("1.5h", 5400), ("2W", 1209600)],
)
def test_times(text, seconds):
    assert seconds_of(text, "--keep") == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "-1d", "0d", "1 year", "infd"])
def test_what_is_no_time(text):
    with pytest.raises(UsageError):
        seconds_of(text, "--keep")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 10.5])
def test_what_is_out_of_its_range_is_named(value):
    with pytest.raises(UsageError, match="--grace"):
        check_range(value, 0, 10, "--grace")


@pytest.mark.parametrize("mode", [0o644, 0o640])
def test_a_token_that_everybody_can_read_is_warned_of(tmp_path, capsys, mode):
    file = tmp_path / "token"
    file.write_text("0123456789abcdef\n")
    file.chmod(mode)
    assert token_of(file) == "0123456789abcdef"
    assert ("chmod" in capsys.readouterr().err) == (mode == 0o644)
