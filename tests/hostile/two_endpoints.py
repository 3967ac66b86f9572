"""Two endpoints in two threads of one program, and their publishers: processes of `test_threads`.

`python -m tests.hostile.two_endpoints serve SECONDS` tells its ports, and in the end what was received;
`... publish PORT FILL` sends messages of one and the same byte.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from queue import Empty
from time import monotonic

from rtmpsrv.protocol import messages

from .wire import Closed, Connection, whole
from .worker import Orders, tell

APP = "live"
MESSAGE_BYTES = 20_000
HEAD = b"\x27\x01\x00\x00\x00"
POLL_S = 0.5


def serve(name: str, fill: int, seconds: float) -> None:
    """Be one endpoint; tell how many messages were whole, how many held a byte of somebody else."""
    from rtmpsrv import Endpoint, ListenForPublishers, NewMediaData, PublishingStopped, VideoData
    from tests.server_process import free_port

    whole_ones = mixed = 0
    ends: list[str] = []
    port = free_port()
    with (
        Endpoint(host="127.0.0.1") as endpoint,
        endpoint.register(ListenForPublishers(rtmp_app=APP, port=port)) as registration,
    ):
        tell(listening=name, port=port)
        until = monotonic() + seconds
        while monotonic() < until:
            message = None
            with suppress(Empty):
                message = registration.messages.get(timeout=POLL_S)
            if isinstance(message, PublishingStopped):
                ends.append(str(message.reason))
            if isinstance(message, NewMediaData) and isinstance(message.data, VideoData):
                data = message.data.data
                is_whole = len(data) == MESSAGE_BYTES and data.count(fill) == len(data)
                whole_ones, mixed = whole_ones + is_whole, mixed + (not is_whole)
    tell(received=name, whole=whole_ones, mixed=mixed, ends=ends)


def publish(port: int, fill: int) -> None:
    """Publish as fast as it is taken, until the starter goes."""
    connection = Connection(port).publish(APP, f"key{fill}")
    piece = whole(messages.VIDEO, HEAD + bytes((fill,)) * MESSAGE_BYTES) * 20
    while True:
        connection.send(piece)
        connection.discard()


def main() -> None:
    """Take the role that the arguments name."""
    Orders()
    if sys.argv[1] == "publish":
        try:
            publish(int(sys.argv[2]), int(sys.argv[3]))
        except (Closed, OSError) as exc:
            tell(closed=repr(exc))
        os._exit(0)
    threads = [
        threading.Thread(target=serve, args=(name, fill, float(sys.argv[2])))
        for name, fill in (("a", 65), ("b", 66))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os._exit(0)


if __name__ == "__main__":
    main()
