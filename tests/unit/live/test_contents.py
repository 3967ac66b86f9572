"""What is known of a publication beside its log, and that another process may know the same."""

from __future__ import annotations

import pickle
from itertools import pairwise

import pytest

from rtmpsrv.live.contents import Contents
from rtmpsrv.live.framing import RtmpFraming
from tests.unit.live.fakes import CHUNK_SIZE
from tests.unit.live.stage import AAC, AVC, AVC_2, META, Stage, data, inter, key, tone

STREAM = [META, AVC, AAC, key("0"), tone("1"), inter("2"), AVC_2, data(b"\2\0\4text"), key("3"), tone("4")]


def copy_of(stage: Stage) -> Contents:
    """What another process knows."""
    other = Contents(RtmpFraming(CHUNK_SIZE), stage.registry.budget, 0.0, False)
    other.adopt(pickle.loads(pickle.dumps(stage.channel.contents.snapshot())))
    return other


@pytest.mark.parametrize("count", range(len(STREAM) + 1))
def test_a_copy_knows_all(count: int) -> None:
    stage = Stage(keep_stream=True)
    stage.publish(*STREAM[:count])
    mine, other = stage.channel.contents, copy_of(stage)
    assert other.snapshot() == mine.snapshot()
    assert (other.has_frames, other.is_flagged) == (mine.has_frames, mine.is_flagged)
    assert other.preamble.headers == mine.preamble.headers
    assert other.preamble.start((), 7, 1) == mine.preamble.start((), 7, 1)


def test_marks_are_all_but_the_preamble() -> None:
    stage = Stage()
    stage.publish(AVC, key("0"))
    other = copy_of(stage)
    headers = other.preamble.headers
    stage.clock.advance(3)
    stage.publish(AVC_2, key("1"), inter("2"))
    assert other.snapshot() != stage.channel.contents.snapshot()
    other.follow(stage.channel.contents.marks())
    assert other.marks() == stage.channel.contents.marks()
    assert other.preamble.headers == headers


def test_what_is_new_to_the_preamble_is_counted() -> None:
    stage = Stage()
    changes = [stage.channel.contents.preamble.changes]
    for message in (AVC, AVC, key("0"), META, AVC_2):
        stage.publish(message)
        changes.append(stage.channel.contents.preamble.changes)
    assert [after > before for before, after in pairwise(changes)] == [
        True, False, False, True, True,
    ]  # fmt: skip
