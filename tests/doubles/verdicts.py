"""Opinions on streams that a test gives, in place of those that the rules would find."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from rtmpsrv.monitor.values import ChannelValue
from rtmpsrv.web.shapes import Health, Severity
from rtmpsrv.web.verdict import GOOD


class Thought(NamedTuple):
    """A finding."""

    rule: str
    severity: Severity
    sentence: str


class Opinion(NamedTuple):
    """A verdict."""

    state: Health
    rule: str
    sentence: str
    findings: tuple[Thought, ...] = ()


class Opinions:
    """Verdicts by the names of channels; of others, that all is well. Notes whom it has judged, and when."""

    def __init__(self, by_name: Mapping[str, Opinion] | None = None) -> None:
        self.by_name = dict(by_name or {})
        self.judged: list[tuple[str, float]] = []

    def judge(self, channel: ChannelValue, now: float) -> Opinion:
        self.judged.append((channel["name"], now))
        return self.by_name.get(channel["name"], Opinion("good", "", GOOD))
