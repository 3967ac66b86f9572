"""Spread load: pull a key from another server only while it is watched here: edge.py rtmp://HOST/APP [PORT]

Watch rtmp://127.0.0.1/live/KEY, and it is pulled from rtmp://HOST/APP/KEY by ffmpeg, once for all watchers.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator
from typing import Any

import gevent
from gevent import subprocess
from gevent.socket import wait_read

from rtmpsrv import (
    Endpoint,
    ListenForWatchers,
    StreamKeyBecameActive,
    StreamKeyBecameInactive,
    WatcherRegistration,
    flv,
)

FFMPEG = os.environ.get("FFMPEG", "ffmpeg")
READ_BYTES = 65536
RETRY_S = 2.0  # after the origin refused or ended
KEY = re.compile(r"[0-9A-Za-z_-]{1,128}")  # what is passed on: keys are text that clients choose


def pieces(stream: Any) -> Iterator[bytes]:
    """Yield what ffmpeg writes, as it comes; other greenlets run meanwhile."""
    while True:
        wait_read(stream.fileno())
        piece = os.read(stream.fileno(), READ_BYTES)
        if not piece:
            return
        yield piece


def pull(registration: WatcherRegistration, origin: str, key: str) -> None:
    """Feed a key from the origin until this greenlet is killed."""
    command = [FFMPEG, "-v", "error", "-nostdin", "-i", f"{origin}/{key}", "-c", "copy", "-f", "flv", "-"]
    while True:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        pipe = process.stdout
        assert pipe is not None
        try:
            for data in flv.read(pieces(pipe)):
                registration.send(key, data)
        finally:
            process.kill()
            process.wait()
            pipe.close()
            registration.end(key)
        gevent.sleep(RETRY_S)


def serve(endpoint: Endpoint, origin: str, port: int) -> None:
    """Pull while a key is active."""
    pulls: dict[str, gevent.Greenlet[..., None]] = {}
    with endpoint.register(ListenForWatchers(rtmp_app="live", port=port)) as registration:
        print(f"watch rtmp://127.0.0.1:{registration.port}/live/KEY", flush=True)
        try:
            for message in registration:
                match message:
                    case StreamKeyBecameActive(stream_key=key) if KEY.fullmatch(key):
                        print("pulling", flush=True)
                        pulls[key] = gevent.spawn(pull, registration, origin, key)
                    case StreamKeyBecameInactive(stream_key=key) if key in pulls:
                        pulls.pop(key).kill()
                        print("stopped", flush=True)
        finally:
            gevent.killall(list(pulls.values()))


def main() -> None:
    """Run until SIGINT or SIGTERM."""
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 1935
    with Endpoint() as endpoint:
        server = gevent.spawn(serve, endpoint, sys.argv[1].rstrip("/"), port)
        for number in (signal.SIGTERM, signal.SIGINT):
            gevent.signal_handler(number, gevent.spawn, endpoint.close)
        server.get()


if __name__ == "__main__":
    main()
