from __future__ import annotations

from collections.abc import Iterator
from time import monotonic
from typing import Any

import pytest

from rtmpsrv.errors import PeerLost
from rtmpsrv.protocol import messages
from rtmpsrv.protocol.chunks import pack
from rtmpsrv.protocol.events import PublishStopAsked
from rtmpsrv.server.held import UNFINISHED
from rtmpsrv.server.intake import GONE, HELD_STEP_BYTES, MOST_READS, READ_BYTES, Intake
from tests.unit.server.stage import MANY, PATIENCE_S, Stage, audio, command, eventually


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.close()


# --- in the hub ---------------------------------------------------------------------------------------


def test_media_of_the_only_publisher_is_appended_without_a_switch(stage: Stage) -> None:
    publication = stage.publish()
    for number in range(5):
        stage.send(audio(bytes((number,))))
        eventually(lambda: len(publication.messages) == number + 1)  # noqa: B023 - called at once
    assert publication.in_hub == 5
    assert len(stage.parts.ingest) == 0
    assert publication.payloads() == [b"\xaf\x01" + bytes((number,)) for number in range(5)]


def test_a_publisher_that_sends_as_much_as_it_may_is_not_read_with_the_others(stage: Stage) -> None:
    stage.publish()
    publication = stage.rest()
    account = stage.state.account
    for number in range(3):  # the first comes while it rests still, the second to its greenlet
        account.units, account.counted_at = -500.0, monotonic()
        stage.send(audio(b"x"))
        eventually(lambda: len(publication.messages) == number + 2)  # noqa: B023 - called at once
        eventually(lambda: stage.session._reader._wait._waiting)
        assert len(stage.parts.ingest) == 0
    account.units = account.burst
    for number in range(2):
        stage.send(audio(b"y"))
        eventually(lambda: len(publication.messages) == number + 5)  # noqa: B023 - called at once
    eventually(lambda: len(stage.parts.ingest), "rest")


def test_media_of_many_publishers_is_appended_without_a_switch(stage: Stage) -> None:
    stage.publish()
    publication = stage.rest()
    for number in range(5):
        stage.send(audio(bytes((number,))))
        eventually(lambda: len(publication.messages) == number + 2)  # noqa: B023 - called at once
    assert publication.in_hub == 5
    assert publication.payloads()[1:] == [b"\xaf\x01" + bytes((number,)) for number in range(5)]


def test_media_of_a_publisher_at_rest_that_was_taken_off_the_air_goes_nowhere(stage: Stage) -> None:
    stage.publish()
    publication = stage.rest()
    seen = len(publication.messages)
    stage.session.end_publication("enough")
    for _ in range(MANY):
        stage.parts.ingest.publisher_ended()
    stage.send(audio(b"late"))
    stage.ping(1)
    assert stage.expect_control(messages.PING_RESPONSE) == 1
    assert len(publication.messages) == seen


def test_what_is_not_media_wakes_the_greenlet_and_keeps_its_place(stage: Stage) -> None:
    stage.publish()
    publication = stage.rest()
    stage.send(audio(b"before"))
    stage.command("deleteStream", None, 1.0)
    stage.command("publish", None, "key", msid=1)
    stage.send(audio(b"after"))
    assert stage.expect("onStatus")[1]["code"] == "NetStream.Unpublish.Success"
    assert publication.payloads()[1:] == [b"\xaf\x01before"]
    eventually(lambda: len(stage.host.publications) == 2 and stage.host.publications[1].messages)
    assert stage.host.publications[1].payloads() == [b"\xaf\x01after"]


def test_more_than_one_share_is_worked_off_by_the_greenlet(stage: Stage) -> None:
    stage.publish()
    publication = stage.rest()
    contents = [number.to_bytes(2, "big") for number in range(500)]
    stage.send(b"".join(audio(content) for content in contents))
    eventually(lambda: len(publication.messages) == 501)
    assert publication.in_hub == 1
    assert publication.payloads()[1:] == [b"\xaf\x01" + content for content in contents]
    stage.state.account.units = stage.state.account.burst
    for _ in range(2):  # the first perhaps to a greenlet that reads for itself
        stage.send(audio(b"brings it to rest again"))
    eventually(lambda: len(stage.parts.ingest), "rest")


def test_a_read_that_is_full_is_followed_by_another(stage: Stage) -> None:
    stage.publish()
    publication = stage.rest()
    stage.send(pack(4, 0, messages.AUDIO, 1, bytes(3 * READ_BYTES), 128))
    eventually(lambda: len(publication.messages) == 2)
    assert publication.payloads()[1] == bytes(3 * READ_BYTES)


def test_a_keyframe_of_several_reads_is_appended_without_a_switch(stage: Stage) -> None:
    stage.publish()
    publication = stage.rest()
    stage.send(pack(4, 0, messages.AUDIO, 1, bytes(2 * READ_BYTES), 128))
    eventually(lambda: len(publication.messages) == 2)
    assert publication.in_hub == 1
    assert len(stage.parts.ingest) == 1


def test_the_hub_reads_a_few_times_for_one_publisher_and_no_more(stage: Stage) -> None:
    stage.publish()
    stage.rest()
    message = pack(4, 0, messages.AUDIO, 1, bytes(2 * MOST_READS * READ_BYTES), 128)
    reads = iter([message[begin : begin + READ_BYTES] for begin in range(0, len(message), READ_BYTES)])
    intake: Any = stage.session._reader._intake
    read, intake._read = intake._read, lambda most: next(reads)
    assert not intake.take(monotonic()), "its greenlet goes on"
    intake._read = read
    assert len(list(reads)) == len(message) // READ_BYTES + 1 - MOST_READS


def test_answers_go_out_from_the_common_timer(stage: Stage) -> None:
    stage.publish()
    stage.rest()
    stage.state.connection.peer_window = 10
    stage.send(audio(b"x"))
    while (message := stage.next_message()) is not None:
        if message[0] == messages.ACKNOWLEDGEMENT:
            break
    assert message is not None
    assert len(stage.parts.ingest) == 1, "it rests still"


def test_a_publisher_whose_host_may_block_reads_for_itself(stage: Stage) -> None:
    stage.host.may_block = True
    publication = stage.publish()
    for _ in range(MANY):
        stage.parts.ingest.publisher_began()
    for number in range(3):
        stage.send(audio(bytes((number,))))
        eventually(lambda: len(publication.messages) == number + 1)  # noqa: B023 - called at once
    assert publication.in_hub == 0
    assert len(stage.parts.ingest) == 0


# --- what is held -------------------------------------------------------------------------------------


@pytest.mark.parametrize("at_rest", [False, True])
def test_unfinished_messages_are_counted_for_the_process(stage: Stage, at_rest: bool) -> None:
    publication = stage.publish()
    if at_rest:
        stage.rest()
    seen = len(publication.messages)
    budget: Any = stage.parts.budget
    message = pack(4, 0, messages.AUDIO, 1, bytes(10 * HELD_STEP_BYTES), 128)
    stage.send(message[: 8 * HELD_STEP_BYTES])
    eventually(lambda: budget.held.get((UNFINISHED, stage.session), 0) > 6 * HELD_STEP_BYTES)
    stage.send(message[8 * HELD_STEP_BYTES :])
    eventually(lambda: len(publication.messages) == seen + 1)
    eventually(lambda: budget.held == {})


def test_a_connection_that_ended_holds_nothing(stage: Stage) -> None:
    stage.publish()
    budget: Any = stage.parts.budget
    stage.send(pack(4, 0, messages.AUDIO, 1, bytes(10 * HELD_STEP_BYTES), 128)[: 5 * HELD_STEP_BYTES])
    eventually(lambda: budget.held)
    stage.peer.close()
    stage.greenlet.join(PATIENCE_S)
    assert budget.held == {}


# --- one call at a time -------------------------------------------------------------------------------


@pytest.fixture
def alone(stage: Stage) -> Iterator[Intake]:
    """What takes in for a session on the air that rests, and is not woken."""
    stage.publish()
    eventually(lambda: stage.session._reader._wait._waiting)
    intake = stage.session._reader._intake
    wake, intake._wake = intake._wake, lambda goes_on: None
    yield intake
    intake._wake = wake
    stage.session.drop("enough")


def feed(intake: Intake, *pieces: bytes) -> None:
    """Let the next reads bring these."""
    left = iter(pieces)
    intake._read = lambda most: next(left)


def nothing(count: int) -> bytes:
    raise BlockingIOError


def test_who_is_to_stop_takes_nothing(alone: Intake) -> None:
    alone.stop()
    feed(alone)
    assert not alone.take(monotonic())
    assert not alone.has_left_over


def test_a_read_in_vain_tells_whether_the_greenlet_has_to_look(stage: Stage, alone: Intake) -> None:
    now, idle_s = monotonic(), stage.parts.settings.idle_s
    alone._read = nothing
    stage.state.heard_at = now
    alone.rest_until(now + 2 * idle_s)
    assert alone.take(now)
    assert not alone.take(now + idle_s), "the peer is silent"
    alone.rest_until(now + 1)
    assert not alone.take(now + 1), "a ping is due"
    assert not alone.has_left_over


def test_a_failure_is_left_over_and_raised_once(alone: Intake) -> None:
    feed(alone, b"")
    assert not alone.take(monotonic())
    left = [alone.has_left_over]
    with pytest.raises(PeerLost, match=GONE):
        alone.raise_failure()
    left.append(alone.has_left_over)
    assert left == [True, False]
    alone.raise_failure()


def test_a_request_is_left_over_once(alone: Intake) -> None:
    feed(alone, command("deleteStream", 5.0, None, 1.0))
    assert not alone.take(monotonic())
    left = [alone.has_left_over]
    assert alone.request() == PublishStopAsked()
    left.append(alone.has_left_over)
    assert left == [True, False]
    assert alone.request() is None


def test_media_behind_the_end_of_a_publication_is_dropped_by_the_greenlet_too(
    stage: Stage, alone: Intake
) -> None:
    publication = stage.host.publications[-1]
    stage.session.end_publication("enough")
    stage.state.connection.receive_data(audio(b"late"))
    assert alone.next_event() is None
    assert publication.messages == []


def test_units_are_spent_once(stage: Stage, alone: Intake) -> None:
    alone.spent()
    stage.state.connection.work += 3
    assert alone.spent() == 3
    assert alone.spent() == 0


def test_closed_twice_it_holds_nothing_and_takes_nothing(stage: Stage, alone: Intake) -> None:
    budget: Any = stage.parts.budget
    message = pack(4, 0, messages.AUDIO, 1, bytes(4 * READ_BYTES), 128)
    *pieces, last = [message[begin : begin + READ_BYTES] for begin in range(0, 4 * READ_BYTES, READ_BYTES)]
    feed(alone, *pieces, last[:-1])
    alone.rest_until(monotonic() + 60)
    alone.take(monotonic())
    assert budget.held[UNFINISHED, stage.session] > 3 * READ_BYTES
    for _ in range(2):
        alone.close()
        assert budget.held == {}
    feed(alone)
    assert not alone.take(monotonic())
