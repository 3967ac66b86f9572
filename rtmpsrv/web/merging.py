"""One channel in several processes, as one: its owner's facts, and everybody's players. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby

from rtmpsrv.monitor.values import ChannelValue


def merge_channels(values: Iterable[ChannelValue]) -> list[ChannelValue]:
    """Return one value for each name, by name. Never blocks.

    What a mirror holds is the memory of the owner, and is not counted twice.
    """
    in_order = sorted(values, key=_name)
    return [_merged(list(same)) for _, same in groupby(in_order, key=_name)]


def _name(value: ChannelValue) -> str:
    return value["name"]


def _merged(same: Sequence[ChannelValue]) -> ChannelValue:
    if len(same) == 1:
        return same[0]
    merged = max(same, key=_knows).copy()
    merged["players"] = sum(one["players"] for one in same)
    merged["waiting"] = sum(one["waiting"] for one in same)
    forms: Counter[str] = Counter()
    for one in same:
        forms.update(one["forms"])
    merged["forms"] = dict(forms)
    merged["readers"] = [reader for one in same for reader in one["readers"]]
    merged["recording"] = next((one["recording"] for one in same if one["recording"]), None)
    merged["sent_bytes"] = sum(one["sent_bytes"] for one in same)
    merged["frames_dropped"] = sum(one["frames_dropped"] for one in same)
    return merged


def _knows(value: ChannelValue) -> tuple[bool, bool, bool]:
    """Tell how much a process knows: the owner has the publisher, a mirror has what it is told."""
    return value["publisher"] is not None, value["live"], value["suspended"]
