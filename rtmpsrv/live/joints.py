"""Where players may start in one publication, and whether their video waits: by what its keyframes do.

Marks the log for it. What a message is was decided before; who plays is the channel's affair. Never blocks.
"""

from __future__ import annotations

from typing import Any, Final

from .log import Log
from .player import PlayerState
from .segment import KEYFRAME, VIDEO

AUDIO_JOINT_S: Final = 2.0  # audio has no keyframes: joiners start at most this far back
# The camera is off, and this is a stream of audio, when that came alone for a second more than this.
VIDEO_PAUSE_S: Final = 2.0
SOUND_ALONE_S: Final = 1.0
# No keyframe for so long is an endless GOP (intra refresh), or none that is wanted: joiners start anywhere.
ENDLESS_GOP_S: Final = 20.0
FIRST_KEYFRAME_S: Final = 3.0  # likewise where there never was one: encoders that begin with none have none

_FRAMES: Final = (VIDEO, VIDEO | KEYFRAME)
_KEYFRAMES: Final = (VIDEO | KEYFRAME,)


class Joints:
    """What was seen of one publication. Changed by its channel only."""

    __slots__ = ("_alone_since", "_had_keyframe", "_has_video", "_keep_stream", "_keyframe_at", "joint_at")

    def __init__(self, now: float, keep_stream: bool) -> None:
        self._keep_stream = keep_stream  # until a player was sent all of it and cleared it
        self._has_video = False
        self._alone_since = 0.0  # audio comes without video
        self._had_keyframe = False
        self._keyframe_at = now  # the last one, or since when one is waited for
        self.joint_at = now  # since when the joint of the log is one

    # --- what the publisher sends -----------------------------------------------------------------

    def keyframe(self, log: Log, now: float) -> None:
        """Take note that the message that comes next is a keyframe."""
        log.mark_keyframe(self._keep_stream)
        self._had_keyframe = True
        self._keyframe_at = self.joint_at = now

    def beginning(self, log: Log, now: float) -> None:
        """Take note that nothing of what came before is media that fits what comes next."""
        log.mark_joint(False)
        self.joint_at = now

    def video_begins(self, now: float) -> None:
        """Take note of the first video, or the first after long: from now on a keyframe can be waited for."""
        self._has_video = True
        self._keyframe_at = now

    def sound_alone(self, log: Log, video_at: float, now: float) -> None:
        """Take note that audio goes on while video, last seen at a time, has paused or never came."""
        if not self._has_video:
            log.mark_keyframe(self._keep_stream)
        else:
            if self._alone_since <= video_at:  # after a stall of all it would be audio that comes first
                self._alone_since = now
            if now - self._alone_since < SOUND_ALONE_S:
                return
            log.mark_joint(self._keep_stream)  # no place for laggards, who have video of the GOP before them
        self.joint_at = now

    def check(self, log: Log, now: float) -> None:
        """Keep nothing for joiners from a time when nobody starts."""
        if log.joint is not None and now - self.joint_at > ENDLESS_GOP_S:
            log.mark_joint(self._keep_stream)

    # --- to another process -----------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Return all of it, as `adopt` takes it."""
        return {
            "keep_stream": self._keep_stream,
            "has_video": self._has_video,
            "alone_since": self._alone_since,
            "had_keyframe": self._had_keyframe,
            "keyframe_at": self._keyframe_at,
            "joint_at": self.joint_at,
        }

    def adopt(self, value: dict[str, Any]) -> None:
        """Know what another process has seen."""
        self._keep_stream = value["keep_stream"]
        self._has_video = value["has_video"]
        self._alone_since = value["alone_since"]
        self._had_keyframe = value["had_keyframe"]
        self._keyframe_at = value["keyframe_at"]
        self.joint_at = value["joint_at"]

    # --- who plays --------------------------------------------------------------------------------

    def waits_in_vain(self, now: float) -> bool:
        """Tell whether players that wait for a keyframe have waited long enough."""
        return self._has_video and not self.keyframe_to_come(now)

    def keyframe_to_come(self, now: float) -> bool:
        """Tell whether it is worth waiting for a keyframe before sending video."""
        patience_s = ENDLESS_GOP_S if self._had_keyframe else FIRST_KEYFRAME_S
        return self._has_video and now - self._keyframe_at < patience_s

    def place(self, log: Log, state: PlayerState, now: float) -> int:
        """Return where a player starts that asked for a kind of cache."""
        if log.joint is None or state.cache == "no":
            return log.flushed
        if state.cache == "clear":
            self._keep_stream = False
            return log.first
        return self.joint(log, now)

    def joint(self, log: Log, now: float) -> int:
        """Return where joiners start in a log, which may be made from that of the publication."""
        joint = log.joint
        return joint if joint is not None and now - self.joint_at <= ENDLESS_GOP_S else log.flushed

    def waits(self, log: Log, place: int, has_frames: bool, now: float) -> bool:
        """Tell whether a player that starts at a place in the log has to wait for a keyframe there.

        Not at the very beginning, before all frames: whoever is there gets whatever comes.
        """
        first = log.find(place, _FRAMES)
        if first is None:
            return has_frames and self.keyframe_to_come(now)
        if first[0] & KEYFRAME:
            return False
        return self.keyframe_to_come(now) or log.find(place, _KEYFRAMES) is not None
