"""Serve the page's files, which hold no data: what it shows it asks the service for.

Nothing comes from elsewhere, no script or style stands in the page itself, and a text can only
become a text node: the security policy refuses all else.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request, Response

POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
"""Content-Security-Policy of every file."""

_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",  # asks each time, and is told that nothing changed
}
_START: Final = "index.html"


@dataclass(frozen=True)
class _File:
    content: bytes
    kind: str
    etag: str


def make_router() -> APIRouter:
    """Return the routes of the page: `/`, and `/page/NAME` for what it is made of.

    They need no token, so that the page can ask for it.
    """
    files = _files()
    router = APIRouter(include_in_schema=False)

    @router.api_route("/", methods=["GET", "HEAD"])
    async def start(request: Request) -> Response:
        return _answer(request, files.get(_START))

    @router.api_route("/page/{name:path}", methods=["GET", "HEAD"])
    async def file(request: Request, name: str) -> Response:
        return _answer(request, files.get(name))

    return router


def _files() -> dict[str, _File]:
    """Return every file by its path below `static`; a request's name is only looked up in it."""
    folder = Path(__file__).parent / "static"
    found = {}
    for path in sorted(folder.rglob("*.*")):
        content = path.read_bytes()
        etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        found[path.relative_to(folder).as_posix()] = _File(content, _TYPES[path.suffix], etag)
    return found


def _answer(request: Request, file: _File | None) -> Response:
    if file is None:
        return Response('{"error": "there is no such page"}', 404, media_type="application/json")
    headers = {**_HEADERS, "ETag": file.etag}
    known = request.headers.get("if-none-match", "")
    if file.etag in (each.strip().removeprefix("W/") for each in known.split(",")):
        return Response(status_code=304, headers=headers)
    body = file.content if request.method == "GET" else b""
    headers["Content-Length"] = str(len(file.content))
    return Response(body, headers=headers, media_type=file.kind)
