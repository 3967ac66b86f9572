"""The exceptions of this package that pass from one part to another.

    RtmpsrvError
    |-- ConfigError            a setting is wrong; the operator must mend it
    |-- CertificateError       certificate or key of RTMPS are unusable; the pair in use stays
    |-- ProtocolError
    |   |-- RemoteProtocolError    the peer broke the protocol: log at INFO, close its connection
    |   |   `-- AmfError           bytes that are not AMF; data messages survive it, commands end there
    |   |       `-- AmfLimitError  AMF values nested too deep, or too many; no command survives it
    |   `-- LocalProtocolError     we were about to break it: our bug, log with a traceback
    |-- RequestRefused         a server refused what our client asked for; carries its status
    |-- ConnectionClosed       the server at the other end of our client closed, or was lost
    |-- AccessDenied           a refusal the peer is told about; carries the status code to send
    |   |-- LoginAsked             no refusal for good: a step of a login, for which the peer comes again
    |   |-- NoRoom                 there are as many as there may be
    |   `-- NotThere               nobody publishes what was asked for, and the client does not wait
    |-- PeerLost               a socket gave an error or its end: the peer's or the network's doing
    |-- HandleClosed           a registration, or a client of one, has given its last message
    |-- MediaRefused         a stream cannot be had in a form; the text is a sentence for whoever asked
    |-- MediaLost            the process that makes first parts and pictures died or was late: ask again
    |   `-- MediaBusy            too many wait for it, which says nothing of this stream
    `-- CannotMove             a session cannot be handed over now, or ever; it goes on where it is

Anything else that comes out of this package is a bug.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class RtmpsrvError(Exception):
    """Base of all errors of this package."""


class ConfigError(RtmpsrvError):
    """Settings are unusable; `problems` holds one sentence for each, `warnings` what else is odd."""

    def __init__(self, problems: list[str], warnings: list[str] | None = None) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems
        self.warnings = warnings or []


def try_all(*steps: Callable[[], None]) -> None:
    """Take every step, whatever others come to. Raises one ConfigError for all theirs. Blocks as they do."""
    problems = []
    for step in steps:
        try:
            step()
        except ConfigError as exc:
            problems += exc.problems
    if problems:
        raise ConfigError(problems)


class CertificateError(RtmpsrvError):
    """A certificate chain and its key cannot be taken into use; the text says why."""


class ProtocolError(RtmpsrvError):
    """Base of the two ways in which RTMP can be broken."""


class RemoteProtocolError(ProtocolError):
    """The peer sent something that no RTMP peer may send, or more than a limit allows."""


class AmfError(RemoteProtocolError):
    """The peer sent bytes that do not decode as AMF0 or AMF3 within the limits."""


class AmfLimitError(AmfError):
    """The peer sent AMF values beyond the limits of a message."""


class LocalProtocolError(ProtocolError):
    """Our own code asked for something the protocol state does not allow."""


class AccessDenied(RtmpsrvError):
    """A request is refused; `code` and `description` go to the peer as its status.

    `variable` is the setting that would have it otherwise, for the operator; "" for none. `user` is one that
    there is, of which a wrong password was shown.
    """

    def __init__(self, code: str, description: str, variable: str = "", user: str = "") -> None:
        super().__init__(f"{code}: {description}")
        self.code = code
        self.description = description
        self.variable = variable
        self.user = user  # for a log of values only
        self.about = ""  # for the log only: the channel, as `channel=NAME`, or what is known of it

    @property
    def for_log(self) -> str:
        """The description, the setting, and what it is about."""
        parts = [self.description, f"({self.variable})" if self.variable else "", self.about]
        return " ".join(part for part in parts if part)


@contextmanager
def naming(about: str) -> Iterator[None]:
    """Let a refusal say in the log what it is about."""
    try:
        yield
    except AccessDenied as exc:
        exc.about = exc.about or about
        raise


class LoginAsked(AccessDenied):
    """A client is told how to log in, and comes again at once on another connection."""


class NoRoom(AccessDenied):
    """There are as many as there may be: of a channel, of an address, in all."""


class NotThere(AccessDenied):
    """Nobody publishes what a client asked for, who does not want to wait."""


class RequestRefused(RtmpsrvError):
    """A server refused a request of our client; `code` and `description` are those of its status."""

    def __init__(self, code: str, description: str) -> None:
        super().__init__(f"{code}: {description}")
        self.code = code
        self.description = description


class ConnectionClosed(RtmpsrvError, ConnectionError):
    """The server closed our client's connection, or it was lost."""


class PeerLost(RtmpsrvError):
    """A connection is gone; the text says what was seen. Raised where sockets are called, nowhere else."""


class MediaRefused(RtmpsrvError):
    """A stream cannot be had in the form that was asked for; the text is for whoever asked."""


class MediaLost(RtmpsrvError):
    """There is no first part or picture now: the process that makes them died or was late. Ask again."""


class MediaBusy(MediaLost):
    """Too many wait for a first part or a picture; this stream has nothing to do with it. Ask again."""


class CannotMove(RtmpsrvError):
    """A session, or what it publishes or plays, stays in this process; nothing was changed."""


class HandleClosed(RtmpsrvError):
    """A handle of the endpoint has given its last message; the text says why it ended."""
