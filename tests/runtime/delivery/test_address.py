import pytest

from darnet_trt.errors import UsageError
from darnet_trt.runtime.delivery.peers.address import Dimse, Stow, parse_address, parse_title


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("PACS@10.0.0.5:104", Dimse("PACS", "10.0.0.5", 104)),
        ("My PACS@Archive.Local:11112", Dimse("My PACS", "archive.local", 11112)),
        (" PACS @host:1", Dimse("PACS", "host", 1)),
        ("a@b@host:1", Dimse("a@b", "host", 1)),
        ("PACS@[::1]:104", Dimse("PACS", "::1", 104)),
        ("PACS@[fe80::1%eth0]:104", Dimse("PACS", "fe80::1%eth0", 104)),
        ("https://Host/dicom-web/", Stow("https://host/dicom-web")),
        ("HTTPS://host:443/a/studies/", Stow("https://host/a")),
        ("http://[::1]:8042/dicom-web", Stow("http://[::1]:8042/dicom-web")),
    ],
)
def test_an_address_is_parsed_and_printed_in_one_form(text, address):
    assert parse_address(text) == address
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        *("", "PACS", "@host:104", "PACS@host", "PACS@host:", "PACS@:104", "PACS@host:0"),
        *("PACS@host:65536", "PACS@host:104/x", "PACS@ho st:104", "PACS@::1:104", "PACS@[::1]"),
        *("seventeen letters@host:104", "back\\slash@host:104", "übung@host:104", "a\tb@host:1"),
        *("ftp://host", "https://", "https://host:x/", "https://host:99999", "https://[::1/x"),
        *("https://me:secret@host/x", "https://host/x?key=1", "https://host/x#y", "http://a b/"),
    ],
)
def test_what_is_no_address_is_one_line(text):
    with pytest.raises(UsageError) as error:
        parse_address(text)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("title", ["", "   ", "x" * 17, "a\\b", "a\nb"])
def test_what_is_no_title_is_refused(title):
    with pytest.raises(UsageError, match="--ae"):
        parse_title(title, "--ae")
