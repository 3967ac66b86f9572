"""What somebody may do to a process that serves: end a connection, or what is published on a channel.

Never blocks. Everything that is done has a line in the log, which says that it was done by the API.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol, TypeAlias

from rtmpsrv.access.blocks import MAX_BLOCK_S as MAX_BLOCK_S
from rtmpsrv.few_lines import FewLines
from rtmpsrv.log import Logger
from rtmpsrv.server.host import Client
from rtmpsrv.watching import Viewing
from rtmpsrv.workers.estate import OnChannel

from .observer import Observer
from .recorded import Recordings
from .texts import clean, one_line

BY_THE_API: Final = "ended by the API"
MAX_TOLD: Final = 500  # channels that are closed
OPENED_BY_THE_API: Final = "opened by the API"


Kill: TypeAlias = Callable[[str, str | None, str], bool]  # channel, stream id (None: any), reason


class Ended(Protocol):
    """A connection, or a viewer that has none of its own."""

    @property
    def client(self) -> Client: ...
    @property
    def log(self) -> Logger: ...
    @property
    def role(self) -> str: ...
    @property
    def granted(self) -> Sequence[object]: ...

    def is_unwanted(self) -> bool:
        """Tell whether somebody has ended it. Never blocks."""

    def dismiss(self, reason: str) -> None:
        """End it. Never blocks."""


class Blocks(Protocol):
    """Who may not come for a while; wherever that has to be known."""

    def block(self, channel: str, seconds: float) -> bool:
        """Refuse the publishers of a channel for so long; False where too many are."""

    def turn_away(self, address: str, channel: str, seconds: float) -> None:
        """Refuse an address as a player of a channel for so long."""


class Actions:
    """The hands of one process."""

    def __init__(
        self,
        find: Callable[[str], Ended | None],
        publisher_of: Callable[[str], str | None],
        give_up: Callable[[str], bool],
        kill: Kill,
        blocks: Blocks,
        observer: Observer,
        recordings: Recordings,
        log: Logger,
    ) -> None:
        """`find` a connection by its id, `publisher_of` a channel that of who publishes it here;
        `give_up` waiting for a publisher that goes on; `kill` what others publish, or are asked about."""
        self._find = find
        self._publisher_of = publisher_of
        self._give_up = give_up
        self._kill = kill
        self._blocks = blocks
        self._observer = observer
        self._recordings = recordings
        self._log = log
        self._of_nobody = FewLines(lambda text: log.info("%s", text))

    def kick(self, connection_id: str, block_s: float = 0.0, reason: str = "") -> bool | None:
        """End a connection; tell whether it was here. None: there are too many blocks, and nothing is done.

        With `block_s` nobody may publish its channel for so long; or, of a player, its address not play it.
        """
        session = self._find(connection_id)
        if session is None or session.is_unwanted():
            return False
        channel, seconds = _channel_of(session), bounded(block_s)
        if channel and seconds and session.role == "publisher":
            if not self._blocks.block(channel, seconds):
                return None
        elif channel and seconds:
            self._blocks.turn_away(session.client.ip, channel, seconds)
        self._end(session, channel, why(reason), seconds)
        return True

    def stop(self, channel: str, block_s: float | None = None, reason: str = "") -> bool | None:
        """End what is published on a channel, here or as far as its authority reaches; tell whether it was.

        None: there are too many blocks, and nothing is done.

        With `block_s` nobody may publish it for so long, also where nobody did; 0 lets everybody again.
        """
        seconds, told = bounded(block_s or 0.0), why(reason)
        if block_s is not None and not self._blocks.block(channel, seconds):
            return None
        publisher = self._publisher_of(channel)
        session = self._find(publisher) if publisher is not None else None
        found = session is not None and not session.is_unwanted()
        if session is not None and found:
            self._end(session, channel, told, seconds)
        found = self._give_up(channel) or found
        found = self._kill(channel, None, told) or found
        if found and session is None:
            self._log.info("channel=%s %s%s", clean(channel), told, _closed_for(seconds))
        elif seconds and not found:
            self._of_nobody.add(f"channel={clean(channel)} {told}{_closed_for(seconds)}")
        elif block_s == 0 and not found:
            self._of_nobody.add(f"channel={clean(channel)} may be published again: {OPENED_BY_THE_API}")
        return found

    def record(self, channel: str, wanted: bool, form: str = "") -> bool:
        """Begin to record what is published on a channel here, or end that; tell whether there was anything.

        Raises ValueError for a form that there is not.
        """
        found = self._recordings.start(channel, form) if wanted else self._recordings.stop(channel)
        if found:
            what = "recorded" if wanted else "not recorded any more"
            self._log.info("channel=%s is %s: asked for by the API", clean(channel), what)
        return found

    def _end(self, session: Ended, channel: str, reason: str, seconds: float) -> None:
        session.log.info("kicked: channel=%s %s%s", channel, reason, _closed_for(seconds))
        self._observer.kicked(session.client, channel, reason)
        session.dismiss(reason)


def blocked(left: Mapping[str, float]) -> list[tuple[str, float]]:
    """Return the last channels that were closed, and until when; `left` says for how long each is."""
    now = time.time()
    return [(clean(name), round(now + seconds, 3)) for name, seconds in list(left.items())[-MAX_TOLD:]]


def why(reason: str) -> str:
    """Return what is told and logged for a reason that somebody gives, or does not."""
    shown = one_line(reason).strip()
    return f"{BY_THE_API}: {shown}" if shown else BY_THE_API


def _channel_of(session: Ended) -> str:
    for one in session.granted:
        if isinstance(one, Viewing):  # whose channel is opened by looking at it
            return one.name
        if isinstance(one, OnChannel):
            return one.channel.name
    return ""


def bounded(seconds: float) -> float:
    """Return for how long a channel is closed, whatever was asked for."""
    return min(float(seconds), MAX_BLOCK_S) if seconds > 0 else 0.0


def _closed_for(seconds: float) -> str:
    return f" blocked={seconds:g} s" if seconds else ""
