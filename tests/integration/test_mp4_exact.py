"""Live MP4 of what ffmpeg makes, through a channel: each packet as it was sent, at its time.

Decoded, too, by those who were there from the start and by those who come later.
"""

from __future__ import annotations

import io
import subprocess
from collections.abc import Sequence
from pathlib import Path

import av
import gevent
import pytest

from rtmpsrv import log
from rtmpsrv.av.first_part import first_part
from rtmpsrv.av.live_mp4 import LiveMp4
from rtmpsrv.av.mp4_viewer import Viewer
from rtmpsrv.media.flv import Tag, TagReader
from rtmpsrv.media.mp4_source import EVERYTHING, Selection
from tests.media_files import SAMPLES, current_ffmpeg
from tests.unit.av.asking import Memory
from tests.unit.live.stage import Stage
from tests.waiting import eventually

_IN = (
    "-f lavfi -i testsrc2=size=320x180:rate=25:duration=2"
    " -f lavfi -i sine=frequency=440:sample_rate={hertz}:duration=2"
)
OPTIONS = {
    **SAMPLES,
    "vp9_mp3": _IN.format(hertz=44100) + " -c:v libvpx-vp9 -deadline realtime -g 25 -c:a libmp3lame",
    "h264_ac3": _IN.format(hertz=48000) + " -c:v libx264 -g 25 -c:a ac3",
    "av1_flac": _IN.format(hertz=44100) + " -c:v libsvtav1 -preset 11 -g 25 -svtav1-params log=0 -c:a flac",
    "hevc_eac3": (
        _IN.format(hertz=48000) + " -c:v libx265 -preset ultrafast"
        " -x265-params keyint=25:open-gop=0:bframes=3:log-level=error -c:a eac3"
    ),
    "vp9_opus": _IN.format(hertz=48000) + " -c:v libvpx-vp9 -deadline realtime -g 25 -c:a libopus",
    "h264_mp3": _IN.format(hertz=44100) + " -c:v libx264 -bf 3 -g 50 -c:a libmp3lame",
}
CODECS = {
    "h264_aac": 'video/mp4; codecs="avc1.64000c,mp4a.40.2"',
    "hevc_opus": 'video/mp4; codecs="hvc1.1.6.L60.90,opus"',
    "av1_aac": 'video/mp4; codecs="av01.0.00M.08,mp4a.40.2"',
    "audio_only": 'audio/mp4; codecs="mp4a.40.2"',
    "video_only": 'video/mp4; codecs="avc1.64000c"',
    "vp9_mp3": 'video/mp4; codecs="vp09.00.11.08,mp3"',
    "h264_ac3": 'video/mp4; codecs="avc1.64000c,ac-3"',
    "av1_flac": 'video/mp4; codecs="av01.0.00M.08,flac"',
    "hevc_eac3": 'video/mp4; codecs="hvc1.1.6.L60.90,ec-3"',
    "vp9_opus": 'video/mp4; codecs="vp09.00.11.08,opus"',
    "h264_mp3": 'video/mp4; codecs="avc1.64000c,mp3"',
}
HAS = {"audio_only": ["audio"], "video_only": ["video"]}
BOTH = ["video", "audio"]
Packets = list[tuple[int, int, bytes]]  # dts, pts, ms; the bytes
_DELIMITER = b"\x12\0"
_CSIDS = {8: 4, 9: 6, 18: 4}


class _Parts:
    """First parts, made in this process."""

    init = staticmethod(first_part)

    def warm(self) -> None:
        """Be ready, as always."""


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """FLV of each kind; made when a test asks."""
    directory: Path = tmp_path_factory.mktemp("clips")

    class Clips(dict[str, bytes]):
        def __missing__(self, name: str) -> bytes:
            path = directory / f"{name}.flv"
            command = [current_ffmpeg(), "-v", "error", "-nostdin", *OPTIONS[name].split(), str(path)]
            subprocess.run(command, check=True, timeout=100, stderr=subprocess.DEVNULL)
            self[name] = path.read_bytes()
            return self[name]

    return Clips()


def packets_of(data: bytes, kind: str, number: int = 0) -> Packets:
    """The packets of one track, with times in ms."""
    with av.open(io.BytesIO(data), "r") as file:
        stream = [one for one in file.streams if one.type == kind][number]
        found = []
        for packet in file.demux(stream):
            if packet.size:
                assert packet.dts is not None
                assert packet.pts is not None
                assert packet.time_base is not None
                scale = packet.time_base * 1000
                content = bytes(packet).removeprefix(_DELIMITER)  # MP4 wants none
                found.append((int(packet.dts * scale), int(packet.pts * scale), content))
        return found


def tags_of(data: bytes) -> list[Tag]:
    return [tag for tag in TagReader().feed(data) if tag.type_id in _CSIDS]


def decoded(data: bytes, kind: str) -> Sequence[object]:
    """Hashes of what is seen or heard, as ffmpeg decodes it."""
    command = [current_ffmpeg(), "-v", "error", "-i", "pipe:0", "-map", f"0:{kind[0]}:0"]
    command += ["-fps_mode", "passthrough", "-f", "framemd5", "-"]
    done = subprocess.run(command, input=data, check=True, timeout=60, stdout=subprocess.PIPE)
    lines = done.stdout.decode().splitlines()
    return [line.rpartition(",")[2].strip() for line in lines if not line.startswith("#")]


def watched(tags: list[Tag], selection: Selection = EVERYTHING, shift_ms: int = 0) -> tuple[str, bytes]:
    """What one sees who is there from the first message on."""
    ((content_type, mp4), _) = seen_by_two(tags, selection, shift_ms)
    return content_type, mp4


def seen_by_two(
    tags: list[Tag], selection: Selection = EVERYTHING, shift_ms: int = 0
) -> list[tuple[str, bytes]]:
    """What is seen by one who is there from the first message on, and by one who comes in the middle."""
    stage = Stage(chunk_size=1 << 16)
    maker = LiveMp4(
        stage.channel.subscribe, selection, _Parts(), Memory(), log.get("AV"), now=stage.clock.now
    )
    viewers = [maker.join()]
    seen: list[list[bytes]] = [[], []]
    for number, tag in enumerate(tags):
        time = (tag.timestamp + shift_ms) & 0xFFFFFFFF
        stage.publish((tag.type_id, time, 1, tag.payload, _CSIDS[tag.type_id]))
        stage.clock.time_s += 0.02
        if number % 7 == 0:
            gevent.sleep(0)
            eventually(lambda: _is_read(stage))  # it rests in between, while the stage's time goes on
            for one, taken in zip(viewers, seen, strict=False):
                taken.append(one.take())
        if number == len(tags) * 5 // 8:
            viewers.append(maker.join())
    stage.channel.stop()
    found = []
    for one, taken in zip(viewers, seen, strict=True):
        rest(one, taken)
        assert one.movie is not None, one.refusal
        found.append((one.movie.content_type, one.movie.init + b"".join(taken)))
    maker.close()
    return found


def _is_read(stage: Stage) -> bool:
    output = stage.channel.output
    assert output is not None, "somebody publishes"
    return all(one.position >= output.log.flushed for one in stage.channel.readings._readings)


def rest(viewer: Viewer, seen: list[bytes]) -> None:
    with gevent.Timeout(20):
        while not viewer.is_over:
            viewer.news.wait()
            viewer.news.clear()
    while data := viewer.take():
        seen.append(data)


@pytest.mark.parametrize("name", CODECS)
def test_each_packet_is_as_it_was_sent_and_when(clips: dict[str, bytes], name: str) -> None:
    clip = clips[name]
    content_type, mp4 = watched(tags_of(clip))

    assert content_type == CODECS[name]
    for kind in HAS.get(name, BOTH):
        sent, got = packets_of(clip, kind), packets_of(mp4, kind)
        early = len(sent) - len(got) if kind == "audio" else 0  # before the first keyframe
        assert 0 <= early <= 3
        sent = sent[early:]
        assert [packet[2] for packet in got] == [packet[2] for packet in sent]
        assert [packet[:2] for packet in got] == [packet[:2] for packet in sent]


@pytest.mark.parametrize("name", CODECS)
def test_what_is_decoded_is_what_was_sent(clips: dict[str, bytes], name: str) -> None:
    clip = clips[name]
    (_, early), (_, late) = seen_by_two(tags_of(clip))

    for kind in HAS.get(name, BOTH):
        for mp4, least in ((early, 0.9), (late, 0.25)):
            # Decoders of sound keep something of all that they have heard: then packets tell.
            is_whole = len(packets_of(mp4, kind)) == len(packets_of(clip, kind))
            find = decoded if kind == "video" or is_whole else packets_of
            sent, got = find(clip, kind), find(mp4, kind)
            assert got == sent[len(sent) - len(got) :]
            assert len(got) >= len(sent) * least
    if name != "audio_only":
        assert len(decoded(early, "video")) == len(decoded(clip, "video"))


def test_the_second_audio_track_and_none(clips: dict[str, bytes]) -> None:
    clip = clips["two_audio_tracks"]
    tags = tags_of(clip)

    _, mp4 = watched(tags, Selection(True, 2))
    assert [one[2] for one in packets_of(mp4, "audio")] == [one[2] for one in packets_of(clip, "audio", 1)]
    content_type, mp4 = watched(tags, Selection(True, 0))
    assert content_type == 'video/mp4; codecs="avc1.64000c"'
    assert packets_of(mp4, "video") == packets_of(clip, "video")


def test_time_goes_on_where_that_of_the_publisher_wraps(clips: dict[str, bytes]) -> None:
    clip = clips["h264_aac"]
    shift = (1 << 32) - 3000
    _, mp4 = watched(tags_of(clip), shift_ms=shift)

    sent, got = packets_of(clip, "video"), packets_of(mp4, "video")
    assert [(dts - shift, pts - shift, data) for dts, pts, data in got] == sent


def test_a_publisher_that_jumps_is_seen_to_its_end(clips: dict[str, bytes]) -> None:
    clip = clips["h264_aac"]
    tags = [
        tag._replace(timestamp=(tag.timestamp + (4_000_000_000 if number > 300 else 0)) & 0xFFFFFFFF)
        for number, tag in enumerate(tags_of(clip))
    ]
    _, mp4 = watched(tags)

    got = packets_of(mp4, "video")
    assert [one[2] for one in got] == [one[2] for one in packets_of(clip, "video")]
    assert got[-1][0] < 7000
