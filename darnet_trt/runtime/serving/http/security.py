"""Say who may ask: on loopback everybody here, beyond it whoever shows a token or a certificate."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

from darnet_trt.errors import UsageError
from darnet_trt.runtime.serving.http.errors import answer
from darnet_trt.runtime.serving.network.addresses import is_loopback

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from darnet_trt.runtime.serving.settings import HttpSettings

SHORTEST_TOKEN: Final = 16
"""Characters; shorter ones are guessed."""
_OPEN: Final = ("/", "/v2/health/live", "/v2/health/ready")
_OPEN_BELOW: Final = "/page/"
"""The page's files hold no data; it asks for the token itself."""


def check_exposure(settings: HttpSettings) -> None:
    """Check that an address beyond loopback is guarded.

    Raises:
        UsageError: It is not, or the token is too short.
    """
    token = settings.token
    if token is not None and (
        len(token) < SHORTEST_TOKEN
        or not token.isascii()
        or not token.isprintable()
        or " " in token
    ):
        raise UsageError(
            f"the token is not {SHORTEST_TOKEN} or more printable ASCII characters without spaces",
            do="make one with: openssl rand -hex 32",
        )
    certificates = settings.tls is not None and settings.tls.clients is not None
    if not is_loopback(settings.host) and token is None and not certificates:
        raise UsageError(
            f"HTTP on {settings.host} would be open to the network",
            do="give a token, or TLS with clients' certificates, or use 127.0.0.1",
        )


class Guard:
    """Lets requests through that may be asked.

    Where no token is wanted, a page of another site must not reach the service by the user's
    browser: neither under a name of its own that leads to loopback (DNS rebinding; so the Host
    header is checked there), nor by a request from that page (so is Origin).

    Args:
        app: What they reach.
        settings: Of the door.
    """

    def __init__(self, app: ASGIApp, settings: HttpSettings) -> None:
        self._app = app
        self._token = None if settings.token is None else settings.token.encode()
        self._hosts = None
        if is_loopback(settings.host) and settings.tls is None:
            self._hosts = {"localhost", "127.0.0.1", "::1", settings.host.lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or refuse it."""
        if scope["type"] == "http":
            try:
                self._check(scope["path"], Headers(scope=scope))
            except HTTPException as error:
                await answer(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _check(self, path: str, headers: Headers) -> None:
        if self._token is None:
            host = headers.get("host", "")
            if self._hosts is not None and _name(host) not in self._hosts:
                raise HTTPException(403, "the Host header names another machine than this one")
            origin = headers.get("origin")
            if origin is not None and _place(origin) != host.lower():
                raise HTTPException(403, "pages of other sites may not ask this service")
        elif path not in _OPEN and not path.startswith(_OPEN_BELOW):
            kind, _, shown = headers.get("authorization", "").partition(" ")
            right = hmac.compare_digest(shown.strip().encode("latin-1"), self._token)
            if kind.lower() != "bearer" or not right:
                raise HTTPException(
                    401,
                    "this service wants a token: send the header Authorization: Bearer TOKEN",
                    {"WWW-Authenticate": "Bearer"},
                )


def _name(host: str) -> str:
    """Return the name or address in a Host header, without its port; empty where it has none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _place(origin: str) -> str:
    """Return host and port of an Origin header; empty where there are none ("null")."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
