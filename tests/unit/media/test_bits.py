from __future__ import annotations

import pytest

from rtmpsrv.errors import RemoteProtocolError
from rtmpsrv.media.bits import MAX_BYTES, BitReader, unescaped
from tests.unit.media.bit_writer import BitWriter


def test_numbers_of_any_size_one_after_the_other() -> None:
    reader = BitReader(BitWriter().bits(3, 5).bits(1, 1).bits(20, 0xABCDE).golomb(0, 1, 7, 254).data)
    assert (reader.bits(3), reader.flag(), reader.bits(20)) == (5, True, 0xABCDE)
    assert [reader.golomb() for _ in range(4)] == [0, 1, 7, 254]


def test_golombs_steps_over_so_many() -> None:
    reader = BitReader(BitWriter().golomb(3, 500, 9).data)
    reader.golombs(2)
    assert reader.golomb() == 9


def test_more_than_there_is_is_refused_and_takes_nothing() -> None:
    reader = BitReader(b"\xff")
    with pytest.raises(RemoteProtocolError, match="9 bits wanted, 8 left"):
        reader.bits(9)
    assert reader.left == 8


def test_the_longest_code_and_one_longer() -> None:
    longest = BitWriter().golomb((1 << 32) - 2).data
    assert BitReader(longest).golomb() == (1 << 32) - 2
    with pytest.raises(RemoteProtocolError, match="32 bits"):
        BitReader(bytes(4) + b"\xff" * 8).golomb()


def test_no_more_is_read_than_a_configuration_has() -> None:
    assert BitReader(bytes(MAX_BYTES + 1)).left == MAX_BYTES * 8
    assert len(unescaped(bytes([1]) * (MAX_BYTES + 1))) == MAX_BYTES


def test_start_codes_are_let_through_again() -> None:
    assert unescaped(b"\1\0\0\3\1\0\0\3\0\3") == b"\1\0\0\1\0\0\0\3"
