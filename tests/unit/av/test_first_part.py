from __future__ import annotations

import io

import av
import pytest

from rtmpsrv.av.first_part import MAX_PICTURE_WIDTH, first_part, picture
from rtmpsrv.errors import MediaRefused
from rtmpsrv.media.flv import TagReader
from rtmpsrv.media.mp4_init import is_init
from rtmpsrv.media.mp4_source import Asked, Mp4Source, Question
from rtmpsrv.protocol.messages import AUDIO, VIDEO
from tests.unit.media.test_tracks import AAC_BODY, AVC_BODY


def question_of(width: int = 64, height: int = 36) -> Question:
    """What is asked of a stream of H.264."""
    file = io.BytesIO()
    with av.open(file, "w", format="flv") as target:
        stream = target.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for packet in (*stream.encode(av.VideoFrame(width, height, "yuv420p")), *stream.encode(None)):
            target.mux(packet)
    source = Mp4Source()
    for tag in TagReader().feed(file.getvalue()):
        source.take(tag.type_id, tag.timestamp, tag.payload, 0.0)
    assert source.ready(1.0)
    return source.question


def test_a_first_part_has_the_tracks_in_their_order() -> None:
    (video,) = question_of().tracks
    init = first_part(Question((video, Asked(AUDIO, b"mp4a", AAC_BODY, b"\x21\x10\x04"))))

    assert is_init(init)
    with av.open(io.BytesIO(init)) as file:
        assert [stream.type for stream in file.streams] == ["video", "audio"]
        assert file.streams.audio[0].rate == 48000  # though no decoder understands its frame
        assert [stream.time_base.denominator for stream in file.streams if stream.time_base] == [1000, 1000]


@pytest.mark.parametrize(
    "asked",
    [
        Asked(VIDEO, b"avc1", b"", b"frame"),
        Asked(VIDEO, b"avc1", AVC_BODY[:9], b"frame"),
        Asked(VIDEO, b"hvc1", bytes(23), bytes(100)),
        Asked(VIDEO, b"av01", b"\x81\0\0\0", b"\xff" * 50),
        Asked(VIDEO, b"vp09", b"", b"\x82"),
        Asked(AUDIO, b"mp4a", b"\xff\xff", b"\xff"),
        Asked(AUDIO, b"fLaC", b"x", b"y"),
        Asked(AUDIO, b"ac-3", b"", b"no sync"),
        Asked(AUDIO, b"none", b"", b"x"),
    ],
)
def test_what_is_broken_is_refused_with_a_sentence_or_made(asked: Asked) -> None:
    try:
        assert is_init(first_part(Question((asked,))))
    except MediaRefused as exc:
        assert str(exc).startswith("this stream cannot be had as MP4: ")  # noqa: PT017


def test_a_frame_that_is_larger_than_a_tag_is_refused() -> None:
    with pytest.raises(MediaRefused, match="FLV tag"):
        first_part(Question((Asked(AUDIO, b".mp3", b"", bytes(1 << 24)),)))


@pytest.mark.parametrize(("size", "shown"), [((64, 36), (64, 36)), ((1920, 1080), (MAX_PICTURE_WIDTH, 720))])
def test_a_picture_is_a_jpeg_of_the_keyframe(size: tuple[int, int], shown: tuple[int, int]) -> None:
    jpeg = picture(question_of(*size))

    assert jpeg.startswith(b"\xff\xd8\xff")
    with av.open(io.BytesIO(jpeg), format="image2pipe", options={"f": "mjpeg"}) as file:
        assert (file.streams.video[0].width, file.streams.video[0].height) == shown


@pytest.mark.parametrize(
    "tracks",
    [
        (Asked(AUDIO, b"mp4a", AAC_BODY, b"\x21\x10\x04"),),
        (Asked(VIDEO, b"avc1", AVC_BODY, b"\0\0\0\1\x65"),),
    ],
)
def test_where_there_is_no_picture(tracks: tuple[Asked, ...]) -> None:
    with pytest.raises(MediaRefused, match="no picture"):
        picture(Question(tracks))
