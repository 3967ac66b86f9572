"""A control server for rtmpsrv: says who may publish, on any number of servers. Needs the package websockets.

STREAM_KEYS="news=secret1" CONTROL_SECRET=change-me PORT=8000 .venv/bin/python examples/control_server.py

To end a stream, type: kill CHANNEL
"""

import base64
import hashlib
import hmac
import json
import os
import secrets
import sys
import threading
import time
from contextlib import suppress

from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

CONTROL_SECRET = os.environ.get("CONTROL_SECRET", "").encode()
STREAM_KEYS = dict(pair.split("=", 1) for pair in os.environ.get("STREAM_KEYS", "").split())
live: dict[str, tuple[ServerConnection, str]] = {}  # channel: the link of its server, and the stream id
lock = threading.Lock()  # each link has a thread


def is_genuine(token: str) -> bool:
    """Tell whether a token is from a server that knows the secret, and not too old."""
    try:
        head, body, signature = (base64.urlsafe_b64decode(p + "=" * (-len(p) % 4)) for p in token.split("."))
        expected = hmac.new(CONTROL_SECRET, token.rpartition(".")[0].encode(), hashlib.sha256).digest()
        good = json.loads(head)["alg"] == "HS256" and hmac.compare_digest(signature, expected)
        claims = json.loads(body)
        return good and claims["sub"] == "rtmp-control" and claims["exp"] > time.time()
    except (ValueError, KeyError, TypeError):
        return False


def check(link: ServerConnection, request: Request) -> Response | None:
    """Let nobody in but servers, at their path."""
    if request.path != "/ws/control/rtmp":
        return link.respond(404, "Not found.\n")
    if not is_genuine(request.headers.get("x-control-auth-token", "")):
        return link.respond(403, "Invalid authentication token.\n")
    return None


def answer(link: ServerConnection, kind: str, given: dict[str, str]) -> str | None:
    """Return what to say to one message, or None."""
    channel = given.get("stream-channel", "")
    if kind == "HEARTBEAT":
        return "HEARTBEAT"
    if kind == "PUBLISH-REQUEST":
        key, request_id = STREAM_KEYS.get(channel, "").encode(), given["request-id"]
        if not key or channel in live or not hmac.compare_digest(key, given["stream-key"].encode()):
            return f"PUBLISH-DENY\nRequest-ID: {request_id}"
        live[channel] = link, secrets.token_hex(8)
        print("start", channel, live[channel][1], flush=True)
        return f"PUBLISH-ACCEPT\nRequest-ID: {request_id}\nStream-ID: {live[channel][1]}"
    if kind == "PUBLISH-END" and live.get(channel) == (link, given["stream-id"]):
        print("stop", channel, live.pop(channel)[1], flush=True)
    return None


def control(link: ServerConnection) -> None:
    """Serve one rtmpsrv; when the link is lost, its streams are over."""
    try:
        for message in link:
            if isinstance(message, bytes):
                continue  # rtmpsrv sends text only
            kind, *lines = message.splitlines()
            given = {n.strip().lower(): v.strip() for n, _, v in (line.partition(":") for line in lines)}
            with lock:
                said = answer(link, kind, given)
            if said:
                link.send(said)
    except ConnectionClosed:
        pass  # without good-bye
    finally:
        with lock:
            for channel in [channel for channel, (at, _) in live.items() if at is link]:
                print("lost", channel, live.pop(channel)[1], flush=True)


if __name__ == "__main__":
    with serve(control, "0.0.0.0", int(os.environ.get("PORT", "8000")), process_request=check) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with suppress(KeyboardInterrupt):  # Ctrl-C is how it ends
            print(f"waiting for servers on :{server.socket.getsockname()[1]}", flush=True)
            for line in sys.stdin:
                command, _, channel = line.strip().partition(" ")
                link = live.get(channel, (None, ""))[0]
                if command == "kill" and link:
                    with suppress(ConnectionClosed):
                        link.send(f"STREAM-KILL\nStream-Channel: {channel}\nStream-ID: *")
            threading.Event().wait()  # no terminal: serve on
