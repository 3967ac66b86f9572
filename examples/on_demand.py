"""Play a FLV file in a loop, but only while somebody watches: on_demand.py FILE.flv [PORT]

Watch with: ffplay rtmp://127.0.0.1/live/loop
"""

from __future__ import annotations

import signal
import sys
from dataclasses import replace
from pathlib import Path

import gevent
from gevent.event import Event

from rtmpsrv import (
    Endpoint,
    Exact,
    ListenForWatchers,
    StreamKeyBecameActive,
    StreamKeyBecameInactive,
    StreamMetadata,
    WatcherRegistration,
    flv,
)

KEY = "loop"
FRAME_MS = 40  # between the last frame of a pass and the first of the next


def feed(registration: WatcherRegistration, path: Path, wanted: Event) -> None:
    """Send the file again and again, as one stream; hold still while nobody watches."""
    began_ms = last_ms = 0
    while True:
        for data in flv.read_in_real_time(path):
            if not wanted.is_set():
                print("idle", flush=True)
                wanted.wait()
                print("feeding", flush=True)
            if not isinstance(data, StreamMetadata):
                at_ms = began_ms + data.timestamp
                data = replace(data, timestamp=at_ms % 2**32)
                last_ms = max(last_ms, at_ms)
            registration.send(KEY, data)
        began_ms = last_ms + FRAME_MS


def serve_file(endpoint: Endpoint, path: Path, port: int) -> None:
    """Serve until the registration ends."""
    wanted = Event()
    request = ListenForWatchers(rtmp_app="live", rtmp_stream_key=Exact(KEY), port=port)
    with endpoint.register(request) as registration:
        print(f"watch rtmp://127.0.0.1:{registration.port}/live/{KEY}", flush=True)
        feeder = gevent.spawn(feed, registration, path, wanted)
        try:
            for message in registration:
                match message:
                    case StreamKeyBecameActive():
                        wanted.set()
                    case StreamKeyBecameInactive():
                        wanted.clear()
        finally:
            feeder.kill()


def main() -> None:
    """Run until SIGINT or SIGTERM."""
    path = Path(sys.argv[1])
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 1935
    with Endpoint() as endpoint:
        server = gevent.spawn(serve_file, endpoint, path, port)
        for number in (signal.SIGTERM, signal.SIGINT):
            gevent.signal_handler(number, gevent.spawn, endpoint.close)
        server.get()


if __name__ == "__main__":
    main()
