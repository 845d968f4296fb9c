"""Requests to the HTTP door, damaged in every way: each is the bytes of one connection."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.runtime.serving.fuzz.bodies import packed, parts, tensor_request, volume

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


@dataclass(frozen=True)
class Known:
    """What a request needs to know of a service to be a right one.

    Attributes:
        model: Name of its model.
        size: Of the network's input.
        ids: Names of some studies.
        slices: DICOM files.
        routes: Paths of its OpenAPI document, and others.
    """

    model: str
    size: tuple[int, ...]
    ids: Sequence[str]
    slices: Sequence[bytes]
    routes: Sequence[str]


Request = tuple[str, list[str], bytes]
"""Method, headers and body."""


def right_request(rng: random.Random, route: str, known: Known) -> Request:
    """Return what the route takes."""
    if "infer" in route:
        return "POST", *_right_tensor(rng, known.size)
    if "dicomweb" in route:
        body = b"".join(
            b"--b\r\nContent-Type: application/dicom\r\n\r\n" + content + b"\r\n"
            for content in rng.sample(list(known.slices), 2)
        )
        kind = 'multipart/related; type="application/dicom"; boundary=b'
        return "POST", [f"Content-Type: {kind}"], body + b"--b--\r\n"
    if route == "/v1/scans" and rng.random() < 0.7:
        body = rng.choice([packed(rng, known.slices), volume(rng), rng.choice(known.slices)])
        if rng.random() < 0.5:
            return "POST", ["Content-Type: application/octet-stream"], body
        head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
        return (
            "POST",
            ["Content-Type: multipart/form-data; boundary=b"],
            head + body + b"\r\n--b--\r\n",
        )
    return "GET", [], b""


def _right_tensor(rng: random.Random, size: Sequence[int]) -> tuple[list[str], bytes]:
    d, h, w = size
    volumes = bytes(4 * d * h * w)
    tensor = {"name": "volume", "shape": [1, 1, d, h, w], "datatype": "FP32"}
    how = rng.randrange(3)
    if how == 0:  # raw
        return ["Inference-Header-Content-Length: 0"], volumes
    if how == 1:
        whole = {"inputs": [{**tensor, "data": [0.5] * (d * h * w)}], "outputs": [{"name": "cam"}]}
        return ["Content-Type: application/json"], json.dumps(whole).encode()
    tensor = {**tensor, "parameters": {"binary_data_size": len(volumes)}}
    text = json.dumps({"inputs": [tensor]}).encode()
    return [f"Inference-Header-Content-Length: {len(text)}"], text + volumes


def request(rng: random.Random, known: Known) -> bytes:
    """Return the bytes of a request: right, wrong in some places, or damaged."""
    route = rng.choice(known.routes)
    method, headers, body = right_request(rng, route, known)
    path = _path(rng, route, known)
    length = str(len(body))
    for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
        how = rng.randrange(7)
        if how == 0:
            method = rng.choice(METHODS)
        elif how == 1:
            headers = [*headers, f"Content-Type: {rng.choice(TYPES)}"]
        elif how == 2:
            headers = headers[1:]
        elif how == 3:
            length = rng.choice([*NUMBERS, str(len(body) - 1), str(len(body) + 1)])
        elif how == 4:
            body = _other_body(rng, route, known)
            length = str(len(body))
        else:
            words = {
                "odd": rng.choice(ODD),
                "n": rng.choice([*NUMBERS, str(len(body))]),
                "type": rng.choice(TYPES),
                "long": "x" * rng.choice([100, 70_000]),
            }
            headers = [*headers, rng.choice(HEADERS).format(**words)]
    head = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {length}", *headers]
    whole = "\r\n".join(head).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body
    return damaged(rng, whole) if rng.random() < 0.15 else whole


def _path(rng: random.Random, route: str, known: Known) -> str:
    path = route
    while "{" in path:
        name = path[path.index("{") : path.index("}") + 1]
        right = [known.model] if "model" in name else list(known.ids)
        value = rng.choice(right) if right and rng.random() < 0.8 else rng.choice(ODD)
        path = path.replace(name, value.replace("{", "%7B"), 1)
    if rng.random() < 0.2:
        path += rng.choice(["?", "?limit=", "?wait=", "?before=", "?x=", "/", "?token="])
        path += rng.choice([*ODD, *NUMBERS])
    return path


def _other_body(rng: random.Random, route: str, known: Known) -> bytes:
    bodies: list[Callable[[], bytes]] = [
        lambda: tensor_request(rng, known.size),
        lambda: packed(rng, known.slices),
        lambda: parts(rng, rng.choice([*known.slices, packed(rng, known.slices), b"", b"x" * 9])),
        lambda: volume(rng),
        lambda: rng.randbytes(rng.choice([0, 1, 100, 70_000])),
    ]
    likely = 0 if "infer" in route else 2 if "dicomweb" in route else rng.choice([1, 2, 3])
    return bodies[likely]() if rng.random() < 0.8 else rng.choice(bodies)()


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
