"""Requests to the HTTP door, damaged in every way: each is the bytes of one connection."""

from __future__ import annotations

import gzip
import io
import json
import random
import struct
import warnings
import zipfile
from collections.abc import Callable, Sequence

ROUTES = [
    "/", "/page/page.js", "/openapi.json", "/docs", "/metrics", "/v2", "/v2/health/live",
    "/v2/health/ready", "/v2/models/{model}", "/v2/models/{model}/ready",
    "/v2/models/{model}/versions/1", "/v2/models/{model}/versions/1/ready",
    "/v2/models/{model}/infer", "/v2/models/{model}/versions/1/infer", "/v1/scans",
    "/v1/scans/{id}", "/v1/scans/{id}/instances", "/v1/scans/{id}/objects/sr",
    "/v1/scans/{id}/objects/{id}", "/v1/scans/{id}/overlay.png", "/v1/scans/{id}/evidence",
    "/v1/scans/{id}/events", "/v1/events", "/v1/deliveries", "/v1/queue", "/v1/service",
    "/dicomweb/studies", "/dicomweb/studies/{id}",
]  # fmt: skip
METHODS = [
    "GET",
    "POST",
    "PUT",
    "DELETE",
    "HEAD",
    "OPTIONS",
    "PATCH",
    "TRACE",
    "get",
    "X" * 300,
    "",
]
ODD = [
    "", "..", "../../etc/passwd", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "%00", "%", "%zz", "a\tb", "é",
    "%ff%fe", "0" * 32, "f" * 32, "1.2.3", "-1", "0" * 5000, "a/b/c", "?", "#", "*", "//", ";",
    "{}", "%0d%0aX: y", "\\", "1e999", "nan", "None", "2.25.9000000000", "\x7f", "con",
]  # fmt: skip
TYPES = [
    "application/json", "application/octet-stream", "application/zip", "application/dicom",
    "multipart/form-data", "multipart/form-data; boundary=b", "multipart/form-data; boundary=",
    'multipart/related; type="application/dicom"; boundary=b', "multipart/related",
    'multipart/related; type="application/dicom+json"; boundary=b', "text/plain", "", "a/b/c", ";;",
    "application/x-nifti", "application/gzip", "multipart/form-data; boundary=" + "b" * 500,
    "multipart/related; boundary=\"b", "application/json; charset=utf-7", "\xff\xfe",
]  # fmt: skip
HEADERS = [
    "Inference-Header-Content-Length: {n}", "Idempotency-Key: {odd}", "Content-Encoding: gzip",
    "Accept: {type}", "Last-Event-ID: {odd}", "Darnet-Ticket: {odd}", "Expect: 100-continue",
    "Range: bytes=0-{n}", "If-None-Match: {odd}", "Authorization: Bearer {odd}", "Host: {odd}",
    "Content-Disposition: attachment; filename=\"{odd}\"", "Connection: upgrade", "Cookie: {odd}",
    "Upgrade: websocket", "Connection: keep-alive, {odd}", "Content-Length: {n}", "X: {long}",
    "Transfer-Encoding: chunked", "Transfer-Encoding: {odd}", "Content-Location: {odd}", "{odd}: x",
]  # fmt: skip
NUMBERS = [
    "0", "1", "-1", "10", "999999999999999999999", "1e3", " 5", "0x10", "٣", "", "4294967296",
]  # fmt: skip


def tensor_request(rng: random.Random, size: Sequence[int]) -> bytes:
    """Return the JSON of an inference request, right or wrong."""
    d, h, w = size
    values = rng.choice(
        [
            [0.0] * (d * h * w),
            [0.0] * 3,
            [],
            None,
            "AAAA",
            [[0.0]],
            [float("nan")],
            [None],
            {},
            [True],
            [1e300],
            ["1"],
            3,
            [10**400],
        ]
    )
    shape = rng.choice(
        [
            [1, 1, d, h, w],
            [1, 1, d, h, w],
            [d, h, w],
            [0, 1, d, h, w],
            [-1, 1, d, h, w],
            [2**62, 1, 4],
            [2**31] * 5,
            [],
            None,
            "x",
            [1.5, 1, d, h, w],
            [True, 1, d, h, w],
            [[1], 1, d, h, w],
            [1] * 99,
            [10**30, 1, d, h, w],
        ]
    )
    one = {
        "name": rng.choice(["volume", "volume", "x", "", None, 3, "v" * 9999]),
        "shape": shape,
        "datatype": rng.choice(["FP32", "FP32", "FP64", "INT8", "BYTES", "fp32", "", None, 7]),
        "data": values,
        "parameters": rng.choice(
            [{}, None, {"binary_data_size": rng.choice([0, 4, -4, 10**12, "4"])}]
        ),
    }
    request = {
        "id": rng.choice(["1", None, 7, "x" * 9999, "\r\nX: y"]),
        "inputs": rng.choice([[one], [one, one], [], None, one, "x", [None], [3]]),
        "outputs": rng.choice(
            [
                [],
                None,
                [{"name": "logits"}],
                [{"name": "x"}],
                [{}],
                3,
                [None],
                [{"name": "cam", "parameters": {"binary_data": True}}],
                [{"name": "cam", "parameters": {"binary_data": "yes"}}],
                [{"name": "cam"}] * 200,
            ]
        ),
        "parameters": rng.choice(
            [
                {},
                None,
                3,
                {"timeout": rng.choice([0, 1, -1, 10**30, "1", None, 1.5, True, []])},
                {"binary_data_output": True},
                {"priority": 1, "x": {}},
            ]
        ),
    }
    for key in list(request):
        if rng.random() < 0.1:
            del request[key]
    text = json.dumps(request).encode()
    return rng.choice(
        [
            text,
            text,
            text,
            text,
            b"[" * 200_000,
            b'{"a":' * 100_000,
            b"9" * 100_000,
            b"\xff" + text,
            text[:-1],
            b'{"inputs":1,"inputs":2}',
            b"null",
            b"[]",
            b'"x"',
            b'{"\\ud800": 1}',
            b"",
            b"nan",
        ]
    )


def packed(rng: random.Random, slices: Sequence[bytes]) -> bytes:
    """Return a ZIP with members that should not be there."""
    with io.BytesIO() as written:
        how = rng.choice(
            [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2]
        )
        with zipfile.ZipFile(written, "w", how) as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a name twice
            for number in range(rng.randint(0, 5)):
                content = rng.choice(
                    [rng.choice(slices), b"", b"DICM", rng.randbytes(500), bytes(10**6)]
                )
                name = rng.choice(
                    [
                        f"{number}.dcm",
                        "../" * 9 + "x",
                        "/etc/x",
                        "C:\\x",
                        "a/",
                        "é",
                        "x" * 300,
                        "same",
                        "nested.zip",
                        "a\x01b",
                    ]
                )
                archive.writestr(name, content)
        content = bytearray(written.getvalue())
    for _ in range(rng.choice([0, 0, 1, 5, 50])):
        content[rng.randrange(len(content))] = rng.randrange(256)
    return bytes(content)[: rng.choice([None, None, len(content) // 2, 30])]


def volume(rng: random.Random) -> bytes:
    """Return the beginning of a volume file that lies."""
    nrrd = b"NRRD0004\ntype: short\ndimension: 3\nsizes: %s\nencoding: %s\n%s\n\n" % (
        rng.choice([b"4 4 4", b"-1 4 4", b"999999999 999999999 9", b"x", b"0 0 0"]),
        rng.choice([b"raw", b"gzip", b"x", b"ascii"]),
        rng.choice([b"data file: /etc/passwd", b"data file: LIST", b"byte skip: -1", b"a:=b"]),
    )
    head = b"ObjectType = Image\nNDims = %s\nDimSize = %s\nElementType = MET_SHORT\n"
    mha = (head + b"ElementDataFile = %s\n") % (
        rng.choice([b"3", b"-3", b"9999999"]),
        rng.choice([b"4 4 4", b"4 4", b"99999 99999 99999"]),
        rng.choice([b"LOCAL", b"/etc/passwd", b"../x.raw", b"LIST", b""]),
    )
    nifti = struct.pack("<i", 348) + rng.randbytes(336) + b"n+1\0" + rng.randbytes(400)
    content = rng.choice([nrrd, mha, nifti, gzip.compress(nifti), gzip.compress(bytes(10**7))])
    return content + rng.randbytes(rng.choice([0, 128]))


def parts(rng: random.Random, body: bytes) -> bytes:
    """Return a multipart body, whole or broken."""
    head = rng.choice(
        [
            b"Content-Type: application/dicom\r\n",
            b'Content-Disposition: form-data; name="f"; filename="../../x.dcm"\r\n',
            b"",
            b"X" * 70_000,
            b"A: \xff\xff\r\n",
            b"no colon\r\n",
            b"Content-Transfer-Encoding: base64\r\n",
            b"Content-Type: application/dicom;transfer-syntax=1.2.840.10008.1.2.4.50\r\n",
        ]
    )
    end = rng.choice([b"--b--\r\n", b"--b--", b"", b"--b", b"\r\n--b--\r\n"])
    return (b"--b\r\n" + head + b"\r\n" + body + b"\r\n") * rng.randint(0, 3) + end


def request(
    rng: random.Random,
    routes: Sequence[str],
    model: str,
    ids: Sequence[str],
    slices: Sequence[bytes],
    size: Sequence[int],
) -> bytes:
    """Return the bytes of a request: mostly whole, sometimes damaged."""
    route = rng.choice(routes)
    path = route
    while "{" in path:
        name = path[path.index("{") : path.index("}") + 1]
        right = [model] if "model" in name else list(ids)
        value = rng.choice(right) if right and rng.random() < 0.6 else rng.choice(ODD)
        path = path.replace(name, value, 1)
    if rng.random() < 0.2:
        path += rng.choice(["?", "?limit=", "?wait=", "?before=", "?x=", "/", "?token="])
        path += rng.choice([*ODD, *NUMBERS])
    bodies: list[Callable[[], bytes]] = [
        lambda: b"",
        lambda: tensor_request(rng, size),
        lambda: packed(rng, slices),
        lambda: volume(rng),
        lambda: rng.choice(slices),
        lambda: parts(rng, rng.choice([rng.choice(slices), packed(rng, slices), b"", b"x" * 9])),
        lambda: rng.randbytes(rng.choice([1, 100, 70_000])),
    ]
    likely = 1 if "infer" in route else 5 if "dicomweb" in route else rng.choice([2, 3, 4, 5])
    body = bodies[likely]() if rng.random() < 0.6 else rng.choice(bodies)()
    method = "POST" if rng.random() < 0.5 else rng.choice(METHODS)
    head = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    if rng.random() < 0.9:
        head.append(f"Content-Length: {len(body)}")
    if rng.random() < 0.8:
        head.append(f"Content-Type: {rng.choice(TYPES)}")
    for _ in range(rng.choice([0, 0, 1, 2])):
        words = {
            "odd": rng.choice(ODD),
            "n": rng.choice([*NUMBERS, str(len(body))]),
            "type": rng.choice(TYPES),
            "long": "x" * rng.choice([100, 70_000]),
        }
        head.append(rng.choice(HEADERS).format(**words))
    whole = "\r\n".join(head).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body
    return damaged(rng, whole) if rng.random() < 0.2 else whole


def damaged(rng: random.Random, content: bytes) -> bytes:
    """Cut bytes, change some of the first ones, or send what is no HTTP at all."""
    how = rng.randrange(4)
    if how == 0:
        return content[: rng.randrange(1, len(content))]
    if how == 1:
        changed = bytearray(content)
        for _ in range(rng.randint(1, 20)):
            changed[rng.randrange(min(len(changed), 400))] = rng.randrange(256)
        return bytes(changed)
    if how == 2:
        return content + rng.randbytes(200)
    return rng.randbytes(rng.randint(1, 3000))
