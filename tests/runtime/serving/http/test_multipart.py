"""Bodies of parts are read the same however they are cut, and each fault is one clear error."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darnet_trt.errors import UsageError
from darnet_trt.runtime.serving.http.multipart import media_type, parts

BOUNDARY = b"bound"
NEARLY = st.sampled_from([b"\r\n", b"\r\n--boun", b"--", b"\r\n-", b"\r", b"\r\n--bounx"])
CONTENT = st.binary(max_size=60).filter(lambda content: b"--bound" not in content) | NEARLY


def body_of(contents, boundary=BOUNDARY):
    heads = [
        b'Content-Disposition: form-data; name="f"; filename="%d"\r\n' % n
        for n in range(len(contents))
    ]
    marked = zip(heads, contents, strict=True)
    body = b"".join(b"--%b\r\n%b\r\n%b\r\n" % (boundary, h, c) for h, c in marked)
    return body + b"--%b--\r\n" % boundary


def read(pieces, boundary=BOUNDARY):
    return [(part.filename, b"".join(part.pieces)) for part in parts(pieces, boundary)]


def cut(body, places):
    ends = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    return [body[a:b] for a, b in itertools.pairwise(ends) if b > a]


@given(st.lists(CONTENT, min_size=1, max_size=4), st.lists(st.integers(0, 10**6), max_size=8))
def test_parts_come_whole_however_they_are_cut(contents, places):
    expected = [(str(n), content) for n, content in enumerate(contents)]
    assert read(cut(body_of(contents), places)) == expected
    assert read([b"\r\n", *cut(body_of(contents), places), b"an epilogue"]) == expected


@given(st.lists(CONTENT, min_size=1, max_size=3), st.data())
def test_a_body_that_ends_early_is_an_error(contents, data):
    body = body_of(contents)
    end = data.draw(st.integers(0, len(body) - len(b"--\r\n")))
    with pytest.raises(UsageError):
        read([body[:end]])


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=5), st.booleans())
def test_no_bytes_raise_anything_else(pieces, begins):
    if begins:
        pieces = [b"--bound\r\n", *pieces]
    with pytest.raises(UsageError):
        read([*pieces, b"\0"])


@given(st.text(max_size=60))
def test_any_content_type_is_understood(text):
    kind, boundary = media_type(text.encode("utf-8", "replace").decode("latin-1"))
    assert (type(kind), type(boundary)) == (str, bytes)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Multipart/Form-Data; boundary=x", ("multipart/form-data", b"x")),
        (
            'multipart/related; type="application/dicom"; boundary="a b"',
            ("multipart/related", b"a b"),
        ),
        ("application/zip", ("application/zip", b"")),
        ("", ("", b"")),
    ],
)
def test_media_types_are_read(text, expected):
    assert media_type(text) == expected


def test_parts_that_are_not_read_are_passed_over():
    found = [part.filename for part in parts([body_of([b"a" * 100, b"b", b"c"])], BOUNDARY)]
    assert found == ["0", "1", "2"]
