"""The way out of a publication as FLV: a log of tags, made from that of RTMP while somebody wants it.

Players of it are an audience like any other. What is special is what an FLV stream cannot say: that another
codec or another kind of media comes than was announced. Then it ends, and whoever plays it comes again.
Never blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ..media.one_track import codec_of, default_track, only_track, only_tracks
from ..protocol import messages
from .budget import Budget
from .clock import Clock
from .contents import Contents
from .framing import FlvFraming, Framing
from .header_history import Headers
from .limits import LiveLimits
from .lobby import BOTH, Lobby
from .log import Log
from .output import Output
from .owner import Owner
from .places import Places
from .player import Player
from .rebase import Rebase
from .segment import AUDIO, DATA, HEADER, VIDEO, frame_kinds
from .tap import Feed

IDLE_S: Final = 5.0  # without players, after which the log is let go of

_TYPES: Final = {AUDIO: messages.AUDIO, VIDEO: messages.VIDEO, DATA: messages.DATA_AMF0}

Entry = tuple[int, int, int, int, float]  # position, size, flags, timestamp, arrival


class Stretch:
    """Part of a publication in one configuration: an output, and where its messages are in the source."""

    __slots__ = ("output", "places")

    def __init__(self, output: Output, places: Places) -> None:
        self.output = output
        self.places = places


class FlvWay:
    """All FLV players of one publication. Owner of their outputs; changed by the source's output only."""

    __slots__ = (
        "_ahead", "_audio_track", "_budget", "_clock", "_codecs", "_framing", "_idle_since", "_limits",
        "_lobby", "_owner", "_publication", "_rebase", "_source", "_source_framing", "_stretches",
        "_video_track", "drop_ended",
    )  # fmt: skip

    def __init__(
        self, source: Output, begin: int, owner: Owner, clock: Clock, budget: Budget, limits: LiveLimits
    ) -> None:
        """Begin with what lies in the source from a boundary on; all of it was flushed."""
        log = source.log
        self.drop_ended = owner.drop_ended  # outputs call it later, and must not keep this one until then
        self._owner, self._clock, self._budget, self._limits = owner, clock, budget, limits
        self._source: Log = log
        self._source_framing: Framing = source.framing
        self._publication = source.publication
        self._framing = FlvFraming()
        self._codecs: dict[int, str] = {}  # by type id
        self._ahead: dict[Player, int] = {}  # that were sent more, elsewhere, than is here yet
        self._idle_since: float | None = None
        self._audio_track = self._video_track = 0
        # An ended publication is nobody's contents any more; and nobody joins it.
        contents = owner.contents if not log.closed else None
        origin = contents.origin if contents is not None else None
        self._rebase = Rebase(
            origin if origin is not None else log.time_from(begin, frame_kinds(BOTH, False))
        )
        frames = contents.frame_kinds_of(log) if contents is not None else BOTH
        self._lobby = Lobby(clock, frames)
        self._stretches = [self._stretch(begin, log.headers.at(begin))]  # the last one goes on
        for type_id, payload in self._current.output.log.headers.at(0):
            self._is_new_codec(type_id, payload)
        self._derive(begin, log.read(begin, log.end))
        self._current.output.flush()
        if log.closed:
            self._current.output.end()

    # --- the source -------------------------------------------------------------------------------

    def flushed(self, begin: int, unsent: list[bytes]) -> None:
        """Add and send what was flushed from a position on."""
        self._derive(begin, unsent[0] if len(unsent) == 1 else b"".join(unsent))
        self._current.output.flush()
        self._trim()
        if self._ahead:
            ahead, self._ahead = self._ahead, {}
            for player, source in ahead.items():
                self._go_on(player, source)
                player.sink.kick()
        if self._lobby.waiting:
            self._open_lobby()

    def end(self) -> None:
        """The publication is over: those who have read all are told so, the rest later."""
        self._lobby.close()  # they wait for the next publication
        self._close(self._current.output)
        for player in self._ahead:
            player.end()
        self._ahead.clear()

    def withdraw(self) -> None:
        """Do nothing any more, and hold nothing."""
        self._lobby.close()
        for stretch in self._stretches:
            stretch.output.withdraw()
        self._stretches = []  # they know this one, and would keep each other
        self._ahead.clear()

    @property
    def later_s(self) -> float:
        """What the last round of sends took behind its first go."""
        return self._current.output.rounds.later_s

    @property
    def kept_bytes(self) -> int:
        """How much is kept for joiners."""
        log = self._current.output.log
        return log.end - log.first

    def shed(self) -> None:
        """Keep nothing for joiners: the process holds too much."""
        log = self._current.output.log
        log.forget()
        log.cut()
        self._trim()

    def skip_laggards(self) -> None:
        """Let laggards leave out all they can."""
        for stretch in list(self._stretches):
            stretch.output.skip_laggards()

    def see_to_laggards(self, waiting_is_over: bool, now: float) -> bool:
        """See to players whose sockets stay full; tell whether there has been no player for a while."""
        self._current.output.see_to_laggards(waiting_is_over)
        self._trim()
        self._prune()
        if self.players or self._lobby.waiting:
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = now
        return self._idle_since is not None and now - self._idle_since >= IDLE_S

    @property
    def players(self) -> int:
        """How many have been started."""
        return sum([len(stretch.output.audience) for stretch in self._stretches]) + len(self._ahead)

    # --- players ----------------------------------------------------------------------------------

    def welcome(self, player: Player) -> None:
        """Start a player, or as soon as it is known what comes."""
        contents, output, state = self._owner.contents, self._current.output, player.state
        log, joints, now = output.log, contents.joints, self._clock.now()
        kinds = self._lobby.admit(player, contents, log.headers.at(log.end), self._open_lobby)
        if kinds is None:
            return
        place = log.flushed if state.cache == "no" else joints.joint(log, now)
        player.await_keyframe(joints.waits(log, place, contents.has_frames, now))
        time = log.time_from(place, frame_kinds(state.mask, state.needs_keyframe))
        player.announce(kinds)
        metadata, headers = contents.preamble.stored(), log.headers.at(place)
        has_audio, has_video = bool(kinds & AUDIO), bool(kinds & VIDEO)
        player.sink.reply(self._framing.start(metadata, headers, time, has_audio, has_video))
        output.start(player, place)
        player.sink.kick()

    def resume(self, player: Player) -> None:
        """Let a player go on that was frozen: its state says where, in the source."""
        self._go_on(player, player.state.position)

    def forget(self, player: Player) -> None:
        """Forget a player that has not been started, or does not go on yet."""
        self._lobby.forget(player)
        self._ahead.pop(player, None)

    # --- as the owner of its outputs --------------------------------------------------------------

    @property
    def contents(self) -> Contents:
        """What is known of the present publication."""
        return self._owner.contents

    def finished(self, output: Output, player: Player) -> None:
        """A player has read all."""
        player.end()
        self._prune()

    def jumped(self, player: Player, begin: int, end: int) -> None:
        """A player left something out."""
        self._owner.jumped(player, begin, end)

    def keyframe_to_come(self) -> bool:
        """Whether it is worth waiting for a keyframe."""
        return self._owner.keyframe_to_come()

    # --- private ----------------------------------------------------------------------------------

    @property
    def _current(self) -> Stretch:
        return self._stretches[-1]

    def _derive(self, begin: int, data: bytes) -> None:
        """Add the messages from a boundary of the source on, of which the bytes are given."""
        source, framing, tags = self._source, self._source_framing, self._framing
        changes = dict(source.headers.since(begin))
        joint, keyframe = source.joint, source.keyframe
        stretch = self._current
        log = stretch.output.log
        for position, size, flags, timestamp, arrival in _entries(source, begin):
            if position in changes:
                log.headers.note(log.end, self._reduced(changes[position]))
            if position == keyframe:
                log.mark_keyframe(False)
            elif position == joint:
                log.mark_joint(False)
            payload = framing.payload(data[position - begin : position - begin + size])
            kind = flags & (BOTH | DATA)
            type_id = _TYPES[kind]
            time: int | None = 0  # of data: at any other FFmpeg takes it for subtitles
            if kind != DATA:
                track = self._audio_track if kind == AUDIO else self._video_track
                reduced = only_track(type_id, payload, track)
                if not reduced:  # of another track, or empty
                    continue
                payload = reduced
                time = self._rebase.time(timestamp)
            if time is None:  # no more can be told
                self._rebase, time = Rebase(timestamp), 0
                self._begin_anew(position, log.headers.at(log.end))
            if flags & HEADER:
                self._lobby.note_header(kind, arrival)
                if self._is_new_codec(type_id, payload):
                    self._begin_anew(position, changes.get(position + size, ()))
            elif kind != DATA and self._lobby.note_frame(kind):
                self._end_unaware(kind)
            stretch = self._current
            log = stretch.output.log
            stretch.places.note(log.end, position)
            counted = None if flags & HEADER else len(payload)
            log.append(tags.frame(type_id, time, payload), flags, time, arrival, counted)
        stretch.places.reach(source.end)
        if source.end in changes:
            log.headers.note(log.end, self._reduced(changes[source.end]))
        if joint is None:
            log.forget()
        elif keyframe == source.end:
            log.mark_keyframe(False)
        elif joint == source.end:
            log.mark_joint(False)

    def _reduced(self, headers: Headers) -> Headers:
        """Return headers with the default tracks only; which these are they tell."""
        self._audio_track = default_track(messages.AUDIO, headers)
        self._video_track = default_track(messages.VIDEO, headers)
        return only_tracks(headers, self._audio_track, self._video_track)

    def _is_new_codec(self, type_id: int, payload: bytes) -> bool:
        """Take note of a header; tell whether it changes the codec."""
        codec = codec_of(type_id, payload)
        before = self._codecs.get(type_id, codec)
        if codec:
            self._codecs[type_id] = codec
        return codec not in ("", before)

    def _end_unaware(self, kind: int) -> None:
        """End players that were not told of a kind of media that comes now."""
        output = self._current.output
        for player in list(output.audience):
            if player.state.mask & kind and not player.state.announced & kind:
                output.leave(player)
                player.end()

    def _begin_anew(self, position: int, headers: Headers) -> None:
        """End all players, and begin another stream at a place in the source."""
        stretch = self._current
        stretch.places.reach(position)
        self._close(stretch.output)
        self._stretches.append(self._stretch(position, headers))
        self._prune()

    def _prune(self) -> None:
        """Let go of what is over and nobody reads any more."""
        ended = [one for one in self._stretches[:-1] if one.output.is_needed]
        self._stretches = [*ended, *self._stretches[-1:]]
        self.drop_ended()

    def _close(self, output: Output) -> None:
        """Nothing more comes: end those who have read all."""
        output.end()
        for player in list(output.audience):
            if not player.has_cursor:
                output.leave(player)
                player.end()

    def _stretch(self, begin: int, headers: Headers) -> Stretch:
        places, feed = Places(begin), Feed()
        output = Output(
            self._publication, self._framing, self._clock, self._budget, self._limits, self, feed, places
        )
        output.log.headers.note(0, self._reduced(headers))
        return Stretch(output, places)

    def _open_lobby(self) -> None:
        """Start those who wait, if it is known by now what comes."""
        for player in self._lobby.take_waiting():
            self.welcome(player)

    def _go_on(self, player: Player, source: int) -> None:
        """Let a player go on at a place of the source; where that is not here any more, at a keyframe."""
        if source > self._current.places.end and not self._source.closed:
            self._ahead[player] = source
            return
        for stretch in self._stretches:
            stretch.places.forget_before(stretch.output.log.begin)
        found = [stretch for stretch in self._stretches if stretch.places.has(source)]
        if found:
            output = found[-1].output
            position = found[-1].places.position_of(source)
        else:
            output = self._current.output
            position = output.log.begin
            player.await_keyframe(self.keyframe_to_come())
        player.place(position if position is not None else output.log.end)
        output.resume(player)

    def _trim(self) -> None:
        stretch = self._current
        stretch.output.trim()
        stretch.places.forget_before(stretch.output.log.begin)


def _entries(log: Log, begin: int) -> Iterator[Entry]:
    """Yield what the index has of each message from a boundary to the end."""
    for segment, offset, _ in log.parts(begin, log.end):
        for number in range(segment.message_at(offset), len(segment.offsets)):
            start = segment.offsets[number]
            size = segment.offset_of(number + 1) - start
            flags, time, arrival = segment.flags[number], segment.timestamps[number], segment.arrivals[number]
            yield segment.base + start, size, flags, time, arrival
