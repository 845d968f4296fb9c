"""DICOMweb services, each of which answers STOW-RS in its own way."""

from __future__ import annotations

import json
import re
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

JSON = "application/dicom+json"


@dataclass
class Service:
    """A service that runs.

    Attributes:
        port: It listens on.
        scheme: http or https.
        stored: SOP instances in the order in which they came.
        paths: What was asked for.
        headers: Of each request.
    """

    port: int = 0
    scheme: str = "http"
    stored: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    @property
    def web(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/dicom-web"


Reply = tuple[int, dict[str, str], bytes]


@contextmanager
def service(answer: Callable[[str], Reply], certificate: Path | None = None) -> Iterator[Service]:
    """Run a service; `answer` takes the SOP instance of a request."""
    found = Service(scheme="https" if certificate else "http")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            uid = re.search(rb"\x08\x00\x18\x00UI..([0-9.]+)", body, re.DOTALL)
            sop_uid = uid[1].decode() if uid else ""
            found.stored.append(sop_uid)
            found.paths.append(self.path)
            found.headers.append(dict(self.headers))
            status, headers, content = answer(sop_uid)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"[]")

        def log_message(self, *words: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *where: None  # type: ignore[method-assign]
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    found.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()


def own_certificate(folder: Path) -> Path:
    """Return the file of a certificate for 127.0.0.1 that nobody has signed, with its key."""
    file = folder / "own.pem"
    words = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1"
    key = folder / "key.pem"
    more = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(file)]
    subprocess.run([*words.split(), *more], check=True, capture_output=True)
    file.write_text(file.read_text() + key.read_text())
    return file


def module(*stored: str, failed: dict[str, int] | None = None, warning: int = 0) -> bytes:
    """Return a Store Instances Response in DICOM's JSON model."""

    def item(sop_uid: str, **reasons: int) -> dict[str, Any]:
        tags = {"failure": "00081197", "warning": "00081196"}
        found: dict[str, Any] = {"00081155": {"vr": "UI", "Value": [sop_uid]}}
        found |= {tags[name]: {"vr": "US", "Value": [code]} for name, code in reasons.items()}
        return found

    data: dict[str, Any] = {"00081190": {"vr": "UR", "Value": ["http://here/studies/1"]}}
    if stored:
        reasons = {"warning": warning} if warning else {}
        data["00081199"] = {"vr": "SQ", "Value": [item(uid, **reasons) for uid in stored]}
    if failed:
        items = [item(uid, failure=code) for uid, code in failed.items()]
        data["00081198"] = {"vr": "SQ", "Value": items}
    return json.dumps(data).encode()
