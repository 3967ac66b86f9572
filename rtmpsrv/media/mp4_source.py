"""What one configuration of a publication is as MP4: its tracks, and their frames in a time that only rises.

For live MP4, HLS and recordings alike. Pure: gets messages, asks for a first part (`question`), gives frames.
A change of the configuration ends it; whoever reads begins another one then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from rtmpsrv.errors import MediaRefused, RemoteProtocolError
from rtmpsrv.media.codec_strings import can_be_in_mp4, codec_string, normal_config
from rtmpsrv.media.coded import Coded, Config, configs_of, frames_of
from rtmpsrv.media.mp4_times import Times
from rtmpsrv.media.tracks import frame_tracks
from rtmpsrv.protocol.messages import AUDIO, VIDEO

SETTLE_S: Final = 1.0  # after the first message: what has no frame by then is not waited for
MAX_WAITING_BYTES: Final = 32 << 20  # frames that nobody has taken; then it goes on at a keyframe
MAX_WAITING_FRAMES: Final = 5_000  # likewise; all that wait are taken at one go
FRAME_BYTES: Final = 256  # what one costs beside its bytes
MAX_TRACKS: Final = 8  # of each kind that are looked at; real streams have up to 6
MAX_FRAME_BYTES: Final = 8 << 20  # of what a first part or a picture is made from
_TEMPORAL_DELIMITER: Final = b"\x12\0"  # of AV1; not wanted in MP4
_NAMES: Final = {VIDEO: "video", AUDIO: "audio"}
ALL: Final = -1  # tracks
MAX_NAMED: Final = 3  # codecs that are named as such that cannot be had


class Selection(NamedTuple):
    """Which tracks are wanted: the default video track or none; the how manieth of audio, 0: none, or ALL."""

    video: bool = True
    audio: int = 1


EVERYTHING: Final = Selection()


class Asked(NamedTuple):
    """One track of a question."""

    kind: int
    fourcc: bytes
    config: bytes
    frame: bytes  # its first


class Question(NamedTuple):
    """From what a muxer can write the first part; in plain types, for another process."""

    tracks: tuple[Asked, ...]


class TrackFacts(NamedTuple):
    """A track of the MP4."""

    number: int  # from 1
    kind: int
    track_id: int
    fourcc: bytes
    config: bytes


class Timed(NamedTuple):
    """A frame with its place in time."""

    number: int  # of its track
    time: int  # ms, when it is decoded; rises with each frame of a track
    offset: int  # ms, never negative
    is_keyframe: bool
    data: bytes


class Mp4Source:
    """One configuration; changed by one reader only. Never blocks."""

    def __init__(self, headers: Iterable[tuple[int, bytes]] = (), selection: Selection = EVERYTHING) -> None:
        """Begin with the headers in force, (type id, payload)."""
        self.tracks: tuple[TrackFacts, ...] = ()  # known once it is ready
        self.lost_frames = 0  # that nobody took in time
        self._selection = selection
        self._configs: dict[tuple[int, int], Config] = {}
        self._first: dict[tuple[int, int], Coded] = {}  # of each track: a keyframe
        self._seen: set[tuple[int, int]] = set()  # tracks with frames, keyframes or not
        self._others: dict[str, None] = {}  # codecs with frames that cannot be in MP4
        self._settled = False
        self._began: float | None = None  # when the first message arrived, and the last one
        self._arrived = 0.0
        self._times = Times()
        self._waiting: list[tuple[int, Coded]] = []
        self._waiting_bytes = 0
        self._numbers: dict[tuple[int, int], int] = {}
        self._last: dict[int, int] = {}  # time of a track's last frame
        self._starts_with = VIDEO  # kind of the keyframe that everything waits for; 0: for none
        for type_id, payload in headers:
            for config in configs_of(type_id, payload):
                self._configs[config.kind, config.track_id] = config

    def take(self, type_id: int, timestamp: int, payload: bytes, arrival: float) -> bool:
        """Take a message in; False: the configuration was over before it, and another one begins with it."""
        if type_id not in _NAMES:
            return True
        for config in configs_of(type_id, payload):
            if not self._take_config(config):
                return False
        frames = [frame for frame in frames_of(type_id, payload) if self._wants(frame.kind)]
        if not all(self._fits(frame) for frame in frames):
            return False
        time = self._times.place(timestamp)
        if self._began is None:
            self._began = arrival
        self._arrived = arrival
        for frame in frames:
            if can_be_in_mp4(frame.fourcc):
                self._take_frame(time, frame)
            elif not self._settled and len(self._others) < MAX_NAMED:
                self._others.update(
                    {one.codec or "an unknown codec": None for one in frame_tracks(type_id, payload)}
                )
        return True

    def ready(self, now: float = 0.0) -> bool:
        """Tell whether it is known what it consists of, or that it cannot be; once True it stays so.

        `now` is for who has read all that there is. Of what is further back only arrivals tell how much was
        seen: what has come since may be the track that is missing.
        """
        newest = max(now, self._arrived)
        if not self._settled and self._began is not None and self._is_known(newest - self._began >= SETTLE_S):
            self._settle()
        return self._settled

    @property
    def question(self) -> Question:
        """What the first part is made from, once it is ready. Raises MediaRefused where there can be none."""
        if not self.tracks:
            raise MediaRefused(self._why_not())
        if any(len(frame.data) > MAX_FRAME_BYTES for frame in self._first.values()):
            raise MediaRefused(f"its first frame has more than {MAX_FRAME_BYTES >> 20} MB")
        return Question(
            tuple(
                [
                    Asked(one.kind, one.fourcc, one.config, self._first[one.kind, one.track_id].data)
                    for one in self.tracks
                ]
            )
        )

    @property
    def content_type(self) -> str:
        """The type with its codecs, as browsers want it. Raises MediaRefused."""
        try:
            codecs = ",".join([codec_string(one.fourcc, one.config) for one in self.tracks])
        except RemoteProtocolError as exc:
            raise MediaRefused(f"the stream's header is broken: {exc}") from exc
        kind = "video" if self.has_video else "audio"
        return f'{kind}/mp4; codecs="{codecs}"'

    @property
    def has_video(self) -> bool:
        """Whether one of its tracks is video, once it is ready."""
        return any(one.kind == VIDEO for one in self.tracks)

    @property
    def waiting_bytes(self) -> int:
        """What nobody has taken yet, and what a first part is made from."""
        first = sum(len(frame.data) for frame in self._first.values())
        return self._waiting_bytes + FRAME_BYTES * len(self._waiting) + first

    def has_begun(self) -> None:
        """Let go of what the first part is made from: there is one."""
        self._first = {key: frame._replace(data=b"") for key, frame in self._first.items()}

    def samples(self) -> list[Timed]:
        """Return the frames since the last time, from a keyframe of video on; none before it is ready."""
        if not self._settled:
            return []
        waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        found: list[Timed] = []
        for time, frame in waiting:
            number = self._numbers.get((frame.kind, frame.track_id))
            if number is None:
                continue
            if self._starts_with:
                if frame.kind != self._starts_with or not frame.is_keyframe:
                    continue
                self._starts_with = 0
            # A frame that repeats a time or goes back is decoded behind the last, and shown when it should.
            decoded = max(time, self._last.get(number, -1) + 1)
            self._last[number] = decoded
            offset = max(0, time + frame.offset - decoded) if frame.kind == VIDEO else 0
            found.append(Timed(number, decoded, offset, frame.is_keyframe, frame.data))
        return found

    def go_on(self, headers: Iterable[tuple[int, bytes]]) -> bool:
        """Go on at a keyframe after something was left out; False: another configuration begins there."""
        configs = [config for type_id, payload in headers for config in configs_of(type_id, payload)]
        there = {(config.kind, config.track_id) for config in configs}
        if any(key in self._configs and key not in there for key in self._numbers):
            return False
        self._starts_with = self._leading_kind()
        return all(self._take_config(config) for config in configs)

    # --- to another process -----------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any] | None:
        """Return plain values, JSON as they are, with which `resumed` goes on behind what was taken out.

        None before the first frame of all was.
        """
        if not self.tracks or self._waiting or self._starts_with:
            return None
        first = [[kind, number, one.fourcc.hex()] for (kind, number), one in self._first.items()]
        tracks = [[*one[:3], one.fourcc.hex(), one.config.hex()] for one in self.tracks]
        last = [[number, time] for number, time in self._last.items()]
        return {"tracks": tracks, "first": first, "last": last, "times": self._times.snapshot()}

    @staticmethod
    def resumed(
        value: dict[str, Any], headers: Iterable[tuple[int, bytes]], selection: Selection = EVERYTHING
    ) -> Mp4Source:
        """Return one that goes on, with the headers in force there.

        Raises KeyError, TypeError, ValueError for what is none.
        """
        found = Mp4Source(headers, selection)
        for kind, number, fourcc in value["first"]:
            key = int(kind), int(number)
            found._first[key] = Coded(*key, bytes.fromhex(fourcc), 0, True, b"")
            found._seen.add(key)
        tracks = [
            TrackFacts(int(one), int(kind), int(number), bytes.fromhex(fourcc), bytes.fromhex(config))
            for one, kind, number, fourcc, config in value["tracks"]
        ]
        found.tracks = tuple(tracks)
        found._numbers = {(one.kind, one.track_id): one.number for one in tracks}
        found._last = {int(number): int(time) for number, time in value["last"]}
        found._times.resume(value["times"])
        found._settled, found._began, found._starts_with = True, 0.0, 0
        return found

    # --- private ----------------------------------------------------------------------------------

    def _wants(self, kind: int) -> bool:
        return self._selection.video if kind == VIDEO else bool(self._selection.audio)

    def _take_config(self, config: Config) -> bool:
        key = config.kind, config.track_id
        if key not in self._configs and len(self._configs) >= 2 * MAX_TRACKS:
            return True  # more than is looked at
        matters = key in (self._numbers if self._settled else self._seen)
        if matters and self._configs.get(key) != config:
            return False
        self._configs[key] = config
        return True

    def _fits(self, frame: Coded) -> bool:
        """Tell whether a frame belongs to what is known of its track."""
        key = frame.kind, frame.track_id
        known = self._first.get(key)
        if known is not None:
            return known.fourcc == frame.fourcc
        # Nobody can add a track to an MP4 that is under way: the one that is wanted has come too late.
        if not self._settled or not can_be_in_mp4(frame.fourcc):
            return True
        if frame.kind == AUDIO and self._selection.audio == ALL:
            return len(self._first) >= MAX_TRACKS
        return any(kind == frame.kind for kind, _ in self._numbers)

    def _take_frame(self, time: int, frame: Coded) -> None:
        if frame.fourcc == b"av01" and frame.data.startswith(_TEMPORAL_DELIMITER):
            frame = frame._replace(data=frame.data[len(_TEMPORAL_DELIMITER) :])
            if not frame.data:
                return
        key = frame.kind, frame.track_id
        self._seen.add(key)
        if frame.is_keyframe and not self._settled and len(self._first) < MAX_TRACKS:
            self._first.setdefault(key, frame)
        if frame.kind == VIDEO and not self._settled and key not in self._first:
            return  # nothing can be decoded yet
        if len(self._waiting) >= MAX_WAITING_FRAMES or self._waiting_bytes > MAX_WAITING_BYTES:
            self.lost_frames += len(self._waiting)
            self._waiting, self._waiting_bytes = [], 0
            self._starts_with = self._leading_kind()
        self._waiting.append((time, frame))
        self._waiting_bytes += len(frame.data)

    def _is_known(self, has_waited: bool) -> bool:
        """Tell whether every track that is announced has a frame, or what has none is not waited for."""
        kinds = {kind for kind, _ in self._first}
        if VIDEO not in kinds and any(kind == VIDEO for kind, _ in self._seen):
            return False  # a keyframe comes
        if has_waited:
            return bool(self._first or self._others)
        announced = {key for key in self._configs if self._wants(key[0])}
        wanted = {kind for kind in _NAMES if self._wants(kind)}
        sounds = sum([kind == AUDIO for kind, _ in self._first])
        return wanted <= kinds and announced <= self._first.keys() and sounds >= self._selection.audio

    def _settle(self) -> None:
        video = min([number for kind, number in self._first if kind == VIDEO], default=None)
        sounds = sorted([number for kind, number in self._first if kind == AUDIO])
        chosen: list[tuple[int, int]] = []
        self._settled = True
        if self._selection.audio > max(1, len(sounds)):
            return  # no silent picture for who asked for another sound
        if video is not None:
            chosen.append((VIDEO, video))
        if self._selection.audio == ALL:
            chosen += [(AUDIO, number) for number in sounds]
        elif 0 < self._selection.audio <= len(sounds):
            chosen.append((AUDIO, sounds[self._selection.audio - 1]))
        facts: list[TrackFacts] = []
        for number, key in enumerate(chosen, 1):
            fourcc = self._first[key].fourcc
            config = self._configs.get(key)
            body = config.body if config is not None and config.fourcc == fourcc else b""
            facts.append(TrackFacts(number, *key, fourcc, normal_config(fourcc, body)))
            self._numbers[key] = number
        self.tracks = tuple(facts)
        self._starts_with = self._leading_kind()

    def _leading_kind(self) -> int:
        return VIDEO if self.has_video or not self._settled else AUDIO

    def _why_not(self) -> str:
        if self._first:
            return f"there is no audio track {self._selection.audio}"
        return f"{' and '.join(self._others)} cannot be in MP4" if self._others else "nothing was sent yet"


def take_all(
    messages: Iterable[tuple[int, int, int, bytes, float]],
    source: Mp4Source | None,
    begin: Callable[[], Mp4Source],
) -> None:
    """Take in what was read; `begin` returns a source where there is none or another begins."""
    for type_id, _flags, timestamp, payload, arrival in messages:
        if source is None:
            source = begin()
        if not source.take(type_id, timestamp, payload, arrival):
            source = begin()
            source.take(type_id, timestamp, payload, arrival)
