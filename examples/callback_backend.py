"""A callback backend for rtmpsrv: who may publish on which channel. Standard library only.

STREAM_KEYS="news=secret1 sports=secret2" JWT_SECRET=change-me PORT=8000 python3 examples/callback_backend.py
"""

import base64
import hashlib
import hmac
import json
import os
import secrets
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

JWT_SECRET = os.environ.get("JWT_SECRET", "").encode()
STREAM_KEYS = dict(pair.split("=", 1) for pair in os.environ.get("STREAM_KEYS", "").split())


def read_token(token: str) -> dict[str, Any] | None:
    """Return the claims of an HS256 token, or None if it is forged, broken or too old."""
    try:
        head, body, signature = (base64.urlsafe_b64decode(p + "=" * (-len(p) % 4)) for p in token.split("."))
        expected = hmac.new(JWT_SECRET, token.rpartition(".")[0].encode(), hashlib.sha256).digest()
        good = json.loads(head)["alg"] == "HS256" and hmac.compare_digest(signature, expected)
        claims: dict[str, Any] = json.loads(body)
        return claims if good and claims["exp"] > time.time() else None
    except (ValueError, KeyError, TypeError):
        return None


class Callback(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps the connection open for the next event

    def do_POST(self) -> None:
        claims, status = read_token(self.headers.get("rtmp-event", "")), 401
        stream_id: str | None = None
        if claims and claims["event"] == "start":
            key = STREAM_KEYS.get(claims["channel"], "").encode()
            status = 200 if key and hmac.compare_digest(key, claims["key"].encode()) else 403
            stream_id = secrets.token_hex(8) if status == 200 else None
        elif claims and claims["event"] == "stop":
            status, stream_id = 200, claims["stream_id"]
        if claims and status == 200:
            print(claims["event"], claims["channel"], stream_id)  # what an example is for
        self.send_response(status)
        if stream_id:
            self.send_header("stream-id", stream_id)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass  # its lines would be one per event; ours say more


if __name__ == "__main__":
    server = ThreadingHTTPServer(("0.0.0.0", int(os.environ.get("PORT", "8000"))), Callback)
    with suppress(KeyboardInterrupt):  # Ctrl-C is how it ends
        print(f"waiting for events on :{server.server_port}", flush=True)
        server.serve_forever()
