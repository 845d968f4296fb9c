"""Who may send: by title, address, certificate."""

import os
import socket
import ssl
import subprocess
from contextlib import suppress
from dataclasses import replace

import pytest

from darnet_trt.errors import UsageError
from darnet_trt.runtime.delivery.peers.dimse import rejection
from darnet_trt.runtime.serving.dicom.peers import (
    check_closed,
    find_peer,
    may_speak_plain,
    read_peers,
)
from darnet_trt.runtime.serving.settings import DicomSettings, Peer
from tests.runtime.serving.dicom.certificates import authority, client
from tests.runtime.serving.dicom.senders import (
    association,
    eventually,
    needs_dcmtk,
    read_pdu,
    send,
    turns_of,
)
from tests.runtime.serving.received import CT, IMPLICIT, contents, encoded, one_slice


@pytest.fixture(scope="module")
def signer(tmp_path_factory):
    return authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def ours(signer):
    return signer.sign("server")


@pytest.fixture(scope="module")
def scanner(signer):
    return signer.sign("scanner")


def rejected(address, **options):
    with association(address, **options) as opened:
        assert not opened.is_established
        said = rejection(opened)
        return said and (said.result, said.result_source, said.diagnostic)


def test_an_unknown_title_is_rejected(open_door):
    door = open_door(peers=(Peer("CT1"), Peer("PACS")))
    assert send(door.address, one_slice(), ae="CT1") == [0]
    assert rejected(door.address, ae="CT2") == (1, 1, 3)
    assert rejected(door.address, ae="ct1") == (1, 1, 3)
    assert door.door.refused == {"peer": 2}


def test_a_title_from_another_address_is_rejected(open_door):
    door = open_door(peers=(Peer("CT1", ("192.0.2.0/24",)), Peer("PACS", ("127.0.0.0/8",))))
    assert rejected(door.address, ae="CT1") == (1, 1, 3)
    assert send(door.address, one_slice(), ae="PACS") == [0]


PLAIN = Peer("CT1", ("10.1.0.0/16", "fd00::/8"), plain=True)


@pytest.mark.parametrize(
    ("ae", "host", "secure", "found"),
    [
        ("CT1", "10.1.2.3", False, True),
        ("CT1", "::ffff:10.1.2.3", False, True),
        ("CT1", "fd00::1%eth0", False, True),
        ("CT1", "10.2.0.1", False, False),
        ("CT2", "10.1.2.3", False, False),
        ("PACS", "10.1.2.3", False, False),  # may speak TLS only
        ("PACS", "8.8.8.8", True, True),
    ],
)
def test_peers(ours, ae, host, secure, found):
    settings = DicomSettings(host="0.0.0.0", tls=ours, peers=(PLAIN, Peer("PACS")))
    check_closed(settings)
    assert (find_peer(settings, ae, host, secure=secure) is not None) == found


def test_which_addresses_may_speak_plainly(ours):
    settings = DicomSettings(tls=ours, peers=(PLAIN, Peer("PACS")))
    assert may_speak_plain(settings, "10.1.2.3")
    assert not may_speak_plain(settings, "10.2.2.3")


def test_a_door_that_is_open_to_strangers_is_not_opened(ours):
    outside = DicomSettings(host="0.0.0.0")
    anybody = replace(ours, clients=None)
    for settings in (
        outside,
        replace(outside, peers=(Peer("CT1"),)),
        replace(outside, peers=(Peer("CT1", ("10.0.0.1",)),)),  # not plain, and no TLS
        replace(outside, peers=(Peer("CT1", plain=True),)),  # from anywhere
        replace(outside, peers=(PLAIN, Peer("PACS"))),
        replace(outside, tls=anybody),
        replace(outside, tls=anybody, peers=(Peer("CT1"),)),
        replace(outside, peers=(Peer("CT1", ("10.0.0.300",), plain=True),)),
        replace(outside, peers=(Peer("CT1", ("ct1.example",), plain=True),)),
        replace(outside, host="::"),
    ):
        with pytest.raises(UsageError) as caught:
            check_closed(settings)
        assert "\n" not in str(caught.value)
    for settings in (
        DicomSettings(),
        DicomSettings(host="::1"),
        replace(outside, tls=ours),
        replace(outside, peers=(PLAIN,)),
    ):
        check_closed(settings)


def test_a_file_of_peers(tmp_path):
    path = tmp_path / "peers.toml"
    path.write_text(
        """
        [CT1]
        hosts = ["192.0.2.7", "192.0.2.0/28"]
        plain = true
        quiet_s = 30
        port = 104

        ["MY PACS"]
        """
    )
    assert read_peers(path) == (
        Peer("CT1", ("192.0.2.7", "192.0.2.0/28"), plain=True, quiet_s=30.0, port=104),
        Peer("MY PACS"),
    )


@pytest.mark.parametrize(
    "text",
    [
        "[CT1",
        "CT1 = 5",
        "[CT1]\nport = 0",
        "[CT1]\nport = 70000",
        "[CT1]\nplain = 1",
        "[CT1]\nquiet_s = -1",
        "[CT1]\nquiet_s = inf",
        "[CT1]\nquiet_s = 1e12",  # longer than a thread can wait
        "[CT1]\nquiet_s = 'x'",
        "[CT1]\nhosts = '192.0.2.7'",
        "[CT1]\nhost = ['192.0.2.7']",
        "[A-TITLE-OF-MORE-THAN-16]",
        "['A\\B']",
        "\xff",
    ],
)
def test_a_broken_file_of_peers(tmp_path, text):
    path = tmp_path / "peers.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError) as caught:
        read_peers(path)
    assert "\n" not in str(caught.value)
    assert "peers.toml" in str(caught.value)


def test_no_file_of_peers(tmp_path):
    with pytest.raises(UsageError):
        read_peers(tmp_path / "none.toml")


def test_a_port_that_is_taken(open_door):
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(UsageError):
        open_door(port=taken.getsockname()[1])


def test_a_client_with_a_certificate_stores(open_door, signer, ours, scanner):
    door = open_door(tls=ours)
    context = client(scanner, signer.path)
    assert send(door.address, *map(one_slice, range(1, 4)), tls_args=(context, None)) == [0] * 3
    assert len(contents(door.kept.store)) == 3


@needs_dcmtk
def test_dcmtk_speaks_tls(open_door, signer, ours, scanner, tmp_path):
    door = open_door(tls=ours)
    (tmp_path / "1.dcm").write_bytes(encoded(one_slice()))
    command = ["storescu", "+tls", scanner.key, scanner.certificate, "+cf", signer.path]
    command += ["127.0.0.1", str(door.door.port), tmp_path / "1.dcm"]
    done = subprocess.run(command, env={**os.environ, "TCP_NODELAY": "1"}, timeout=30)
    assert done.returncode == 0
    assert len(contents(door.kept.store)) == 1


@pytest.mark.filterwarnings("ignore:Exception ignored in. <socket")
def test_clients_without_a_right_certificate_do_not(open_door, signer, ours, tmp_path, caplog):
    door = open_door(tls=ours)
    other = authority(tmp_path, "other")
    for tls in (None, other.sign("stranger"), signer.sign("expired", days=-1)):
        context = client(tls, signer.path)
        heard = b""
        with (
            socket.create_connection(door.address) as connection,
            suppress(ssl.SSLError, ConnectionError),
            context.wrap_socket(connection) as secure,
        ):
            secure.sendall(b"\1\0\0\0\0\4\0\0\0\0")  # TLS 1.3 refuses after the handshake
            heard = secure.recv(1)
        assert heard == b""
    eventually(lambda: door.door.refused["tls"] == 3)
    assert caplog.text.count("--tls-clients") == 1
    assert not door.door._open


def test_plain_text_on_the_tls_port_is_hung_up_on(open_door, ours, tmp_path):
    plain = open_door()
    turns = turns_of(plain.address, lambda address: send(address, one_slice()))
    plain.door.close()
    door = open_door(tls=ours)
    for said in (turns[0], b"GET / HTTP/1.1\r\n\r\n", b"\x16" + bytes(300)):
        with socket.create_connection(door.address) as connection:
            connection.sendall(said)
            connection.settimeout(20)
            heard = b""
            with suppress(ConnectionResetError):
                while piece := connection.recv(100):
                    heard += piece
            assert heard[:1] in (b"", b"\x15")  # nothing, or TLS's own alert
    eventually(lambda: not door.door._open)


def test_a_peer_that_may_speak_plainly_does_so_on_the_same_port(open_door, signer, ours, scanner):
    door = open_door(tls=ours, peers=(Peer("CT1", ("127.0.0.1",), plain=True), Peer("PACS")))
    assert send(door.address, one_slice(1), ae="CT1") == [0]
    assert rejected(door.address, ae="PACS") == (1, 1, 3)
    context = client(scanner, signer.path)
    assert send(door.address, one_slice(2), ae="PACS", tls_args=(context, None)) == [0]


def test_a_handshake_that_does_not_go_on_holds_nobody_up(open_door, signer, ours, scanner):
    door = open_door(tls=ours)
    silent = [socket.create_connection(door.address) for _ in range(5)]
    for each in silent[:3]:
        each.sendall(b"\x16\x03\x01")
    context = client(scanner, signer.path)
    assert send(door.address, one_slice(), tls_args=(context, None)) == [0]
    assert door.door._listener._strangers, "they are ended later"
    for each in silent:
        each.close()
    eventually(lambda: not door.door._listener._strangers)


def test_a_broken_certificate_is_said_so(open_door, ours, signer, tmp_path):
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nhello\n")
    encrypted = tmp_path / "encrypted.key"
    subprocess.run(
        ["openssl", "pkcs8", "-topk8", "-in", ours.key, "-out", encrypted, "-passout", "pass:x"],
        check=True,
        capture_output=True,
    )
    for tls in (
        replace(ours, certificate=tmp_path / "none.pem"),
        replace(ours, certificate=broken),
        replace(ours, key=signer.sign("another").key),
        replace(ours, key=encrypted),
        replace(ours, clients=broken),
        replace(ours, clients=tmp_path / "none.pem"),
    ):
        with pytest.raises(UsageError) as caught:
            open_door(tls=tls)
        assert "\n" not in str(caught.value)


def test_a_door_on_ipv6(open_door):
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        door = open_door(host="::1")
    except UsageError:
        pytest.skip("no IPv6 here")
    with association(("::1", door.door.port), [(CT, IMPLICIT)]) as opened:
        assert opened.is_established


def test_the_log_tells_of_strangers_once_and_not_what_they_wrote(open_door, caplog):
    caplog.set_level(0)
    door = open_door(peers=(Peer("CT1"),))
    for _ in range(3):
        rejected(door.address, ae="SECRETNAME")
    with socket.create_connection(door.address) as connection:
        connection.sendall(b"\1\0\0\0\0\x04SECR")
        read_pdu(connection)
    eventually(lambda: not door.door._open)
    assert "SECR" not in caplog.text
    assert caplog.text.count("127.0.0.1") == 1
