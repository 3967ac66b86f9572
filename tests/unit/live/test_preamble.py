"""What joiners get before media: made once, shared, bounded and counted."""

from __future__ import annotations

import pytest

from rtmpsrv.live.budget import Budget
from rtmpsrv.live.framing import RtmpFraming
from rtmpsrv.live.preamble import MAX_STARTS, Preamble
from rtmpsrv.media import classify
from rtmpsrv.media.headers import Change
from rtmpsrv.media.metadata import MAX_METADATA_BYTES, MAX_METADATA_NAMES, DataKind, DataMessage
from rtmpsrv.protocol import messages
from tests.client import AAC_HEADER, AVC_HEADER
from tests.unit.live.fakes import FakeClock, FakeSink
from tests.unit.live.stage import HEADERS, Stage

FRAMING = RtmpFraming(4096)
HEADER, END = classify.HEADER, classify.END


def preamble(budget: Budget | None = None) -> Preamble:
    return Preamble(FRAMING, budget or Budget(1 << 30))


def store(name: str, payload: bytes = b"\2\0\1x\5") -> DataMessage:
    return DataMessage(DataKind.STORE, name, payload)


def clear(name: str) -> DataMessage:
    return DataMessage(DataKind.CLEAR, name, b"")


def test_headers_and_metadata_in_force_are_what_joiners_are_told() -> None:
    known = preamble()
    assert known.start((), 0, 3) == FRAMING.start((), (), 0, 3)
    assert known.update(messages.VIDEO, AVC_HEADER, HEADER) is Change.CHANGED
    assert known.update(messages.VIDEO, AVC_HEADER, HEADER) is Change.UNCHANGED
    known.take_data(store("a", b"first"))
    known.take_data(store("b", b"second"))
    known.take_data(store("a", b"third"))
    headers = ((messages.VIDEO, AVC_HEADER),)
    assert known.headers == headers
    assert known.start(headers, 0, 3) == FRAMING.start((b"third", b"second"), headers, 0, 3)
    known.take_data(clear("a"))
    known.take_data(clear("unknown"))
    assert known.start(headers, 0, 3) == FRAMING.start((b"second",), headers, 0, 3)
    assert known.start((), 0, 3) == FRAMING.start((b"second",), (), 0, 3)  # older headers
    assert known.default_video_track == 0


def test_headers_of_a_track_that_ended_are_told_no_more() -> None:
    known = preamble()
    assert known.update(messages.VIDEO, b"\x90avc1config", HEADER) is Change.CHANGED
    before = known.start(known.headers, 0, 3)
    assert known.update(messages.VIDEO, b"\x92avc1", END) is Change.CHANGED
    assert known.headers == ()
    assert known.start((), 0, 3) == FRAMING.start((), (), 0, 3) != before


# --- shared ---------------------------------------------------------------------------------------


def test_joiners_of_a_kind_share_the_bytes() -> None:
    known = preamble()
    known.take_data(store("a"))
    first = known.start((), 0, 1)
    assert known.start((), 0, 1) is first
    other = known.start((), 0, 2)
    assert other is not first
    assert known.start((), 0, 2) is other
    known.take_data(store("b"))
    assert known.start((), 0, 1) != first


class Remembering(FakeSink):
    """Keeps the objects of its replies."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.replies: list[bytes] = []

    def reply(self, data: bytes) -> None:
        self.replies.append(data)
        super().reply(data)


def test_players_that_join_are_handed_one_object() -> None:
    stage = Stage()
    stage.publish(*HEADERS)
    sinks = [Remembering(stage.clock) for _ in range(3)]
    for sink in sinks:
        stage.seat(sink)
    (first,), (second,), (third,) = (sink.replies for sink in sinks)
    assert first is second is third


def test_few_kinds_are_kept_ready() -> None:
    budget = Budget(1 << 30)
    known = preamble(budget)
    starts = [known.start((), 0, msid) for msid in range(MAX_STARTS + 1)]
    assert budget.used_bytes == sum(len(start) for start in starts[1:])
    assert all(known.start((), 0, msid + 1) is start for msid, start in enumerate(starts[1:]))
    assert known.start((), 0, 0) == starts[0]
    assert known.start((), 0, 0) is not starts[0]
    known.update(messages.AUDIO, AAC_HEADER, HEADER)
    starts = [known.start(known.headers, timestamp, 1) for timestamp in range(MAX_STARTS + 1)]
    assert len(set(starts)) == MAX_STARTS + 1
    assert budget.used_bytes == sum(len(start) for start in starts[1:])


# --- bounded --------------------------------------------------------------------------------------


def stored(known: Preamble) -> bytes:
    return known.start((), 0, 1)[len(FRAMING.start((), (), 0, 1)) :]


def test_so_many_names_are_stored() -> None:
    known = preamble()
    for number in range(MAX_METADATA_NAMES + 1):
        known.take_data(store(f"{number}", b"payload %d." % number))
    assert b"payload %d." % (MAX_METADATA_NAMES - 1) in stored(known)
    assert b"payload %d." % MAX_METADATA_NAMES not in stored(known)
    known.take_data(store("0", b"another"))
    assert b"another" in stored(known)
    known.take_data(clear("1"))
    known.take_data(store("new", b"the new one"))
    assert b"the new one" in stored(known)


@pytest.mark.parametrize(("spare", "kept"), [(0, True), (-1, False)])
def test_so_many_bytes_are_stored(spare: int, kept: bool) -> None:
    budget = Budget(1 << 30)
    known = preamble(budget)
    known.take_data(store("a", bytes(1000)))
    known.take_data(store("b", bytes(MAX_METADATA_BYTES - 1000 - spare)))
    assert budget.used_bytes == (MAX_METADATA_BYTES if kept else 1000)


def test_what_was_replaced_by_too_much_does_not_hold_any_more() -> None:
    budget = Budget(1 << 30)
    known = preamble(budget)
    known.take_data(store("a", bytes(1000)))
    known.take_data(store("a", bytes(MAX_METADATA_BYTES)))
    assert budget.used_bytes == MAX_METADATA_BYTES
    known.take_data(store("a", bytes(MAX_METADATA_BYTES + 1)))
    assert budget.used_bytes == 0


# --- counted --------------------------------------------------------------------------------------


def test_what_is_held_is_counted_until_the_publication_ends() -> None:
    budget = Budget(1 << 30)
    known = preamble(budget)
    known.update(messages.AUDIO, AAC_HEADER, HEADER)
    assert budget.used_bytes == 0  # headers count where their history is
    known.take_data(store("a", bytes(100)))
    assert budget.used_bytes == budget.describe()["headers_bytes"] == 100
    start = known.start(known.headers, 0, 1)
    assert budget.used_bytes == 100 + len(start)
    known.take_data(clear("a"))
    assert budget.used_bytes == 0
    known.take_data(store("a", bytes(50)))
    known.start(known.headers, 0, 1)
    known.close()
    assert budget.used_bytes == 0
    assert known.headers == ()
