"""Bodies for the HTTP door: tensors, archives, volumes and multipart, right and wrong."""

from __future__ import annotations

import gzip
import io
import json
import random
import struct
import warnings
import zipfile
from collections.abc import Sequence


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
            [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA]
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
    for _ in range(rng.choice([0, 0, 0, 0, 1, 5])):
        content[rng.randrange(len(content))] = rng.randrange(256)
    return bytes(content)[: rng.choice([None] * 8 + [len(content) // 2, 30])]


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
