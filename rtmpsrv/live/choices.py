"""What a player chooses while it plays: a pause, audio, video. Says so to it, and sets what it is sent.

Functions of a player and of what its channel knows; they hold nothing. Never block.
"""

from __future__ import annotations

from typing import Final

from ..protocol import messages
from .framing import RtmpFraming
from .header_history import Headers
from .player import FLV, Player
from .segment import AUDIO, VIDEO

_KINDS: Final = {messages.AUDIO: AUDIO, messages.VIDEO: VIDEO}


def pause(player: Player, framing: RtmpFraming) -> None:
    """Send no more audio and video; a repeated pause does nothing."""
    state = player.state
    if not state.paused:
        player.sink.reply(framing.paused(state.msid))
        _filter(player, state.wants, True, False)


def unpause(player: Player, framing: RtmpFraming, keyframe_to_come: bool) -> None:
    """Go on at the next keyframe, headers first; does nothing for a player that is not paused."""
    state = player.state
    if state.paused:
        time = player.next_time(state.wants, keyframe_to_come)
        player.sink.reply(framing.resumed(_headers(player), time, state.msid))
        _filter(player, state.wants, False, keyframe_to_come)


def receive(player: Player, wants: int, framing: RtmpFraming, keyframe_to_come: bool) -> None:
    """Change which kinds of messages a player gets: a sum of AUDIO, VIDEO and DATA."""
    state = player.state
    back = wants & ~state.wants
    if back and not state.paused:
        # They may have changed while the player did not get them.
        missed = tuple(header for header in _headers(player) if _KINDS[header[0]] & back)
        if missed:
            time = player.next_time(back, keyframe_to_come)
            player.sink.reply(framing.headers(missed, time, state.msid))
    _filter(player, wants, state.paused, keyframe_to_come)


def tell_end(player: Player, framing: RtmpFraming) -> None:
    """Tell a player that its publication is over: it waits for the next one, or its connection ends."""
    if player.state.form == FLV:
        player.end()
    else:
        player.finish()
        player.sink.reply(framing.unpublished(player.state.msid))


def _headers(player: Player) -> Headers:
    """Return the headers in force at the end of what a player reads; none while it waits."""
    output = player.output
    return output.log.headers.at(output.log.end) if output is not None else ()


def _filter(player: Player, wants: int, paused: bool, keyframe_to_come: bool) -> None:
    had_video = player.state.mask & VIDEO
    player.fall_behind()
    player.filter(wants, paused)
    if not player.state.waiting and not had_video:
        player.await_keyframe(keyframe_to_come)
    player.sink.kick()
