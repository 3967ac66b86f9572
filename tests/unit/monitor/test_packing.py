from __future__ import annotations

import pickle

import pytest

from rtmpsrv.monitor.packing import PIECE, pack, pieces, unpack


@pytest.mark.parametrize("count", [0, 1, PIECE, PIECE + 1, 3 * PIECE])
def test_a_list_comes_back_whole_from_its_pieces(count: int) -> None:
    values = [{"name": f"channel {number}", "readers": [("id", "rtmpConn")]} for number in range(count)]
    parts = list(pieces(values))
    assert len(parts) == max(1, -(-count // PIECE))
    assert unpack(b"".join(parts)) == values


@pytest.mark.parametrize("value", [True, {"pid": 1}, None, "text", 1.5])
def test_other_values_are_one_piece(value: object) -> None:
    assert unpack(pack(value)) == value


@pytest.mark.parametrize(
    "answer",
    [b"", b"\x80", pickle.dumps(print), pickle.dumps([1])[:-1], pack(1) + pack(2), b"garbage" * 9],
    ids=str,
)
def test_what_is_no_answer_is_refused(answer: bytes) -> None:
    with pytest.raises(ValueError, match="no answer"):
        unpack(answer)
