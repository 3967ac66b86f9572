"""Who may publish and who may play, by what they show: keys, tokens, or nothing. Asks no backend.

What callbacks and control servers say of a publisher comes on top, from the gate.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING

from rtmpsrv.access.channel_rules import ChannelRule, ChannelRules, fits
from rtmpsrv.access.gate import INVALID_KEY, refusal
from rtmpsrv.access.login import Challenges, Login
from rtmpsrv.access.names import StreamName
from rtmpsrv.access.record_rule import RecordRule
from rtmpsrv.access.second_publisher import SecondPolicy
from rtmpsrv.access.terms import NO_LIMIT, Terms
from rtmpsrv.errors import AccessDenied

if TYPE_CHECKING:
    from rtmpsrv.access.stream_tokens import StreamTokens, TokenClaims

OPEN, KEY, TOKEN, LOGIN = "open", "key", "token", "login"
FILE = "CHANNELS_FILE"


class Doors:
    """The rules in force. Answers are Terms; a no is AccessDenied.

    `again` is for somebody who was let in before, perhaps by another process: that never blocks.
    """

    def __init__(
        self,
        publish_access: str = OPEN,
        play_access: str = KEY,
        tokens: StreamTokens | None = None,
        challenges: Challenges | None = None,
    ) -> None:
        self._publish_access = publish_access
        self._play_access = play_access
        self._tokens = tokens
        self._challenges = challenges or Challenges(os.urandom(32))
        self._rules = ChannelRules()
        self.revision = 0  # counts the rules

    def use(self, rules: ChannelRules) -> None:
        """Let these rules for channels be in force, and no others."""
        self._rules = rules
        self.revision += 1

    def second(self, channel: str, usual: SecondPolicy) -> SecondPolicy:
        """Return what becomes of a second publisher; `usual` is for all that a channel's rule leaves out."""
        rule = self._rules.find(channel)
        seconds = rule.reconnect_seconds
        return SecondPolicy(
            rule.second_publisher or usual.mode, usual.reconnect_s if seconds is None else float(seconds)
        )

    @property
    def may_end(self) -> bool:
        """Whether there may be terms that end."""
        return self.may_change or TOKEN in (self._publish_access, self._play_access)

    @property
    def may_change(self) -> bool:
        """Whether the rules may be others tomorrow."""
        return self.revision > 0

    def publish(self, stream: StreamName, asked_at: float, *, again: bool = False) -> Terms:
        """Return a publisher's terms; `asked_at` is on the wall clock. May block for the keys of tokens."""
        rule = self._rules.find(stream.channel)
        if rule.publish_keys:
            if not fits(stream.key, rule.publish_keys):
                raise refusal("it is none of the channel's", FILE)
            return self._terms(rule, asked_at)
        if rule.users:
            if not self._is_user(stream, rule.users):
                raise refusal("user name or password are none of the channel's", FILE)
            login = stream.login
            terms = self._terms(rule, asked_at)
            return terms if login is None else replace(terms, subject=f"login {login.user}")
        if self._publish_access == LOGIN:
            raise refusal("the channel has no users", FILE)
        if self._publish_access == KEY:
            raise refusal("the channel has no keys", FILE)
        if self._publish_access == TOKEN:
            return self._terms(rule, asked_at, self._claims("publish", stream, again, refusal))
        return self._terms(rule, asked_at)

    def connect(self, login: Login | None, asks: bool, may_hold: Callable[[str], bool], now: float) -> None:
        """Let a client log in, where it wants to or is to be asked; raise what its next step is.

        `may_hold` tells whether its channel may be one of a pattern. Never blocks.
        """
        user = login.user if login is not None else ""
        passwords = self._rules.passwords(user, may_hold)
        if passwords is not None and (login is not None or asks):
            self._challenges.ask(login, passwords, now)

    def _is_user(self, stream: StreamName, users: Mapping[str, str]) -> bool:
        """Tell whether a client has logged in, or shown name and password as they are."""
        login = stream.login
        if login is not None:
            password = users.get(login.user)
            return password is not None and self._challenges.proves(login, password)
        expected = users.get(stream.user, "").encode()
        return hmac.compare_digest(expected, stream.password.encode("utf-8", "surrogatepass")) and bool(
            expected
        )

    def play(self, stream: StreamName, asked_at: float, *, again: bool = False) -> Terms:
        """Return a player's terms. May block for the keys of tokens."""
        rule = self._rules.find(stream.channel)
        access = self._to_play(rule)
        if access == TOKEN:
            return self._terms(rule, asked_at, self._claims("play", stream, again, play_refusal))
        if access == OPEN:
            return self._terms(rule, asked_at)
        if rule.play_keys:
            if not fits(stream.key, rule.play_keys):
                raise play_refusal("it is none of the channel's", FILE)
            return self._terms(rule, asked_at)
        return self._terms(rule, asked_at, key=stream.key or "")

    def is_open(self, channel: str) -> bool:
        """Tell whether a player must show nothing. Never blocks."""
        return self._to_play(self._rules.find(channel)) == OPEN

    def max_players(self, channel: str) -> int:
        """Return how many may play a channel by the rules in force. Never blocks."""
        return self._rules.find(channel).max_players

    def max_bitrate(self, channel: str) -> int:
        """Return how many bits per second may be published by the rules in force. Never blocks."""
        return self._rules.find(channel).max_bitrate

    def _to_play(self, rule: ChannelRule) -> str:
        return rule.play_access or (KEY if rule.play_keys else self._play_access)

    def recording(self, channel: str) -> RecordRule | None:
        """Return what the rules in force say of recording a channel. Never blocks."""
        return self._rules.find(channel).record

    def _claims(
        self, action: str, stream: StreamName, again: bool, denial: Callable[[str, str], AccessDenied]
    ) -> TokenClaims:
        from rtmpsrv.access.stream_tokens import TokenRefused  # loads PyJWT

        assert self._tokens is not None, "settings and file were checked"
        try:
            return self._tokens.read(stream.token, action, stream.channel, again=again)
        except TokenRefused as exc:
            raise denial(str(exc), f"{action.upper()}_ACCESS") from None

    def _terms(
        self, rule: ChannelRule, asked_at: float, claims: TokenClaims | None = None, key: str | None = None
    ) -> Terms:
        ends = [(asked_at + rule.max_seconds, rule.max_seconds)] if rule.max_seconds else []
        bitrates = [rule.max_bitrate] if rule.max_bitrate else []
        until, why = inf, ""
        if claims is not None:
            until, why = claims.until, "the token has run out"
            ends += [(asked_at + claims.max_seconds, claims.max_seconds)] if claims.max_seconds else []
            bitrates += [claims.max_bitrate] if claims.max_bitrate else []
        for end, seconds in ends:
            if end < until:
                until, why = end, f"the time of {seconds} s is over"
        bitrate, subject = min(bitrates, default=NO_LIMIT), claims.subject if claims is not None else ""
        return Terms(key, until, why, bitrate, rule.max_players, self.revision, subject)


def play_refusal(why: str, variable: str = "") -> AccessDenied:
    """Return the refusal of a player; `variable` is the setting to look at."""
    return AccessDenied("NetStream.Play.BadName", f"{INVALID_KEY}: {why}", variable)
