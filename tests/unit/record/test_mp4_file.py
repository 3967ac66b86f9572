"""An MP4 in fragments of a second, from its first part to its end; and one that was left unfinished."""

from __future__ import annotations

import json

import gevent
import pytest
from gevent.event import Event

from rtmpsrv.errors import MediaLost, MediaRefused
from rtmpsrv.media import mp4, mp4_source
from rtmpsrv.media.mp4_source import Question
from rtmpsrv.record import mp4_file
from rtmpsrv.record.first_part import AGAIN_S
from rtmpsrv.record.mp4_file import FRAGMENT_BYTES, Mp4File, Scan
from tests.unit.live.stage import AAC, AVC, AVC_2, HEADERS, inter, key, tone
from tests.unit.record.stage import scanned

FORCE = ((8, AAC[3]), (9, AVC[3]))
INIT = mp4.box(b"ftyp", b"isom") + mp4.box(b"moov", mp4.box(b"mvhd", bytes(100)))


class Maker:
    """Makes first parts, or fails so often."""

    def __init__(self, failures: int = 0) -> None:
        self.asked: list[Question] = []
        self.failures = failures
        self.now = 0.0

    def init(self, question: Question) -> bytes:
        self.asked.append(question)
        if len(self.asked) <= self.failures:
            raise MediaLost("late")
        return INIT

    def file(self) -> Mp4File:
        return Mp4File(FORCE, self.init, lambda: self.now)


def sent(file: Mp4File, *messages: tuple[int, int, int, bytes]) -> bytes:
    """Send messages, and let others run behind each."""
    written = b""
    for kind, at, _, payload in [_ordered(one) for one in messages]:
        found = file.frame(kind, at, payload)
        assert found is not None
        written += found
        gevent.sleep(0)
    return written


def _ordered(message: tuple[int, ...] | tuple[object, ...]) -> tuple[int, int, int, bytes]:
    type_id, at, msid, payload = message[:4]
    assert isinstance(type_id, int)
    assert isinstance(at, int)
    assert isinstance(msid, int)
    assert isinstance(payload, bytes)
    return type_id, at, msid, payload


def kinds(data: bytes) -> list[bytes]:
    found, at = [], 0
    while at < len(data):
        found.append(data[at + 4 : at + 8])
        at += int.from_bytes(data[at : at + 4], "big")
    return found


def second(begin: int = 0) -> list[tuple[int, int, int, bytes]]:
    pictures = [
        inter(str(at), at) if at != begin else key(str(at), at) for at in range(begin, begin + 1000, 40)
    ]
    sounds = [tone(str(at), at) for at in range(begin, begin + 1000, 40)]
    return [_ordered(one) for pair in zip(pictures, sounds, strict=True) for one in pair]


def written(maker: Maker) -> tuple[Mp4File, bytes]:
    file = maker.file()
    data = file.begin(FORCE, ()) + sent(file, *second(), *second(1000), *second(2000))
    return file, data


def test_fragments_follow_the_first_part() -> None:
    maker = Maker()
    file, data = written(maker)
    assert kinds(data) == [b"ftyp", b"moov", *[b"moof", b"mdat"] * 2]
    assert len(maker.asked) == 1
    assert [one.fourcc for one in maker.asked[0].tracks] == [b"avc1", b"mp4a"]
    whole = data + file.end()
    assert kinds(whole)[6:] == [b"moof", b"mdat", b"mfra"]
    for message in (*second(), *second(1000), *second(2000)):
        assert message[3][5 if message[0] == 9 else 2 :] in whole
    ((place, init),) = file.patches(0, 0)
    assert (place, len(init)) == (0, len(INIT))
    assert int.from_bytes(init[44:48], "big") == 3000


def test_data_is_left_out() -> None:
    assert Maker().file().frame(18, 0, HEADERS[0][3]) == b""


def test_other_configuration_is_another_file() -> None:
    file = Maker().file()
    sent(file, *second())
    assert file.goes_on(())
    assert file.frame(9, 1000, AVC_2[3]) is None


def test_writer_that_is_held_up_does_not_lose_the_sound() -> None:
    maker = Maker()
    file = maker.file()
    pictures, sounds = second()[::2], second()[1::2]
    sent(file, pictures[0])
    maker.now = 5.0  # a disk that hung
    sent(file, pictures[1], *sounds[:2])
    assert [one.kind for one in maker.asked[0].tracks] == [9, 8]


def test_what_never_had_a_keyframe_leaves_nothing() -> None:
    file = Maker().file()
    assert sent(file, _ordered(inter("1", 0))) + file.end() == b""
    assert file.patches(0, 0) == []
    assert Maker().file().end() == b""


def test_short_stream_is_whole_at_its_end() -> None:
    file = Maker().file()
    assert sent(file, _ordered(key("0", 0))) == b""
    assert kinds(file.end()) == [b"ftyp", b"moov", b"moof", b"mdat", b"mfra"]


def test_first_part_is_asked_for_again() -> None:
    maker = Maker(failures=1)
    file = maker.file()
    assert sent(file, *second(), *second(1000)) == b""
    assert len(maker.asked) == 1
    maker.now = AGAIN_S
    data = sent(file, *second(2000))
    assert kinds(data)[:3] == [b"ftyp", b"moov", b"moof"]
    assert key("0")[3][5:] in data + file.end()


def test_first_part_that_is_never_had_is_an_error() -> None:
    maker = Maker(failures=99)
    file = maker.file()
    sent(file, *second())
    maker.now = AGAIN_S
    sent(file, *second(1000))
    maker.now = 2 * AGAIN_S
    with pytest.raises(MediaLost):
        sent(file, *second(2000))
    with pytest.raises(MediaLost):
        file.end()


def test_frames_are_kept_while_the_first_part_is_made() -> None:
    maker, made = Maker(), Event()
    file = Mp4File(FORCE, lambda question: maker.init(question) if made.wait() else b"", lambda: maker.now)
    assert sent(file, *second(), *second(1000), *second(2000)) == b""
    assert file.held > 0
    made.set()
    gevent.sleep(0)
    whole = sent(file, *second(3000)) + file.end()
    assert kinds(whole)[:2] == [b"ftyp", b"moov"]
    for message in [one for begin in range(0, 4000, 1000) for one in second(begin)]:
        assert message[3][5 if message[0] == 9 else 2 :] in whole
    assert (len(maker.asked), file.lost_frames, file.held) == (1, 0, 0)


def too_large() -> tuple[int, int, int, bytes]:
    """Return a picture that fills what may wait for a first part."""
    return _ordered(inter(bytes(mp4_source.MAX_WAITING_BYTES + 1), 990))


def test_frames_that_cannot_be_kept_so_long_are_counted() -> None:
    made = Event()
    file = Mp4File(FORCE, lambda question: INIT if made.wait() else b"", lambda: 0.0)
    assert sent(file, *second(), too_large(), *second(1000)) == b""
    assert file.lost_frames == len(second()) + 1
    made.set()
    whole = file.end()
    assert kinds(whole)[:2] == [b"ftyp", b"moov"]
    assert key("1000")[3][5:] in whole
    assert key("0")[3][5:] not in whole


def test_what_cannot_be_mp4_is_refused() -> None:
    file = Mp4File((), Maker().init, lambda: 0.0)
    file.frame(8, 0, b"\x72abc")  # G.711
    with pytest.raises(MediaRefused):
        file.end()


def test_scan_stops_behind_the_last_whole_fragment() -> None:
    _, data = written(Maker())
    ends = [len(INIT)]
    at = 0
    for kind in kinds(data):
        at += int.from_bytes(data[at : at + 4], "big")
        if kind == b"mdat":
            ends.append(at)
    for end, following in zip(ends, [*ends[1:], len(data) + 1], strict=True):
        for cut in {end, (end + following) // 2, following - 1}:
            assert scanned(Scan(), data[:cut]).whole == end
    assert scanned(Scan(), data + bytes(100)).whole == ends[-1]
    scan = scanned(Scan(), data)
    assert scan.holds_media
    assert scan.end_ms == 2000
    assert int.from_bytes(scan.patches()[0][1][44:48], "big") == 2000
    assert not scanned(Scan(), INIT).holds_media
    assert scanned(Scan(), b"FLV" + data).whole == scanned(Scan(), data[len(INIT) :]).whole == 0


def test_scan_of_hostile_boxes_ends() -> None:
    moof = mp4.box(b"moof", mp4.box(b"traf", mp4.box(b"trun", b"\xff" * 20)), mp4.box(b"odd"), bytes(8))
    scan = scanned(Scan(), INIT + moof + mp4.box(b"mdat"))
    assert scan.whole == len(INIT) + len(moof) + 8
    assert scanned(Scan(), mp4.box(b"ftyp") + mp4.box(b"moov", b"\0" * 9)).patches() == []


def tracks_file(maker: Maker) -> Mp4File:
    return Mp4File(FORCE, maker.init, lambda: maker.now)


@pytest.mark.parametrize("cut", [26, 30, 50, 61])
def test_other_process_goes_on_in_the_same_file(cut: int) -> None:
    maker = Maker()
    messages = [*second(), *second(1000), *second(2000)]
    file = maker.file()
    data = sent(file, *messages[:cut])
    rest, state = file.leave()
    data += rest
    assert file.held == 0
    other_file, uninterrupted = written(maker)
    uninterrupted += other_file.end()
    assert len(maker.asked) == 2
    assert state is not None
    other = Mp4File.resumed(json.loads(json.dumps(state)), FORCE, data[:1000], maker.init, lambda: maker.now)
    data += sent(other, *messages[cut:]) + other.end()
    assert len(maker.asked) == 2
    for message in messages:
        frame = message[3][5 if message[0] == 9 else 2 :]
        assert data.count(frame) == uninterrupted.count(frame) > 0
    assert kinds(data)[:2] == [b"ftyp", b"moov"]
    assert kinds(data)[-1] == b"mfra"
    scan = Scan()
    at = 0
    while size := scan.read(data[at : at + 8]):
        scan.taken(data[at : at + 8], data[at + 8 : at + size], size)
        at += size
    tail = int.from_bytes(data[-4:], "big")
    assert data[scan.whole :][:8] == tail.to_bytes(4, "big") + b"mfra"
    assert scan.whole == len(data) - tail
    assert scan.end_ms == 3000
    assert other.patches(0, 0) == other_file.patches(0, 0)


def test_file_is_left_as_soon_as_its_first_part_is_made() -> None:
    made = Event()
    file = Mp4File(FORCE, lambda question: INIT if made.wait() else b"", lambda: 0.0)
    assert sent(file, *second()) == b""
    gevent.spawn(made.set)
    data, state = file.leave()
    assert kinds(data) == [b"ftyp", b"moov", b"moof", b"mdat"]
    assert state is not None
    assert (state["init"], state["size"]) == (len(INIT), len(data))


def test_file_that_waits_for_a_keyframe_is_not_left() -> None:
    made = Event()
    file = Mp4File(FORCE, lambda question: INIT if made.wait() else b"", lambda: 0.0)
    assert sent(file, *second(), too_large(), _ordered(inter("1000", 1000))) == b""
    gevent.spawn(made.set)
    assert file.leave() == (INIT, None)
    assert kinds(file.end()) == [b"mfra"]


def test_file_whose_first_part_fails_is_not_left() -> None:
    file = Maker(failures=9).file()
    sent(file, *second())
    assert file.leave() == (b"", None)


def test_file_without_its_first_part_is_not_left() -> None:
    file = Maker().file()
    assert file.leave() == (b"", None)
    sent(file, *second()[:1])
    assert file.leave() == (b"", None)


def test_file_that_does_not_begin_as_it_should_is_not_gone_on_with() -> None:
    maker = Maker()
    file, _data = written(maker)
    _rest, state = file.leave()
    assert state is not None
    with pytest.raises(ValueError, match="begin as it should"):
        Mp4File.resumed(state, FORCE, bytes(1000), maker.init)


def test_keyframes_are_told_of_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mp4_file, "MAX_PLACES", 4)
    file = Maker().file()
    sent(file, *[message for begin in range(0, 9000, 1000) for message in second(begin)])
    _rest, state = file.leave()
    assert state is not None
    assert [time for time, _ in state["places"]] == [0, 6000, 8000]


def test_what_waits_is_counted() -> None:
    file = Maker().file()
    assert file.held == 0
    messages = second()
    sent(file, *messages)
    assert 0 < file.held <= sum(len(message[3]) for message in messages)
    file.end()
    assert file.held == 0


def test_frames_of_one_moment_are_not_kept_until_time_goes_on() -> None:
    file, size = Maker().file(), 1 << 20
    data = sent(file, *second()[:2])
    for number in range(40):
        data += sent(file, _ordered(inter(str(number) * (size // len(str(number))), 0)))
        assert file.held <= FRAGMENT_BYTES + size
    data += file.end()
    assert len(data) > 39 * size
    assert scanned(Scan(), data).end_ms == 41


def test_newest_frame_is_kept_however_large() -> None:
    file = Maker().file()
    data = sent(file, *second()[:2], _ordered(inter("x" * FRAGMENT_BYTES, 10)), _ordered(inter("y", 20)))
    assert data.count(b"moof") == 2
    assert data.count(b"x" * FRAGMENT_BYTES) == 1
    assert file.held < 1000


def test_sound_is_written_while_no_pictures_come() -> None:
    file = Maker().file()
    data = sent(file, *second(), *[_ordered(tone(str(at), at)) for at in range(1000, 3000, 40)])
    assert kinds(data)[2:] == [b"moof", b"mdat"]
    assert b"1880" in data
