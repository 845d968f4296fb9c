"""Ask a service over HTTP."""

import http.client
import json


def ask(port, method, path, body=None, headers=None):
    """Ask on a port of this machine; return status, headers and body. JSON is parsed."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        content = answer.read()
        kind = answer.headers.get("content-type", "")
        return answer.status, answer.headers, json.loads(content) if "json" in kind else content
    finally:
        connection.close()
