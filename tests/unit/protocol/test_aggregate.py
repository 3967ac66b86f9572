from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmpsrv.protocol.aggregate import Aggregate
from tests.vectors import load, name_of


def split(timestamp: int, body: bytes, most: int = 7) -> list[tuple[int, int, bytes]]:
    """Take all messages of an aggregate, a few at a time."""
    aggregate = Aggregate(timestamp, 3, body, 6)
    messages = []
    while not aggregate.finished:
        judged = aggregate.judged
        new = aggregate.take(most)
        assert len(new) <= aggregate.judged - judged <= most
        assert all((msid, csid) == (3, 6) for _, _, msid, _, csid in new)
        messages += [(kind, stamp, payload) for kind, stamp, _, payload, _ in new]
    return messages


@pytest.mark.parametrize("vector", load("aggregate")["cases"], ids=name_of)
def test_aggregate_splits_into_its_messages(vector: dict[str, Any]) -> None:
    messages = split(vector["message_timestamp"], bytes.fromhex(vector["body"]))
    assert messages == [(m["type"], m["timestamp"], bytes.fromhex(m["payload"])) for m in vector["out"]]


@pytest.mark.parametrize("type_id", [0, 1, 7, 10, 16, 17, 20, 22, 255])
def test_types_that_are_not_media_or_data_are_skipped(type_id: int) -> None:
    body = _tag(type_id, 100, b"xx") + _tag(9, 130, b"video")
    assert split(1000, body) == [(9, 1030, b"video")]


def test_timestamps_going_backwards_inside_stay_so() -> None:
    assert [m[1] for m in split(10, _tag(8, 50, b"") + _tag(8, 20, b""))] == [10, 0xFFFFFFFF - 19]


@given(
    st.integers(0, 0xFFFFFFFF),
    st.lists(st.tuples(st.sampled_from([8, 9, 15, 18]), st.integers(0, 0xFFFFFFFF), st.binary(max_size=40))),
    st.binary(max_size=10),
)
def test_every_whole_message_comes_out_at_its_distance_from_the_first(
    timestamp: int, tags: list[tuple[int, int, bytes]], cut_short: bytes
) -> None:
    body = b"".join(_tag(*tag) for tag in tags)
    first = tags[0][1] if tags else 0
    expected = [(kind, (timestamp + stamp - first) % (1 << 32), payload) for kind, stamp, payload in tags]
    assert split(timestamp, body + cut_short) == expected


def test_no_more_messages_are_taken_than_asked_for() -> None:
    aggregate = Aggregate(0, 1, _tag(20, 0, b"") * 3 + _tag(8, 0, b"a") * 2, 4)
    assert [len(aggregate.take(4)), aggregate.finished] == [1, False]
    assert [len(aggregate.take(4)), aggregate.finished] == [1, True]
    assert aggregate.judged == 5


@given(st.integers(0, 0xFFFFFFFF), st.binary(max_size=200))
def test_any_bytes_split_into_no_more_than_there_is(timestamp: int, body: bytes) -> None:
    messages = split(timestamp, body)
    assert sum(11 + len(payload) for _, _, payload in messages) <= len(body)
    assert all(0 <= stamp <= 0xFFFFFFFF for _, stamp, _ in messages)


def _tag(type_id: int, timestamp: int, payload: bytes) -> bytes:
    head = bytes([type_id]) + len(payload).to_bytes(3, "big")
    stamp = (timestamp & 0xFFFFFF).to_bytes(3, "big") + bytes([timestamp >> 24])
    return head + stamp + b"\x07\x07\x07" + payload + (11 + len(payload)).to_bytes(4, "big")
