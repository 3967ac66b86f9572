from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Close, Frame, Opcode
from websockets.streams import StreamReader

from rtmpsrv.server.http import frames
from rtmpsrv.server.http.frames import MAX_FRAME_BYTES, MAX_FRAMES, MAX_TEXT_BYTES, TEXT, Broken
from rtmpsrv.server.http.talk import Talk

# RFC 6455, 1.3
KEY, PROOF = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def said(opcode: int, data: bytes = b"", *, fin: bool = True) -> bytes:
    """A viewer's frame."""
    return Frame(Opcode(opcode), data, fin).serialize(mask=True)


def read(data: bytes) -> list[Frame]:
    """Our frames, as another library reads them."""
    reader = StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    found = []
    while not reader.at_eof.__func__ or reader.buffer:  # type: ignore[attr-defined]
        parsing = Frame.parse(reader.read_exact, mask=False, max_size=None)
        try:
            next(parsing)
        except StopIteration as exc:
            found.append(exc.value)
    return found


def broken(data: bytes) -> int:
    with pytest.raises(Broken) as caught:
        Talk().take(data)
    return caught.value.code


def test_what_proves_that_we_know_what_it_is() -> None:
    assert frames.acceptance(KEY) == PROOF
    for wrong in ("", "x", "dGhlIHNhbXBsZSBub25j", "dGhlIHNhbXBs ZSBub25jZQ==", "ä"):
        assert frames.acceptance(wrong) is None


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65535, 65536, 100_000])
def test_frames_of_ours(length: int) -> None:
    data = bytes(length)
    (found,) = read(frames.frame(frames.BINARY, length) + data)
    assert (found.opcode, found.data, found.fin) == (Opcode.BINARY, data, True)


def test_a_goodbye_has_a_reason_that_fits() -> None:
    (found,) = read(frames.close_frame(1008, "ä" * 100))
    close = Close.parse(bytes(found.data))
    assert (close.code, close.reason) == (1008, "ä" * 61)


def test_pings_are_answered() -> None:
    done, answer, texts = Talk().take(said(frames.PING, b"abc") + said(frames.PONG))
    assert done == len(said(frames.PING, b"abc")) + len(said(frames.PONG))
    (found,) = read(answer)
    assert (found.opcode, bytes(found.data)) == (Opcode.PONG, b"abc")
    assert texts == []


def test_a_goodbye_is_answered_and_nothing_behind_it_counts() -> None:
    talk = Talk()
    goodbye = said(frames.CLOSE, (1000).to_bytes(2))
    done, answer, texts = talk.take(goodbye + said(frames.TEXT, b"late"))
    assert done == len(goodbye)
    assert read(answer)[0].opcode == Opcode.CLOSE
    assert texts == []
    assert talk.closed
    assert not talk.is_between


@given(st.lists(st.text(max_size=50), max_size=5), st.data())
def test_texts_come_however_they_were_cut(texts: list[str], data: st.DataObject) -> None:
    stream = b"".join(said(frames.TEXT, text.encode()) for text in texts)
    talk, unread, found = Talk(), b"", []
    while stream or unread:
        count = data.draw(st.integers(1, max(1, len(stream))))
        unread, stream = unread + stream[:count], stream[count:]
        done, answer, more = talk.take(unread)
        unread = unread[done:]
        found += more
        assert answer == b""
        if not stream:
            break
    assert unread == b""
    assert found == texts
    assert talk.is_between


def test_a_text_in_pieces() -> None:
    talk = Talk()
    talk.take(said(frames.TEXT, b"a", fin=False))
    assert not talk.is_between
    assert talk.take(said(0, b"b"))[2] == ["ab"]
    assert talk.is_between


def test_what_is_refused() -> None:
    assert broken(said(frames.BINARY, b"FLV")) == frames.UNSUPPORTED
    assert broken(Frame(Opcode.TEXT, b"x").serialize(mask=False)) == 1002
    assert broken(said(frames.TEXT, b"\xff")) == 1007
    assert broken(b"\xf1\x80" + bytes(4)) == 1002
    assert broken(said(0, b"x")) == 1002
    assert broken(b"\x81\xff" + (1 << 62).to_bytes(8)) == frames.TOO_BIG
    assert broken(said(frames.TEXT, bytes(MAX_FRAME_BYTES + 1))) == frames.TOO_BIG


def test_a_text_has_a_length_however_many_pieces_it_has() -> None:
    piece = bytes(range(65, 75)) * 100
    many = said(frames.TEXT, piece, fin=False) + said(0, piece, fin=False) * 2
    assert len(piece) * 3 > MAX_TEXT_BYTES
    assert broken(many) == frames.TOO_BIG


def test_what_has_not_come_as_a_whole_is_left() -> None:
    whole = said(frames.TEXT, b"x" * 300)
    for count in (0, 1, 3, 7, len(whole) - 1):
        assert Talk().take(whole[:count]) == (0, b"", [])


def test_so_many_frames_are_taken_in_one_go() -> None:
    talk = Talk()
    data = said(TEXT, b"a") * (MAX_FRAMES + 1)
    done, _answer, texts = talk.take(data)
    assert texts == ["a"] * MAX_FRAMES
    assert talk.take(data[done:])[2] == ["a"]
