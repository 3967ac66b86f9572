"""Publishers that come back at once: their channel must be free, though the server has not read of their end.

Many publish, so that the common timer reads for them: what says that one has left waits in its socket.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

import pytest

from tests.client import AVC_HEADER, Client, Stage, interframe, keyframe, stage
from tests.server_process import ServerProcess

PUBLISHERS = 60
RUNS = 3
FRAME_S = 0.04
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: to close is to send RST


def close_cleanly(client: Client) -> None:
    client.command("FCUnpublish", None, "k")
    client.command("deleteStream", None, 1.0)
    client.close()


def finish(client: Client) -> None:
    client.socket.shutdown(socket.SHUT_WR)  # a close with bytes unread would be a RST


def reset(client: Client) -> None:
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    client.close()


@pytest.fixture(scope="module")
def on() -> Iterator[Stage]:
    with ServerProcess(CONCURRENT_LIMIT_WHITELIST="*") as server, stage(server.port) as the_stage:
        yield the_stage
        server.check_log()


@contextmanager
def live(on: Stage, name: str) -> Iterator[list[Client]]:
    """Publish on channels NAME0 and up, a frame each 40 ms; entries of the list may be replaced meanwhile."""
    publishers = [on.client().publish(f"{name}{number}") for number in range(PUBLISHERS)]
    over = Event()

    def send() -> None:
        timestamp = 0
        while not over.wait(FRAME_S):
            timestamp += 40
            frame = keyframe if timestamp % 1000 == 0 else interframe
            for client in list(publishers):
                with suppress(OSError):  # it was just closed
                    client.video(timestamp, frame(b"picture"))

    for client in publishers:
        client.video(0, AVC_HEADER)
    sender = Thread(target=send, daemon=True)
    sender.start()
    try:
        yield publishers
    finally:
        over.set()
        sender.join()
        for client in publishers:
            client.close()


@pytest.mark.parametrize("standby", [False, True], ids=["connects_anew", "stands_by"])
@pytest.mark.parametrize("leave", [close_cleanly, finish, reset], ids=["clean_close", "fin", "rst"])
def test_a_publisher_that_comes_back_at_once_is_accepted(
    on: Stage, leave: Callable[[Client], None], standby: bool
) -> None:
    name = f"{leave.__name__}-{standby}-"
    with live(on, name) as publishers:
        for _ in range(RUNS):
            for number, old in enumerate(publishers):
                app = f"{name}{number}"
                if standby:
                    new = on.client().connect(app)
                    msid = new.create_stream()
                    leave(old)
                else:
                    leave(old)
                    new = on.client().connect(app)
                    msid = new.create_stream()
                new.ask_publish("k", msid)
                new.expect_status("NetStream.Publish.Start")
                new.video(0, AVC_HEADER)
                publishers[number] = new
                old.close()
