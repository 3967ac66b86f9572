"""Who may publish and who may play, by what they show: keys, tokens, or nothing. Asks no backend.

What callbacks and control servers say of a publisher comes on top, from the gate.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING

from rtmpsrv.access.gate import INVALID_KEY, refusal
from rtmpsrv.access.names import StreamName
from rtmpsrv.access.terms import NO_LIMIT, Terms
from rtmpsrv.errors import AccessDenied

if TYPE_CHECKING:
    from rtmpsrv.access.stream_tokens import StreamTokens, TokenClaims

OPEN, KEY, TOKEN = "open", "key", "token"


class Doors:
    """The rules in force. Answers are Terms; a no is AccessDenied.

    `again` is for somebody who was let in before, perhaps by another process: that never blocks.
    """

    def __init__(
        self, publish_access: str = OPEN, play_access: str = KEY, tokens: StreamTokens | None = None
    ) -> None:
        self._publish_access = publish_access
        self._play_access = play_access
        self._tokens = tokens

    @property
    def may_end(self) -> bool:
        """Whether there are any terms that end."""
        return TOKEN in (self._publish_access, self._play_access)

    def publish(self, stream: StreamName, asked_at: float, *, again: bool = False) -> Terms:
        """Return a publisher's terms; `asked_at` is on the wall clock. May block for the keys of tokens."""
        if self._publish_access == TOKEN:
            return self._by_token("publish", stream, asked_at, again, refusal)
        return Terms()

    def play(self, stream: StreamName, asked_at: float, *, again: bool = False) -> Terms:
        """Return a player's terms. May block for the keys of tokens."""
        if self._play_access == TOKEN:
            return self._by_token("play", stream, asked_at, again, play_refusal)
        return Terms(None if self._play_access == OPEN else stream.key or "")

    def _by_token(
        self,
        action: str,
        stream: StreamName,
        asked_at: float,
        again: bool,
        denial: Callable[[str, str], AccessDenied],
    ) -> Terms:
        from rtmpsrv.access.stream_tokens import TokenRefused  # loads PyJWT

        assert self._tokens is not None, "the settings were checked"
        try:
            claims = self._tokens.read(stream.token, action, stream.channel, again=again)
        except TokenRefused as exc:
            raise denial(str(exc), f"{action.upper()}_ACCESS") from None
        until, why = _end(claims, asked_at)
        return Terms(None, until, why, claims.max_bitrate)


def play_refusal(why: str, variable: str = "") -> AccessDenied:
    """Return the refusal of a player; `variable` is the setting to look at."""
    return AccessDenied("NetStream.Play.BadName", f"{INVALID_KEY}: {why}", variable)


def _end(claims: TokenClaims, asked_at: float) -> tuple[float, str]:
    """Return when it is over, and why."""
    limit = asked_at + claims.max_seconds if claims.max_seconds != NO_LIMIT else inf
    if limit < claims.until:
        return limit, f"the time of {claims.max_seconds} s is over"
    return claims.until, "the token has run out"
