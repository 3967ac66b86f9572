"""What an operator wants to know of channels and players: plain values. Never blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .segment import AUDIO, VIDEO

if TYPE_CHECKING:
    from .channel import Channel
    from .log import Log
    from .player import Player


def of_channel(channel: Channel, ended_outputs: int) -> dict[str, Any]:
    """Return what is known of a channel, and of its publication if there is one."""
    about = summary_of(channel) | {"name": channel.name, "ended_outputs": ended_outputs}
    return about | (channel.output.describe() if channel.output is not None else {})


def summary_of(channel: Channel) -> dict[str, Any]:
    """Return what is of interest of each of many channels."""
    output = channel.output
    return {
        "live": channel.live,
        "suspended": channel.suspended,
        "waits_until": channel.patience.until,  # monotonic
        "publication": channel.publication,
        "players": len(channel.players),
        "waiting": sum([player.state.waiting for player in channel.players]),
        "began_at": channel.contents.vitals.began_at if output is not None else None,  # monotonic
        "received_bytes": channel.end_position(),
        "sent_bytes": channel.crowd.sent_bytes,
        "frames_dropped": sum(channel.crowd.left_out.counts),
    }


def cache_bytes_of(channel: Channel) -> int:
    """Return how much is kept for joiners."""
    output = channel.output
    return output.log.end - output.log.first if output is not None else 0


def vitals_of(channel: Channel, now: float) -> dict[str, Any] | None:
    """Return how the publication does; None where there is none, or its owner is another process."""
    output, contents = channel.output, channel.contents
    if output is None or output.log.is_mirror:
        return None
    preamble = contents.preamble
    about = contents.vitals.value(output.log, preamble.headers, now)
    return about | {"metadata": preamble.metadata()}


def of_player(player: Player) -> dict[str, Any]:
    """Return what is known of a player."""
    state, output = player.state, player.output
    lags = output is not None and player.has_cursor
    return {
        "waiting": state.waiting,
        "paused": state.paused,
        "audio": bool(state.wants & AUDIO),
        "video": bool(state.wants & VIDEO),
        "behind_bytes": output.log.end - state.position if output is not None and lags else 0,
        "lag_s": _lag_s(output.log, state.position) if output is not None and lags else 0.0,
        "skipped_messages": state.skipped_messages,
        "jumps": state.jumps,
    }


def _lag_s(log: Log, position: int) -> float:
    """Return how long ago the message at a position came, as the last one did: a pause is no lag."""
    arrival = log.arrival_at(position)
    newest = log.arrival_at(log.end - 1)
    return newest - arrival if arrival is not None and newest is not None else 0.0
