"""Bytes of TLS cut into records."""

from __future__ import annotations

import pytest

from rtmpsrv.server.tls_records import HEAD_BYTES, MAX_RECORD_BYTES, Records


def record(count: int, kind: int = 23) -> bytes:
    return bytes((kind, 3, 3)) + count.to_bytes(2, "big") + bytes(count)


def taken(records: Records) -> list[bytes]:
    return list(iter(records.take, b""))


@pytest.mark.parametrize("step", [1, 2, 7, 1000])
def test_records_come_out_as_they_were_sent_however_they_come_in(step: int) -> None:
    sent = [record(count, kind) for kind, count in ((20, 1), (21, 0), (22, 300), (23, 5000), (24, 17))]
    stream = b"".join(sent)
    records, received = Records(), []
    for at in range(0, len(stream), step):
        records.add(stream[at : at + step])
        received += taken(records)
        assert not any(size <= len(records) for size in [len(each) for each in sent[len(received) :]][:1])
    assert received == sent
    assert (len(records), records.held_bytes) == (0, 0)


def test_what_is_not_complete_waits() -> None:
    records = Records()
    records.add(record(10) + record(20)[:-1])
    assert records.take() == record(10)
    assert records.take() == b""
    assert len(records) == len(record(20)) - 1
    assert records.held_bytes == len(record(10) + record(20)) - 1, "bytes are not moved for each record"
    records.add(b"\0")
    assert records.held_bytes == len(record(20))
    assert records.take() == record(20)


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n",
        b"\x03" + bytes(99),
        b"\x16\x02\0\0\1\0",
        record(MAX_RECORD_BYTES - HEAD_BYTES + 1),
    ],
    ids=["no kind", "handshake of RTMP", "version", "too large"],
)
def test_what_is_no_record_is_taken_as_it_is(garbage: bytes) -> None:
    """OpenSSL refuses it, and says why, instead of waiting for as many bytes as it seems to have."""
    records = Records()
    records.add(garbage[:9])
    assert records.take() == garbage[:9]


def test_the_largest_record_is_waited_for() -> None:
    records, largest = Records(), record(MAX_RECORD_BYTES - HEAD_BYTES)
    records.add(largest[:-1])
    assert records.take() == b""
    records.add(largest[-1:])
    assert records.take() == largest


def test_the_rest_is_what_was_not_taken() -> None:
    records = Records()
    records.add(record(1) + record(2) + b"\x17")
    records.take()
    assert records.take_rest() == record(2) + b"\x17"
    assert (len(records), records.held_bytes, records.take_rest()) == (0, 0, b"")
