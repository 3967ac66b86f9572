"""State that may move to another process, written by one build and checked by another.

    python -m tests.states write FILE
    python -m tests.states check FILE

scripts/check_compiled runs both with either build of the server: each may succeed the other.
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

from rtmpsrv.build import compiled
from rtmpsrv.live.player import FLV, PlayerState
from rtmpsrv.live.segment import AUDIO, VIDEO
from rtmpsrv.live.tap import Tap
from rtmpsrv.media.classify import HEADER
from rtmpsrv.media.headers import HeaderCache
from rtmpsrv.media.hls_moved import snapshot
from rtmpsrv.media.mp4_source import Mp4Source
from rtmpsrv.protocol.amf_values import UNDEFINED, AmfDate, EcmaArray, TypedObject
from rtmpsrv.server.host import Client
from rtmpsrv.server.http.state import WS_FLV, HttpState, begin
from rtmpsrv.server.outlet import OutletState
from rtmpsrv.server.session_state import SessionSettings
from tests.unit.live.course import Course
from tests.unit.live.stage import AVC, HEADERS, Stage, inter, key, tone
from tests.unit.media.test_hls_moved import Line
from tests.unit.protocol.peer import CAPTURES, Peer
from tests.unit.protocol.test_events import EVENTS

# Bytes of a publisher's capture with 128 bytes a chunk: in the handshake, in headers, in payloads.
CUTS = (1, 700, 1537, 3080, 3300, 4000, 4500, 5000, 9000)


def states() -> dict[str, object]:
    """Return objects in the middle of what they do, by name; the same in every process."""
    found: dict[str, object] = {type(event).__name__: event for event in EVENTS}
    data = bytes.fromhex(CAPTURES[1]["client_to_server_hex"])
    for cut in CUTS:
        peer = Peer()
        peer.receive(data[:cut])
        found[f"connection at {cut}"] = peer.connection
    unread = Peer()
    unread.connection.receive_data(data)
    unread.connection.outbox.clear()
    found["connection with messages not taken"] = unread.connection
    found["player"] = PlayerState(key="key", wants=AUDIO, position=1 << 40, rest=b"rest")
    found["player of FLV"] = PlayerState(form=FLV, announced=AUDIO | VIDEO, position=1 << 40, rest=b"rest")
    found["AMF"] = [UNDEFINED, AmfDate(1.0), EcmaArray(a=1.0), TypedObject("Name", {"b": None})]
    stage = Stage(keep_stream=True)
    stage.publish(*HEADERS, key("0"), inter("1", 40))
    told: list[dict[str, object]] = []
    Tap(stage.channel, lambda message, _fds: told.append(message) is None)  # type: ignore[func-returns-value]
    stage.publish(AVC, key("2", 80))
    found["tap"] = told
    found["channel"] = stage.channel.snapshot([])
    stage.channel.suspend(10)
    stage.channel.go_on("key", (b"claim",))
    stage.publish(AVC, inter("3", 40), tone("4", 50))
    found["channel that goes on"] = stage.channel.snapshot([])
    course = Course(Stage(chunk_size=1 << 16)).run(3)
    course.shift_ms += 5000
    found["vitals"] = course.run(3).stage.channel.contents.vitals.snapshot()
    found["told of vitals"] = course.vitals()
    found["viewer by HTTP"] = viewer_by_http()
    cache = HeaderCache()
    cache.update(9, b"\x17\0\0\0\0config", HEADER)
    found["headers"] = cache
    line = Line(Mp4Source())
    line.begin()
    line.play(111)
    found["HLS"] = snapshot(line.window, line.stream, line.source, 1 << 30)
    other = line.move()
    other.play(111)
    found["HLS that goes on"] = snapshot(other.window, other.stream, other.source, 1 << 30)
    return found


def viewer_by_http() -> HttpState:
    """Return a viewer by WebSocket, behind a proxy, in the middle of what it is sent and says."""
    client = Client(7, "192.0.2.7", 8080, True, id="id", form=WS_FLV, channel="live")
    state = begin(client, SessionSettings(), 100.0)
    state.form, state.unread, state.next_ping, state.holds_slot = WS_FLV, b"\x81", 130.0, True
    state.own, state.bytes_in = ("10.0.0.1", False), 500
    state.outlet = OutletState(1000, [b"rest of a frame"], [b"pong"], coalescing=True)
    state.playback = PlayerState(form=FLV, announced=VIDEO, position=1 << 40)
    return state


def differences(written: dict[str, object]) -> list[str]:
    """Return the names of what is not equal to what this process makes."""
    own = states()
    return [name for name in own.keys() | written.keys() if not _same(written.get(name), own.get(name))]


def _same(one: object, other: object) -> bool:
    if isinstance(one, HeaderCache) and isinstance(other, HeaderCache):
        return one.snapshot() == other.snapshot()
    return one == other


def main(action: str, file: str) -> str | None:
    """Write the states, or check those of another process; return what is wrong."""
    if action == "write":
        Path(file).write_bytes(pickle.dumps(states()))
        return None
    different = differences(pickle.loads(Path(file).read_bytes()))
    build = "compiled" if compiled() else "ordinary"
    return f"{file} differs when read by the {build} server: {', '.join(different)}" if different else None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
