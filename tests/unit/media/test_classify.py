from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmpsrv.errors import RemoteProtocolError
from rtmpsrv.media.classify import (
    EMPTY,
    END,
    FRAME,
    HEADER,
    KEYFRAME,
    TRACK_KEYFRAME,
    Slot,
    classify_audio,
    classify_video,
    ends_slots,
    header_slots,
    keyframe_inside,
    track_id,
)
from rtmpsrv.media.parse import parse_audio, parse_video
from rtmpsrv.protocol.messages import AUDIO, VIDEO
from tests.vectors import load, name_of

MEDIA = load("media")
ANY_FLAG = KEYFRAME | HEADER | FRAME | END | EMPTY | TRACK_KEYFRAME


@pytest.mark.parametrize("vector", MEDIA["video"], ids=name_of)
def test_video_is_classified_as_the_vector_says(vector: dict[str, Any]) -> None:
    payload = bytes.fromhex(vector["hex"])
    tracks = vector["parsed"].get("tracks", [vector["parsed"] | {"track_id": 0}])
    keyframes = {track["track_id"] for track in tracks if track.get("keyframe")}
    is_metadata = vector["parsed"].get("packet_type") == "Metadata"
    is_header = is_metadata or any(track.get("sequence_header") for track in tracks)
    flags = classify_video(payload)
    assert bool(flags & KEYFRAME) is (0 in keyframes)
    assert bool(flags & TRACK_KEYFRAME) is (bool(keyframes) and 0 not in keyframes)
    assert bool(flags & HEADER) is is_header
    assert bool(header_slots(VIDEO, payload)) is is_header
    assert track_id(payload) == min(track["track_id"] for track in tracks)


@pytest.mark.parametrize("vector", MEDIA["audio"], ids=name_of)
def test_audio_is_classified_as_the_vector_says(vector: dict[str, Any]) -> None:
    payload = bytes.fromhex(vector["hex"])
    parsed = vector["parsed"]
    is_header = parsed.get("packet_type") in ("sequence_header", "SequenceStart", "MultichannelConfig")
    flags = classify_audio(payload)
    assert bool(flags & HEADER) is is_header
    assert bool(flags & EMPTY) is parsed.get("silence", False)
    assert not flags & (KEYFRAME | TRACK_KEYFRAME)
    assert bool(header_slots(AUDIO, payload)) is is_header


@pytest.mark.parametrize("vector", MEDIA["errors"], ids=lambda v: f"{v['kind']} {v['name']}")
def test_malformed_messages_are_plain_frames(vector: dict[str, Any]) -> None:
    payload = bytes.fromhex(vector["hex"])
    kind, classify = (VIDEO, classify_video) if vector["kind"] == "video" else (AUDIO, classify_audio)
    assert classify(payload) == (FRAME if payload else EMPTY)
    assert header_slots(kind, payload) == ends_slots(kind, payload) == ()
    assert track_id(payload) == 0 or kind == AUDIO


@pytest.mark.parametrize(
    ("data", "flags"),
    [
        ("1700000000", HEADER),
        ("2700000000", HEADER),
        ("1702000000", END),
        ("27020000000000000000", END),
        ("1703000000000000", FRAME),
        ("1701000000", FRAME | KEYFRAME),
        ("47010000000000000001", FRAME | KEYFRAME),
        ("1c000000000102030405", HEADER),
        ("1d000000000102030405", HEADER),
        ("1d010000000102030405", FRAME | KEYFRAME),
        ("12", FRAME | KEYFRAME),
        ("22", FRAME),
        ("1200000000000000", FRAME | KEYFRAME),
        ("57", 0),
        ("5700", 0),
        ("5700000000000000", 0),
        ("07010000000000", FRAME),
        ("d100", 0),
        ("d10000000000000000", 0),
        ("986876633100000000", FRAME),
        ("9168766331000000", FRAME | KEYFRAME),
        ("936876633100", FRAME | KEYFRAME),
        ("c3687663310000000000", FRAME | KEYFRAME),
        ("a3687663310000000000", FRAME),
        ("940000000000000000", HEADER),
        ("960301", FRAME),
        ("92687663310000000000", END),
        ("9603687663310100", FRAME | TRACK_KEYFRAME),
        ("9603687663310000", FRAME | KEYFRAME),
        # The type says nothing: the payload does.
        ("8368766331 00000003 260100", FRAME | KEYFRAME),
        ("8368766331 00000003 020100", FRAME),
        ("8168766331 000000 00000003 260100", FRAME | KEYFRAME),
        ("8168766331 000000 00000003 020100", FRAME),
        ("8168766331 0000", FRAME),
        ("8361763031 1200 0a00", FRAME | KEYFRAME),
        ("8361763031 1200 3200", FRAME),
        ("8668766331", FRAME),
        ("8603 68766331 00 00000003 2601", FRAME | KEYFRAME),
        ("8603 68766331 01 00000003 2601", FRAME | TRACK_KEYFRAME),
        ("8603 68766331 01 00000003 0201", FRAME),
        ("8613 68766331 01 000006 000000022601 00 000006 000000020201", FRAME),
        ("8613 68766331 02 000006 000000020201 01 000006 000000022601", FRAME | TRACK_KEYFRAME),
        ("8613 68766331 01 000006 000000020201 00 000006 000000022601", FRAME | KEYFRAME),
        ("8068766331 00000003 260100", HEADER),
        ("8268766331 00000003 260100", END),
        ("0701000000 00000002 6588", FRAME | KEYFRAME),
        ("0701000000 00000002 4188", FRAME),
        ("0c01000000 00000002 2601", FRAME | KEYFRAME),
        ("0d01000000 0a00", FRAME | KEYFRAME),
        ("0700000000 00000002 6588", HEADER),
        ("0702000000 00000002 6588", END),
        ("0703000000 00000002 6588", FRAME),
        ("0200000000 00000002 6588", FRAME),
        # Where it does, the payload counts for nothing.
        ("a368766331 00000003 260100", FRAME),
        ("2701000000 00000002 6588", FRAME),
        ("1701000000 00000002 4188", FRAME | KEYFRAME),
        ("b368766331 00000003 260100", FRAME),
    ],
)
def test_video_flags(data: str, flags: int) -> None:
    assert classify_video(bytes.fromhex(data)) == flags


@pytest.mark.parametrize(
    ("data", "flags"),
    [
        ("af00", HEADER),
        ("af01", FRAME),
        ("af02aabbccdd", FRAME),
        ("af001210aabb", HEADER),
        ("df004f707573", HEADER),
        ("df014f707573", FRAME),
        ("df", FRAME),
        ("2f", FRAME),
        ("2f0000000000", FRAME),
        ("914f707573", FRAME),
        ("924f707573", END),
        ("904f707573", HEADER),
        ("934f707573", FRAME),
        ("95014f70757301", FRAME),
        ("95004f70757301", HEADER),
        ("95024f70757301", END),
    ],
)
def test_audio_flags(data: str, flags: int) -> None:
    assert classify_audio(bytes.fromhex(data)) == flags


def test_many_tracks_fill_a_slot_each() -> None:
    payload = bytes.fromhex("96206876633100000002010161763031010000028100")
    assert header_slots(VIDEO, payload) == (Slot(VIDEO, 0, "config"), Slot(VIDEO, 1, "config"))


@pytest.mark.parametrize(
    ("type_id", "data", "slot"),
    [
        (VIDEO, "1700000000", (VIDEO, 0, "config")),
        (VIDEO, "96006176633107", (VIDEO, 7, "config")),
        (VIDEO, "8468766331", (VIDEO, 0, "metadata")),
        (VIDEO, "9568766331", (VIDEO, 0, "config")),
        (AUDIO, "af001210", (AUDIO, 0, "config")),
        (AUDIO, "95006d70346103", (AUDIO, 3, "config")),
        (AUDIO, "946d7034610002", (AUDIO, 0, "metadata")),
    ],
)
def test_header_fills_the_slot_of_its_track(type_id: int, data: str, slot: tuple[Any, ...]) -> None:
    assert header_slots(type_id, bytes.fromhex(data)) == (slot,)


@pytest.mark.parametrize(("type_id", "data"), [(VIDEO, "96026876633105"), (AUDIO, "95026d70346105")])
def test_end_of_a_track_empties_its_slots(type_id: int, data: str) -> None:
    payload = bytes.fromhex(data)
    assert ends_slots(type_id, payload) == (Slot(type_id, 5, "config"), Slot(type_id, 5, "metadata"))


@pytest.mark.parametrize(
    ("type_id", "data"), [(VIDEO, "1702000000"), (VIDEO, "1701000000"), (AUDIO, "af01"), (AUDIO, "")]
)
def test_nothing_else_empties_a_slot(type_id: int, data: str) -> None:
    assert ends_slots(type_id, bytes.fromhex(data)) == ()


@pytest.mark.parametrize(
    ("data", "flag"),
    [
        ("27", 0),
        ("2701000000", 0),
        ("2701000000 00000002 6588", KEYFRAME),
        ("2701000000 00000002 4188", 0),
        ("2700000000 00000002 6588", 0),
        ("2201000000 00000002 6588", 0),
        ("a168766331 000000 00000002 2601", KEYFRAME),
        ("a368766331 00000002 2601", KEYFRAME),
        ("a368766331 00000002 0201", 0),
        ("a603 68766331 01 00000002 2601", TRACK_KEYFRAME),
        ("a068766331 00000002 2601", 0),
        ("a3687663", 0),
        ("d100687663310000000226", 0),
    ],
)
def test_keyframe_can_be_looked_for_whatever_the_type(data: str, flag: int) -> None:
    assert keyframe_inside(bytes.fromhex(data)) == flag


FIRST_BYTES = st.integers(0, 255)


@given(FIRST_BYTES, st.integers(0, 255), st.binary(max_size=30))
def test_video_flags_agree_with_the_parser(first: int, second: int, rest: bytes) -> None:
    payload = bytes([first, second]) + rest
    flags = classify_video(payload)
    assert flags & ~ANY_FLAG == 0
    try:
        info = parse_video(payload)
    except RemoteProtocolError:
        assert flags == FRAME
        return
    if info.command is not None:  # whatever its packet type
        assert flags == 0
        return
    keyframes = {track.track_id for track in info.tracks if track.is_keyframe}
    assert bool(flags & KEYFRAME) is (0 in keyframes)
    if first & 0x70 or len(info.tracks) == 1:  # of several tracks without a type one is looked at
        assert bool(flags & TRACK_KEYFRAME) is (bool(keyframes) and 0 not in keyframes)
    is_config = any(track.is_sequence_header for track in info.tracks)
    assert bool(flags & HEADER) is (is_config or info.packet_type == "Metadata")
    assert bool(flags & END) is (info.packet_type in ("SequenceEnd", "end_of_sequence"))


@given(FIRST_BYTES, st.integers(0, 255), st.binary(max_size=30))
def test_audio_flags_agree_with_the_parser(first: int, second: int, rest: bytes) -> None:
    payload = bytes([first, second]) + rest
    flags = classify_audio(payload)
    try:
        info = parse_audio(payload)
    except RemoteProtocolError:
        assert flags == FRAME
        return
    is_config = any(track.is_sequence_header for track in info.tracks)
    assert bool(flags & HEADER) is (is_config or info.packet_type == "MultichannelConfig")
    assert bool(flags & END) is (info.packet_type == "SequenceEnd")


@given(st.binary(max_size=40))
def test_nothing_raises_whatever_the_bytes(payload: bytes) -> None:
    assert 0 <= track_id(payload) <= 255
    for kind, classify in ((VIDEO, classify_video), (AUDIO, classify_audio)):
        if payload:
            assert keyframe_inside(payload) in (0, KEYFRAME, TRACK_KEYFRAME)
        flags = classify(payload)
        assert bool(header_slots(kind, payload)) is bool(flags & HEADER)
        if ends_slots(kind, payload):
            assert flags & END


def test_every_message_of_up_to_two_bytes_is_classified() -> None:
    short = [b"", *(bytes([a]) for a in range(256)), *(bytes([a, b]) for a in range(256) for b in range(256))]
    for payload in short:
        if len(payload) > 1 and payload[0] >> 4 in (10, 13) and payload[1] == 0:
            assert classify_audio(payload) == HEADER
        else:
            assert classify_audio(payload) in (FRAME, EMPTY)
        assert not classify_video(payload) & HEADER
