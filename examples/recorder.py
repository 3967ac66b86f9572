"""Record every publisher of app "live" to a FLV file: python examples/recorder.py DIRECTORY [PORT]

Publish with: ffmpeg -re -i video.mp4 -c copy -f flv rtmp://127.0.0.1/live/anything
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import BinaryIO

import gevent

from rtmpsrv import (
    ConnectionId,
    Endpoint,
    ListenForPublishers,
    NewMediaData,
    NewPublisherConnected,
    PublishingStopped,
    flv,
)


def record(endpoint: Endpoint, directory: Path, port: int) -> None:
    """Record until the registration ends. Plain writes block everybody for a moment: use a fast disk."""
    files: dict[ConnectionId, BinaryIO] = {}
    try:
        with endpoint.register(ListenForPublishers(rtmp_app="live", port=port)) as registration:
            print(f"recording rtmp://127.0.0.1:{registration.port}/live/ANYTHING", flush=True)
            for message in registration.messages:
                match message:
                    case NewPublisherConnected(client=client, stream_id=stream_id):
                        # The stream id, not the key: keys are text that clients choose, and may be secret.
                        file = (directory / f"{stream_id}.flv").open("wb")
                        file.write(flv.HEADER)
                        files[client.connection_id] = file
                    case NewMediaData(publisher=publisher, data=data):
                        files[publisher].write(flv.tag(data))
                    case PublishingStopped(connection_id=publisher):
                        ended = files.pop(publisher)
                        ended.close()
                        print(f"recorded {ended.name}", flush=True)
    finally:
        for unfinished in files.values():
            unfinished.close()


def main() -> None:
    """Run until SIGINT or SIGTERM."""
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 1935
    with Endpoint() as endpoint:
        recorder = gevent.spawn(record, endpoint, directory, port)
        for number in (signal.SIGTERM, signal.SIGINT):
            gevent.signal_handler(number, gevent.spawn, endpoint.close)
        recorder.get()


if __name__ == "__main__":
    main()
