"""Record every publisher of app "live" to a FLV file: recorder.py DIRECTORY [PORT]

Publish with: ffmpeg -re -i video.mp4 -c copy -f flv rtmp://127.0.0.1/live/anything
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import gevent

from rtmpsrv import Endpoint, ListenForPublishers, Publisher, flv


def record(publisher: Publisher, directory: Path) -> None:
    """Record one publisher. Plain writes block everybody for a moment: use a fast disk."""
    # The stream id, not the key: keys are text that clients choose, and may be secret.
    with publisher, (directory / f"{publisher.stream_id}.flv").open("wb") as file:
        file.write(flv.HEADER)
        for data in publisher:
            file.write(flv.tag(data))
    print(f"recorded {file.name}", flush=True)


def main() -> None:
    """Run until SIGINT or SIGTERM."""
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 1935
    recordings: list[gevent.Greenlet[..., None]] = []
    with Endpoint() as endpoint:
        for number in (signal.SIGTERM, signal.SIGINT):
            gevent.signal_handler(number, gevent.spawn, endpoint.close)
        publishers = endpoint.register(ListenForPublishers(rtmp_app="live", port=port))
        print(f"recording rtmp://127.0.0.1:{publishers.port}/live/ANYTHING", flush=True)
        for publisher in publishers.accept():
            recordings = [one for one in recordings if not one.dead]
            recordings.append(gevent.spawn(record, publisher, directory))
    gevent.joinall(recordings)


if __name__ == "__main__":
    main()
