"""A publisher whose media comes as a test says, by the clock of a stage."""

from __future__ import annotations

from typing import Any

from tests.unit.live.fakes import Message
from tests.unit.live.stage import Stage, sound, video
from tests.unit.media.test_tracks import AAC_BODY, AVC_BODY

AVC = video(b"\x17\0\0\0\0" + AVC_BODY)
AAC = sound(b"\xaf\0" + AAC_BODY)
FRAME_BYTES, KEYFRAME_BYTES, TONE_BYTES = 505, 2005, 102  # of payload


def picture(timestamp: int, is_keyframe: bool = False) -> Message:
    body = bytes(2000 if is_keyframe else 500)
    return video((b"\x17" if is_keyframe else b"\x27") + b"\1\0\0\0" + body, timestamp)


def tone(timestamp: int) -> Message:
    return sound(b"\xaf\1" + bytes(100), timestamp)


class Course:
    """25 pictures and 50 tones a second, a keyframe every two: what is sent, and when."""

    def __init__(
        self, stage: Stage | None = None, *, shift_ms: int = 0, headers: tuple[Message, ...] = (AAC, AVC)
    ) -> None:
        self.stage = stage or Stage(chunk_size=1 << 16)
        self.began_s = self.stage.clock.time_s
        self.time_ms = 0  # of the encoder's clock
        self.shift_ms = shift_ms  # from it to timestamps
        self.gop_ms = 2000
        self.audio_lead_ms = 0
        self.with_audio = self.with_video = True
        self.stage.publish(*headers)

    def run(self, seconds: float, speed: float = 1.0) -> Course:
        """Go on for so long by the encoder's clock, which goes slower or faster than ours."""
        clock = self.stage.clock
        begin_s, begin_ms = clock.time_s, self.time_ms
        end_ms = begin_ms + round(seconds * 1000)
        while self.time_ms < end_ms:
            at = self.time_ms
            clock.advance(begin_s + (at - begin_ms) / 1000 / speed - clock.time_s)
            if self.with_audio and at % 20 == 0:
                self.stage.publish(tone(self._stamp(at + self.audio_lead_ms)))
            if self.with_video and at % 40 == 0:
                self.stage.publish(picture(self._stamp(at), at % self.gop_ms == 0))
            self.time_ms += 20
        clock.advance(begin_s + (end_ms - begin_ms) / 1000 / speed - clock.time_s)
        return self

    def pause(self, seconds: float) -> Course:
        self.stage.clock.advance(seconds)
        self.time_ms += round(seconds * 1000)
        return self

    def vitals(self) -> dict[str, Any]:
        found = self.stage.channel.vitals()
        assert found is not None
        return found

    def _stamp(self, time_ms: int) -> int:
        return (time_ms + self.shift_ms) % (1 << 32)


def tracks_of(vitals: dict[str, Any]) -> dict[tuple[str, int], dict[str, Any]]:
    return {(one["kind"], one["track"]): one for one in vitals["tracks"]}
