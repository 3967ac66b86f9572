from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmpsrv.errors import MediaRefused
from rtmpsrv.media import mp4_source
from rtmpsrv.media.mp4_source import (
    ALL,
    FRAME_BYTES,
    MAX_FRAME_BYTES,
    MAX_TRACKS,
    MAX_WAITING_FRAMES,
    SETTLE_S,
    Asked,
    Mp4Source,
    Selection,
    Timed,
    take_all,
)
from rtmpsrv.protocol.messages import AUDIO, DATA_AMF0, VIDEO
from tests.unit.media.test_tracks import AAC_BODY, AVC_BODY, many

AVC = b"\x17\0\0\0\0" + AVC_BODY
AAC = b"\xaf\0" + AAC_BODY
KEY = b"\x17\1\0\0\x28key"
INTER = b"\x27\1\0\0\0inter"
TONE = b"\xaf\1tone"
HEADERS = ((AUDIO, AAC), (VIDEO, AVC))


def source(*headers: tuple[int, bytes], video: bool = True, audio: int = 1) -> Mp4Source:
    return Mp4Source(headers, Selection(video, audio))


def fed(one: Mp4Source, *messages: tuple[int, int, bytes], at: float = 0.0) -> Mp4Source:
    for type_id, time, payload in messages:
        assert one.take(type_id, time, payload, at)
    return one


def usual() -> Mp4Source:
    one = fed(source(*HEADERS), (VIDEO, 1000, KEY), (AUDIO, 1010, TONE))
    assert one.ready(0.0)
    return one


def test_it_is_ready_when_each_announced_track_has_a_frame() -> None:
    one = source(*HEADERS)
    assert not one.ready(99.0)
    assert one.samples() == []
    fed(one, (VIDEO, 1000, KEY))
    assert not one.ready(0.0)
    fed(one, (AUDIO, 1010, TONE))

    assert one.ready(0.0)
    assert one.ready(0.0)
    assert one.content_type == 'video/mp4; codecs="avc1.640020,mp4a.40.2"'
    assert [(track.number, track.kind) for track in one.tracks] == [(1, VIDEO), (2, AUDIO)]
    assert one.question.tracks == (
        Asked(VIDEO, b"avc1", AVC_BODY, b"key"),
        Asked(AUDIO, b"mp4a", AAC_BODY, b"tone"),
    )
    assert one.samples() == [Timed(1, 1000, 40, True, b"key"), Timed(2, 1010, 0, True, b"tone")]
    assert one.samples() == []


def test_what_has_no_frame_in_time_is_not_waited_for() -> None:
    one = fed(source(*HEADERS), (VIDEO, 0, KEY))

    assert not one.ready(SETTLE_S - 0.01)
    assert one.ready(SETTLE_S)
    assert one.content_type == 'video/mp4; codecs="avc1.640020"'


def test_how_long_was_waited_is_told_by_arrivals_where_more_is_to_be_read() -> None:
    one = fed(source(*HEADERS), (VIDEO, 0, KEY))
    fed(one, (VIDEO, 990, INTER), at=SETTLE_S - 0.01)
    assert not one.ready()
    fed(one, (VIDEO, 1000, INTER), at=SETTLE_S)
    assert one.ready()
    assert [track.kind for track in one.tracks] == [VIDEO]


def test_a_keyframe_of_video_that_is_there_is_waited_for() -> None:
    one = fed(source(*HEADERS), (VIDEO, 0, INTER), (AUDIO, 0, TONE))
    assert not one.ready(99.0)

    fed(one, (AUDIO, 30, TONE), (VIDEO, 40, KEY), (AUDIO, 60, TONE))

    assert one.ready(0.0)
    assert [sample.time for sample in one.samples()] == [40, 60]


def test_pictures_before_the_first_keyframe_are_not_kept() -> None:
    one = fed(source((VIDEO, AVC)), *[(VIDEO, 40 * number, INTER) for number in range(5)])
    assert one.waiting_bytes == 0
    assert not one.ready(10.0)
    fed(one, (VIDEO, 200, KEY), (VIDEO, 240, INTER))
    assert one.waiting_bytes > 0
    assert one.ready(10.0)
    assert [sample.time for sample in one.samples()] == [200, 240]
    assert one.waiting_bytes == len(b"key")  # of which a first part is made


def test_audio_alone_begins_with_any_frame() -> None:
    one = fed(source((AUDIO, AAC)), (AUDIO, 5, TONE))

    assert one.ready(SETTLE_S)
    assert one.content_type == 'audio/mp4; codecs="mp4a.40.2"'
    assert one.samples() == [Timed(1, 5, 0, True, b"tone")]


def test_only_what_is_wanted_is_taken() -> None:
    one = fed(source(*HEADERS, video=False), (VIDEO, 0, KEY), (AUDIO, 0, TONE))
    assert one.ready(0.0)
    assert [sample.data for sample in one.samples()] == [b"tone"]
    assert one.take(VIDEO, 40, AVC + b"another", 0.0)

    one = fed(source(*HEADERS, audio=0), (VIDEO, 0, KEY), (AUDIO, 0, TONE))
    assert one.ready(0.0)
    assert [sample.data for sample in one.samples()] == [b"key"]
    assert one.take(AUDIO, 40, AAC + b"another", 0.0)


def two_sounds(packet_type: int, first: bytes, second: bytes) -> bytes:
    return many(0x95, packet_type, (0, b"mp4a", first), (3, b"mp4a", second))


def test_the_second_audio_track_is_the_one_with_the_next_id() -> None:
    headers = two_sounds(0, AAC_BODY, AAC_BODY + b"second")
    one = fed(source((AUDIO, headers), audio=2), (AUDIO, 0, two_sounds(1, b"one", b"two")))

    assert one.ready(SETTLE_S)
    assert one.question.tracks[0].config == AAC_BODY + b"second"
    assert [sample.data for sample in one.samples()] == [b"two"]


def test_an_audio_track_that_is_not_there() -> None:
    one = fed(source((AUDIO, AAC), audio=2), (AUDIO, 0, TONE))

    assert one.ready(SETTLE_S)
    with pytest.raises(MediaRefused, match="no audio track 2"):
        _ = one.question
    fed(one, (AUDIO, 20, TONE))
    assert one.samples() == []
    assert not one.take(AUDIO, 40, many(0x95, 1, (1, b"mp4a", b"x")), 0.0)


def test_a_second_sound_is_waited_for_and_no_silent_picture_is_made_instead() -> None:
    one = fed(source(*HEADERS, audio=2), (VIDEO, 0, KEY), (AUDIO, 0, TONE))
    assert not one.ready(SETTLE_S - 0.01)
    fed(one, (AUDIO, 5, many(0x95, 1, (1, b".mp3", b"second"))))
    assert one.ready()
    assert [(track.kind, track.fourcc) for track in one.tracks] == [(VIDEO, b"avc1"), (AUDIO, b".mp3")]

    without = fed(source(*HEADERS, audio=2), (VIDEO, 0, KEY), (AUDIO, 0, TONE))
    assert without.ready(SETTLE_S)
    with pytest.raises(MediaRefused, match="no audio track 2"):
        _ = without.question
    assert without.samples() == []
    fed(without, (VIDEO, 40, KEY), (AUDIO, 40, TONE))
    assert not without.take(AUDIO, 45, many(0x95, 1, (1, b".mp3", b"second")), 2.0)


def test_codecs_that_cannot_be_in_mp4_are_named() -> None:
    one = fed(source(), (VIDEO, 0, b"\x12picture"), (AUDIO, 0, b"\x62sound"), (AUDIO, 20, b"\x62sound"))
    fed(one, (VIDEO, 40, b"\x1eunheard of"), (VIDEO, 80, b"\x14more than are named"))
    assert one.ready(SETTLE_S)
    fed(one, (AUDIO, 90, b"\xb6speex"))
    with pytest.raises(MediaRefused) as caught:
        _ = one.question
    assert str(caught.value) == "H263 and Nellymoser and an unknown codec cannot be in MP4"


def test_what_cannot_be_in_mp4_is_said() -> None:
    one = source()
    with pytest.raises(MediaRefused, match="nothing was sent"):
        _ = one.question
    fed(one, (AUDIO, 0, b"\xb6speex"))
    assert not one.ready(0.0)
    assert one.ready(SETTLE_S)
    with pytest.raises(MediaRefused, match=r"^Speex cannot be in MP4$"):
        _ = one.question
    fed(one, (AUDIO, 20, b"\xb6speex"), (AUDIO, 20, b""))


def test_a_broken_header_is_said() -> None:
    one = fed(source((VIDEO, b"\x17\0\0\0\0\1")), (VIDEO, 0, KEY))
    assert one.ready(SETTLE_S)
    with pytest.raises(MediaRefused, match="header is broken"):
        _ = one.content_type


def test_repeated_headers_change_nothing() -> None:
    fed(usual(), (VIDEO, 1040, AVC), (AUDIO, 1040, AAC), (DATA_AMF0, 1040, b"data"))


@pytest.mark.parametrize(
    ("type_id", "payload"),
    [
        (VIDEO, AVC + b"another"),
        (AUDIO, AAC + b"another"),
        (VIDEO, b"\x91av01key"),
        (AUDIO, b"\x2fmpeg"),
    ],
)
def test_another_configuration_ends_it(type_id: int, payload: bytes) -> None:
    assert not usual().take(type_id, 1040, payload, 0.0)


def test_a_header_that_changes_before_all_is_known_ends_it_if_there_are_frames() -> None:
    one = fed(source(*HEADERS), (AUDIO, 0, AAC + b"another"), (AUDIO, 0, AAC), (AUDIO, 0, TONE))

    assert not one.take(AUDIO, 40, AAC + b"another", 0.0)


def test_a_track_that_comes_too_late_ends_it() -> None:
    one = fed(source(*HEADERS), (VIDEO, 0, KEY))
    assert one.ready(SETTLE_S)
    fed(one, (AUDIO, 20, AAC + b"another"), (AUDIO, 20, b"\xb6speex"))

    assert not one.take(AUDIO, 40, TONE, 0.0)


def test_a_second_track_of_a_kind_that_is_there_does_not() -> None:
    one = usual()
    fed(one, (AUDIO, 1040, many(0x95, 1, (1, b"mp4a", b"x"))))
    assert [sample.data for sample in one.samples()] == [b"key", b"tone"]


def test_no_more_tracks_are_looked_at_than_there_may_be() -> None:
    sounds = [(number, b"mp4a", b"%d" % number) for number in range(MAX_TRACKS + 1)]
    one = fed(source(audio=MAX_TRACKS + 1), (AUDIO, 0, many(0x95, 1, *sounds)))
    assert one.ready(SETTLE_S)
    assert not one.tracks


def test_no_more_headers_are_kept_than_there_may_be() -> None:
    one = source()
    for number in range(100):
        fed(one, (AUDIO, 0, many(0x95, 0, (number, b"mp4a", AAC_BODY))))
    assert len(one._configs) == 2 * MAX_TRACKS
    fed(one, (AUDIO, 0, many(0x95, 0, (0, b"mp4a", b"other"))))
    assert one._configs[AUDIO, 0].body == b"other"


def test_what_a_first_part_is_made_from_is_let_go_when_it_is_there() -> None:
    one = usual()
    assert one.waiting_bytes == 2 * (FRAME_BYTES + len(b"keytone"))
    one.samples()
    assert one.waiting_bytes == len(b"keytone")

    one.has_begun()

    assert one.waiting_bytes == 0
    assert one.take(AUDIO, 1030, TONE, 0.0)
    assert not one.take(VIDEO, 1040, b"\x1c\1\0\0\0another codec", 0.0)


def test_no_first_part_is_made_from_a_frame_that_is_too_large() -> None:
    one = fed(source(*HEADERS), (VIDEO, 0, KEY + bytes(MAX_FRAME_BYTES)), (AUDIO, 0, TONE))
    assert one.ready(0.0)
    with pytest.raises(MediaRefused, match="more than 8 MB"):
        _ = one.question


def test_a_config_of_another_codec_is_none_of_the_track() -> None:
    one = fed(source((AUDIO, AAC)), (AUDIO, 0, b"\x2fmpeg"))
    assert one.ready(SETTLE_S)
    assert one.question.tracks == (Asked(AUDIO, b".mp3", b"", b"mpeg"),)


def test_temporal_delimiters_of_av1_are_left_out() -> None:
    frame = b"\x91av01\x12\0"
    one = fed(source((VIDEO, b"\x90av01\x81\5\x0c\0")), (VIDEO, 0, frame), (VIDEO, 1, frame + b"obu"))
    fed(one, (VIDEO, 40, b"\xa1av01obu"))

    assert one.ready(SETTLE_S)
    assert [sample.data for sample in one.samples()] == [b"obu", b"obu"]


def test_a_frame_that_goes_back_is_shown_when_it_should_be() -> None:
    one = fed(source((VIDEO, AVC)), (VIDEO, 100, KEY), (VIDEO, 90, KEY), (VIDEO, 90, INTER))
    assert one.ready(SETTLE_S)

    assert [(sample.time, sample.time + sample.offset) for sample in one.samples()] == [
        (100, 140),
        (101, 130),
        (102, 102),
    ]


def test_frames_that_nobody_takes_are_forgotten_up_to_a_keyframe() -> None:
    one = usual()
    fed(one, *[(AUDIO, 1010 + number, TONE) for number in range(MAX_WAITING_FRAMES)])

    fed(one, (AUDIO, 30_000, TONE), (VIDEO, 30_000, INTER), (VIDEO, 30_040, KEY))

    assert one.lost_frames == MAX_WAITING_FRAMES
    assert [sample.data for sample in one.samples()] == [b"key"]


def test_bytes_that_nobody_takes_are_bounded_too() -> None:
    one = fed(source((AUDIO, AAC)), (AUDIO, 0, b"\xaf\1" + bytes(mp4_source.MAX_WAITING_BYTES)))
    fed(one, (AUDIO, 20, b"\xaf\1" + bytes(2)))
    fed(one, (AUDIO, 40, TONE), (AUDIO, 60, TONE))

    assert one.ready(SETTLE_S)
    assert [sample.data for sample in one.samples()] == [b"tone", b"tone"]
    assert one.lost_frames == 2


@given(
    st.lists(st.tuples(st.sampled_from([AUDIO, VIDEO]), st.integers(0, (1 << 32) - 1), st.booleans())),
)
def test_whatever_the_times_they_rise_in_each_track(messages: list[tuple[int, int, bool]]) -> None:
    one = usual()
    for type_id, time, is_key in messages:
        payload = (KEY if is_key else INTER) if type_id == VIDEO else TONE
        assert one.take(type_id, time, payload, 0.0)
    samples = one.samples()
    for number in (1, 2):
        times = [sample.time for sample in samples if sample.number == number]
        assert times == sorted(set(times))
        assert all(sample.offset >= 0 for sample in samples)


def test_it_goes_on_at_a_keyframe_where_the_headers_are_the_same() -> None:
    one = usual()
    assert len(one.samples()) == 2
    assert one.go_on(HEADERS)

    fed(one, (VIDEO, 1040, INTER), (AUDIO, 1050, TONE), (VIDEO, 1080, KEY), (AUDIO, 1090, TONE))

    assert [sample.time for sample in one.samples()] == [1080, 1090]


def test_it_does_not_go_on_with_other_headers_or_fewer() -> None:
    assert not usual().go_on(HEADERS[:1])
    assert not usual().go_on((*HEADERS[:1], (VIDEO, AVC + b"another")))
    assert usual().go_on((*HEADERS, (AUDIO, two_sounds(0, AAC_BODY, AAC_BODY))))


def test_all_sounds_are_taken_where_all_are_wanted() -> None:
    one = fed(source(audio=ALL), (VIDEO, 0, KEY), (AUDIO, 0, two_sounds(1, b"one", b"two")))
    assert one.ready(SETTLE_S)
    assert [(track.number, track.kind, track.track_id) for track in one.tracks] == [
        (1, VIDEO, 0), (2, AUDIO, 0), (3, AUDIO, 3),
    ]  # fmt: skip
    assert [(sample.number, sample.data) for sample in one.samples()] == [
        (1, b"key"), (2, b"one"), (3, b"two"),
    ]  # fmt: skip
    assert one.take(AUDIO, 40, two_sounds(1, b"three", b"four"), 0.0)
    assert not one.take(AUDIO, 80, many(0x95, 1, (1, b"mp4a", b"late")), 0.0)


def test_more_sounds_than_there_may_be_do_not_end_it() -> None:
    sounds = [(number, b"mp4a", b"%d" % number) for number in range(MAX_TRACKS + 1)]
    one = fed(source(audio=ALL), (AUDIO, 0, many(0x95, 1, *sounds)))
    assert one.ready(SETTLE_S)
    assert len(one.tracks) == MAX_TRACKS
    assert one.take(AUDIO, 40, many(0x95, 1, *sounds), 0.0)


def test_it_goes_on_in_another_process() -> None:
    one = usual()
    one.samples()
    state = json.loads(json.dumps(one.snapshot()))
    other = Mp4Source.resumed(state, HEADERS)
    assert (other.tracks, other.content_type, other.has_video) == (one.tracks, one.content_type, True)
    assert other.ready(0.0)
    for source_ in (one, other):
        fed(source_, (VIDEO, 1040, KEY), (AUDIO, 1000, TONE), (VIDEO, 1 << 31, KEY))
    assert other.samples() == one.samples()
    for source_ in (one, other):
        assert not source_.take(VIDEO, 1080, AVC + b"another", 0.0)
        assert not source_.take(VIDEO, 1080, b"\x91av01key", 0.0)


def test_what_another_process_cannot_go_on_with() -> None:
    assert source(*HEADERS).snapshot() is None
    assert usual().snapshot() is None  # frames wait
    begun = fed(source(*HEADERS), (AUDIO, 0, TONE), (VIDEO, 0, KEY))
    assert begun.ready(0.0)
    begun._waiting.clear()
    assert begun.snapshot() is None  # its keyframe is to come
    with pytest.raises(ValueError, match="unpack"):
        Mp4Source.resumed({"first": [], "tracks": [], "last": [], "times": [1]}, HEADERS)


def test_messages_are_taken_in_by_one_source_for_each_configuration() -> None:
    batch = [
        (VIDEO, 0, 1000, KEY, 0.0),
        (AUDIO, 0, 1010, TONE, 0.0),
        (VIDEO, 0, 1040, AVC + b"another", 0.0),
        (VIDEO, 0, 1040, KEY, 0.5),
    ]
    begun: list[Mp4Source] = []

    def begin() -> Mp4Source:
        begun.append(source(*HEADERS[:1] if begun else HEADERS))
        return begun[-1]

    take_all(batch, None, begin)
    take_all([(AUDIO, 0, 1050, TONE, 0.5)], begun[-1], begin)
    assert [one.ready(0.0) for one in begun] == [True, True]
    assert [[sample.data for sample in one.samples()] for one in begun] == [[b"key", b"tone"]] * 2
    assert begun[1].question.tracks[0].config == AVC[5:] + b"another"
