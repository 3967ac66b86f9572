"""Play a FLV file in a loop, but only while somebody watches: on_demand.py FILE.flv [PORT]

Watch with: ffplay rtmp://127.0.0.1/live/loop
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import gevent
from gevent.event import Event

from rtmpsrv import (
    Endpoint,
    Exact,
    ListenForWatchers,
    StreamKeyBecameActive,
    StreamKeyBecameInactive,
    WatcherRegistration,
    flv,
)

KEY = "loop"


def feed(registration: WatcherRegistration, path: Path, wanted: Event) -> None:
    """Send the file again and again; hold still while nobody watches."""
    while True:
        for data in flv.read_in_real_time(path):
            if not wanted.is_set():
                print("idle", flush=True)
                wanted.wait()
                print("feeding", flush=True)
            registration.send(KEY, data)
        registration.end(KEY)


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
