"""On what terms somebody publishes or plays: what ends it, and when. A value; decides nothing."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import inf

NO_LIMIT = 0


@dataclass(frozen=True, slots=True)
class Terms:
    """What a client was granted; keys show in no repr."""

    key: str | None = field(
        default=None, repr=False
    )  # of a player: must be the publisher's; None: none needed
    until: float = inf  # wall clock, s
    why: str = ""  # it ends then
    max_bitrate: int = NO_LIMIT  # bits per second, of a publisher
    max_players: int = NO_LIMIT  # of the channel
    revision: int = 0  # of the rules that say so
    subject: str = field(default="", repr=False)  # whom a token names

    def within(self, max_bitrate: int) -> Terms:
        """Return the same terms with one more limit of the bitrate; the lower one counts."""
        limits = [limit for limit in (self.max_bitrate, max_bitrate) if limit != NO_LIMIT]
        return replace(self, max_bitrate=min(limits, default=NO_LIMIT))

    @property
    def may_end(self) -> bool:
        """Whether there is anything to watch."""
        return self.until != inf or self.max_bitrate != NO_LIMIT
