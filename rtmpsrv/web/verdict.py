"""The verdict on a stream: what the rules find, put in order, and held so that it does not flicker.

`findings` is pure. `Verdicts` remembers, for each channel, when it was worse: a stream gets worse at once and
better only after 10 s without it. Never blocks.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal, NamedTuple

from rtmpsrv.monitor.values import ChannelValue

from . import arrival, rules
from .rules import Finding, Rule, Severity, subject

__all__ = ["RULES", "Finding", "Severity", "State", "Verdict", "Verdicts", "findings"]

State = Literal["good", "warning", "bad", "starting", "offline"]

STARTING_S = 10.0  # of age: until then a stream is not judged
STARTING_GOPS = 2  # and not called good before so many were seen
HELD_S = 10.0  # a verdict stays for so long after its cause was seen for the last time
MAX_CHANNELS = 10_000  # of which a verdict is held; the one asked for least recently is forgotten

# The order in which they are told, where they are equally bad.
_RULES: dict[str, Rule] = {
    "gop_long": rules.gop_long,
    "keyframes_missing": rules.keyframes_missing,
    "gop_short": rules.gop_short,
    "gop_uneven": rules.gop_uneven,
    "starved": arrival.starved,
    "silence": arrival.silence,
    "fps_low": arrival.fps_low,
    "bitrate_unsteady": arrival.bitrate_unsteady,
    "bitrate_high": rules.bitrate_high,
    "no_audio": rules.no_audio,
    "audio_announced": rules.audio_announced,
    "no_video": rules.no_video,
    "av_offset": arrival.av_offset,
    "time_jumps": arrival.time_jumps,
    "sample_rate": rules.sample_rate,
    "audio_uneven": arrival.audio_uneven,
    "jitter": arrival.jitter,
    "stalls": arrival.stalls,
    "odd_headers": rules.odd_headers,
    "codec": rules.codec,
}
RULES = tuple(_RULES)

# What follows from something at least as bad is not told beside it: the streamer has one thing to mend.
_FOLLOW_FROM = {
    "silence": frozenset({"keyframes_missing", "starved", "fps_low", "bitrate_unsteady", "jitter", "stalls"}),
    "starved": frozenset({"fps_low", "bitrate_unsteady", "jitter", "stalls"}),
    "jitter": frozenset({"fps_low"}),  # pictures are counted as they arrive
    "time_jumps": frozenset({"audio_uneven"}),
}
_WORST_FIRST: dict[Severity, int] = {"bad": 0, "warning": 1, "info": 2}

GOOD = "Picture and sound arrive as they should."
_STARTING = "The stream has just begun: give it a few seconds."
_OFFLINE = "Nobody publishes here."
_SUSPENDED = "The publisher is gone: the viewers wait for it to come back."


class Verdict(NamedTuple):
    """What is said of a channel: one sentence, and all that was found."""

    state: State
    rule: str  # the id of the rule that the sentence is from; "" for the states that no rule makes
    sentence: str
    findings: tuple[Finding, ...]


class _Held(NamedTuple):
    """The last cause of each severity in one publication, and when it was seen."""

    publication: int
    worst: dict[Severity, tuple[float, Finding]]


def findings(channel: ChannelValue) -> list[Finding]:
    """Return what is to be said about a channel, the worst first; nothing of one without media."""
    vitals = channel["vitals"]
    if vitals is None or not channel["live"] or channel["suspended"]:
        return []
    stream = subject(channel, vitals)
    found = [finding for rule in _RULES.values() if (finding := rule(stream)) is not None]
    causes = [one for one in found if one.rule in _FOLLOW_FROM]
    told = [one for one in found if not any(_follows(one, cause) for cause in causes)]
    return sorted(told, key=lambda finding: _WORST_FIRST[finding.severity])  # stable: the order of the table


def _follows(one: Finding, cause: Finding) -> bool:
    follows = one.rule in _FOLLOW_FROM[cause.rule]
    return follows and _WORST_FIRST[cause.severity] <= _WORST_FIRST[one.severity]


class Verdicts:
    """Judges channels as they are asked for, and remembers those that were bad a moment ago."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, _Held] = OrderedDict()

    def judge(self, channel: ChannelValue, now: float) -> Verdict:
        """Return the verdict on a channel; `now` is monotonic."""
        name, vitals = channel["name"], channel["vitals"]
        if vitals is None or not channel["live"] or channel["suspended"]:
            self._held.pop(name, None)
            return Verdict("offline", "", _SUSPENDED if channel["suspended"] else _OFFLINE, ())
        found = findings(channel)
        if vitals["age_s"] < STARTING_S:
            self._held.pop(name, None)
            return Verdict("starting", "", _STARTING, tuple(found))
        worst = self._worst(channel, found, now)
        if worst is not None:
            beside = tuple(finding for finding in found if finding.rule != worst.rule)
            state: State = "bad" if worst.severity == "bad" else "warning"
            return Verdict(state, worst.rule, worst.sentence, (worst, *beside))
        if len(vitals["gops_s"]) < STARTING_GOPS:
            return Verdict("starting", "", _STARTING, tuple(found))
        return Verdict("good", "", GOOD, tuple(found))

    def describe(self) -> dict[str, int]:
        """Say how many verdicts are held."""
        return {"held": len(self._held)}

    def _worst(self, channel: ChannelValue, found: list[Finding], now: float) -> Finding | None:
        """Return the worst of what is found now and of what is held, and note it for later."""
        name, publication = channel["name"], channel["publication"]
        held = self._held.pop(name, None)
        seen: dict[Severity, tuple[float, Finding]] = {}
        if held is not None and held.publication == publication:
            seen = {severity: one for severity, one in held.worst.items() if now - one[0] < HELD_S}
        for finding in reversed(found):  # the first of each severity is what stays
            if finding.severity != "info":
                seen[finding.severity] = (now, finding)
        if not seen:
            return None
        self._held[name] = _Held(publication, seen)
        if len(self._held) > MAX_CHANNELS:
            self._held.popitem(last=False)
        severity: Severity = "bad" if "bad" in seen else "warning"
        return seen[severity][1]
