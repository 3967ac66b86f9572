from __future__ import annotations

import pytest

from rtmpsrv.live.by_track import MAX_COUNTED, MAX_READ_BYTES, MAX_SPLIT, ByTrack, bitrate, span_s
from rtmpsrv.media.tracks import MAX_TRACKS
from tests.unit.live.course import AAC, AVC, Course, picture, tone, tracks_of
from tests.unit.live.fakes import Message
from tests.unit.live.stage import sound, video
from tests.unit.media.test_tracks import AAC_BODY, AVC_BODY, HEVC_BODY, many


def two_pictures(timestamp: int, is_keyframe: bool) -> Message:
    first = 0x96 if is_keyframe else 0xA6
    return video(many(first, 3, (0, b"avc1", bytes(300)), (1, b"hvc1", bytes(700))), timestamp)


def alone(type_id: int, track: int, size: int, timestamp: int) -> Message:
    """A frame of one track in a message of its own."""
    fourcc, first, packet_type = (b"mp4a", 0x95, 1) if type_id == 8 else (b"avc1", 0xA6, 3)
    payload = bytes([first, packet_type]) + fourcc + bytes([track]) + bytes(size)
    return (sound if type_id == 8 else video)(payload, timestamp)


def test_tracks_in_one_message_each_have_their_share() -> None:
    course = Course(headers=(video(many(0x96, 0, (0, b"avc1", AVC_BODY), (1, b"hvc1", HEVC_BODY))),))
    for number in range(300):
        course.stage.publish(two_pictures(number * 40, number % 50 == 0))
        course.stage.clock.advance(0.04)
    vitals = course.vitals()
    tracks = tracks_of(vitals)
    assert [tracks["video", number]["codec"] for number in (0, 1)] == ["H264", "H265"]
    assert [tracks["video", number]["frames"] for number in (0, 1)] == [300, 300]
    assert tracks["video", 1]["received_bytes"] == 300 * 700
    assert tracks["video", 0]["received_bytes"] == 300 * (300 + 2 + 2 * 8)
    assert [tracks["video", number]["fps"] for number in (0, 1)] == [pytest.approx(25, abs=0.2)] * 2
    assert tracks["video", 1]["bitrate_10s"] == pytest.approx(25 * 700 * 8, rel=0.01)
    assert vitals["gops_s"] == [2.0] * 5
    assert vitals["jumps"] == 0


def test_tracks_in_messages_of_their_own_beside_the_first() -> None:
    course = Course(headers=(AAC, sound(many(0x95, 0, (2, b"mp4a", AAC_BODY)))))
    for number in range(300):
        course.stage.publish(
            tone(number * 40), alone(8, 2, 50, number * 40 + 300)
        )  # 0.3 s ahead of the first
        course.stage.clock.advance(0.04)
    vitals = course.vitals()
    tracks = tracks_of(vitals)
    assert [tracks["audio", number]["frames"] for number in (0, 2)] == [300, 300]
    assert [tracks["audio", number]["received_bytes"] for number in (0, 2)] == [300 * (102 + 7), 300 * 50]
    assert (vitals["jumps"], vitals["uneven_audio"]) == (0, 0)


def test_pictures_in_messages_of_their_own_are_not_the_firsts() -> None:
    course = Course(headers=(AVC, video(many(0x96, 0, (1, b"hvc1", HEVC_BODY)))))
    for number in range(300):
        course.stage.publish(picture(number * 40, number % 50 == 0), alone(9, 1, 50, number * 40))
        course.stage.clock.advance(0.04)
    tracks = tracks_of(course.vitals())
    assert [tracks["video", number]["frames"] for number in (0, 1)] == [300, 300]
    assert [tracks["video", number]["fps"] for number in (0, 1)] == [pytest.approx(25, abs=0.2)] * 2


def test_tracks_move_with_the_channel() -> None:
    course = Course(headers=(AAC, sound(many(0x95, 0, (2, b"mp4a", AAC_BODY)))))
    for number in range(20):
        course.stage.publish(tone(number * 40), alone(8, 2, 50, number * 40))
    before = course.vitals()
    course.stage = course.stage.hand_over()
    assert course.vitals() == before
    course.stage.publish(alone(8, 2, 50, 1000))
    assert tracks_of(course.vitals())["audio", 2]["frames"] == 21


def test_frames_of_tracks_that_no_header_told_of_are_the_firsts() -> None:
    course = Course(headers=())
    for number in range(10):
        course.stage.publish(alone(9, 3, 50, number * 40))
    tracks = tracks_of(course.vitals())
    assert list(tracks) == [("video", 3)]
    assert tracks["video", 3]["configured"] is False


def test_of_a_flood_so_many_messages_a_second_are_split() -> None:
    course = Course(headers=(video(many(0x96, 0, (0, b"avc1", AVC_BODY), (1, b"hvc1", HEVC_BODY))),))
    course.stage.publish(*[two_pictures(0, number == 0) for number in range(MAX_SPLIT + 5)])
    assert [one["frames"] for one in course.vitals()["tracks"]] == [MAX_SPLIT + 5, MAX_SPLIT]
    course.stage.clock.advance(1)
    course.stage.publish(two_pictures(1000, False))
    assert [one["frames"] for one in course.vitals()["tracks"]] == [MAX_SPLIT + 6, MAX_SPLIT + 1]


def test_no_more_tracks_are_counted_or_told_than_there_may_be() -> None:
    everything = [(number, b"mp4a", AAC_BODY) for number in range(30)]
    headers = [sound(many(0x95, 0, *everything[begin : begin + 6])) for begin in range(0, 30, 6)]
    course = Course(headers=tuple(headers))
    for track in range(100):
        course.stage.publish(alone(8, track, 50, track))
    assert len([one for one in course.vitals()["tracks"] if one["kind"] == "audio"]) == MAX_TRACKS
    value = course.stage.channel.contents.vitals.tracks.snapshot()
    assert len(value["counts"]) <= MAX_COUNTED + 1


def test_messages_of_several_tracks_that_have_no_frames_are_not_split() -> None:
    header = video(many(0x96, 0, (0, b"avc1", AVC_BODY), (1, b"avc1", AVC_BODY)))
    course = Course(headers=(header,))
    course.stage.publish(
        picture(0, True), header, video(b"\x96", 40), video(many(0x96, 2, (1, b"avc1", b"")), 80)
    )
    assert [one["frames"] for one in course.vitals()["tracks"]] == [2, 0]


@pytest.mark.parametrize(
    ("message", "codec", "configured"),
    [
        (video(b"\x24" + bytes(20)), "VP6", True),
        (video(b"\x27\1\0\0\0" + bytes(20)), "H264", False),
        (sound(b"\x2f\xff\xfb\x90\x64\0" + bytes(20)), "MPEG-1/2 Audio", True),
        (video(b"\xa6" + b"\xff" * 20), "", False),
        (sound(b"\x91"), "", False),
    ],
)
def test_tracks_without_headers_are_told_by_their_frames(
    message: Message, codec: str, configured: bool
) -> None:
    course = Course(headers=(message, message))
    (track,) = course.vitals()["tracks"]
    assert (track["codec"], track["configured"], track["frames"]) == (codec, configured, 2)


def test_looks_end_where_all_is_known() -> None:
    course = Course(headers=())
    tracks = course.stage.channel.contents.vitals.tracks
    assert tracks.looks
    course.stage.publish(video(b"\x57\0"))  # a command is no frame
    assert tracks.looks
    course.stage.publish(picture(0, True), tone(0))
    assert not tracks.looks
    course.stage.channel.suspend(10)
    assert tracks.looks


def test_headers_that_end_leave_what_is_known() -> None:
    course = Course(headers=(video(b"\x90avc1" + AVC_BODY),)).run(2)
    course.stage.publish(video(b"\x92avc1"))
    assert tracks_of(course.run(2).vitals())["video", 0]["profile"] == "High"


def header_of(track: int, size: int) -> tuple[int, bytes]:
    """Of a sound that nobody understands."""
    empty = many(0x95, 0, (track, b"mp4a", b""))
    return 8, many(0x95, 0, (track, b"mp4a", bytes(size - len(empty))))


def test_each_header_is_read_once() -> None:
    found, half = ByTrack(), MAX_READ_BYTES // 2
    headers = [header_of(number, half) for number in range(2)]
    for number in range(2, 6):
        found.configure(*headers[0])
        found.read(tuple(headers))
        assert found.odd_headers == number
        headers[number % 2] = header_of(number, MAX_READ_BYTES)  # all that is read at one go


def test_one_look_reads_so_many_bytes_of_headers_and_the_next_one_the_rest() -> None:
    found, half = ByTrack(), MAX_READ_BYTES // 2
    headers = (header_of(0, half), header_of(1, half), header_of(2, 50), header_of(3, 1 << 16))
    found.configure(*headers[0])
    for odd in (2, 3, 4, 4):
        found.read(headers)
        assert found.odd_headers == odd


def test_headers_that_another_process_has_read_are_not_odd_again() -> None:
    found, before = ByTrack(), ByTrack()
    half = MAX_READ_BYTES // 2
    headers = tuple(header_of(number, half) for number in range(3))
    before.configure(*headers[0])
    before.read(headers)
    before.read(headers)
    found.adopt(before.snapshot())
    found.read(headers)
    found.read(headers)
    assert found.odd_headers == 3


def test_bits_per_second_with_the_running_second_and_of_the_young() -> None:
    assert bitrate([1000] * 10, span_s(10, 100.0, 5000.5)) == round(80_000 / 9.5)
    assert bitrate([0] * 9 + [1000], span_s(10, 0.2, 5000.5)) == 8000
    assert bitrate([0] * 8 + [1000, 1000], span_s(10, 2.0, 5000.5)) == 8000
    assert bitrate([-5] * 10, span_s(10, 2.0, 5000.5)) == 0
