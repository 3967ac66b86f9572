"""Commands that arrive by Redis Pub/Sub: end a publication, by channel or by stream id (docs/redis.md).

A background greenlet subscribes, and subscribes again for ever after a loss. A lost Redis ends no stream.
What Redis sends is bounded while it is read, and however much it is, the greenlet gives way to others.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gevent
import redis
from gevent.event import Event
from redis.backoff import NoBackoff
from redis.client import PubSub
from redis.retry import Retry

from rtmpsrv.access.backoff import Backoff, describe, keep_trying, stop_trying
from rtmpsrv.access.blocks import MAX_BLOCK_S as MAX_BLOCK_S
from rtmpsrv.access.give_way import GiveWay
from rtmpsrv.access.reading import Meter, MeteredSocket, TooMuch
from rtmpsrv.access.trust import check_files
from rtmpsrv.log import Logger, RateLimited

CONNECT_TIMEOUT_S = 5.0
HEALTH_CHECK_S = 10.0  # silence before a PING is sent; as much again after it ends the connection
STABLE_AFTER_S = 10.0
STOP_TIMEOUT_S = 1.0
MAX_COMMAND_BYTES = 4096  # a channel and a stream id need a few hundred
READ_BYTES = 16_384
MAX_REPLY_BYTES = 65_536  # what is read until a reply is complete, the beginning of the next one included
MAX_REPLY_S = 10.0
# The library may keep what it has read as long as no read ends just where a reply does. Commands have some 60
# bytes, so a connection is left, and made anew, after a quarter of a million of them.
MAX_CONNECTION_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Command:
    """End what is published on `channel`; `stream_id` None means whatever it is."""

    channel: str
    stream_id: str | None
    block_s: int | None = None  # refuse its publishers for so long, 0: no more; None: nothing is said
    asks_in_vain: bool = False  # for a block, with what is no number of seconds


class RedisSilent(ConnectionError):
    """Redis did not answer a PING."""


def parse_command(text: str) -> Command | None:
    """Read one command, or return None for what is none: `NAME>ARGUMENT|ARGUMENT...`, nothing is trimmed."""
    name, separator, rest = text.partition(">")
    if not separator:
        return None
    arguments = rest.split("|")
    match name.lower():
        case "kill-session":
            seconds = _seconds(arguments[1:2])
            return Command(arguments[0], None, seconds, seconds is None and any(arguments[1:2]))
        case "close-stream" if len(arguments) >= 2:
            return Command(arguments[0], arguments[1])
        case _:
            return None


def _seconds(arguments: list[str]) -> int | None:
    """Read for how long to block; None for what is no such number, which was always ignored there."""
    text = arguments[0] if arguments else ""
    if not text.isascii() or not text.isdigit() or len(text) > len(str(MAX_BLOCK_S)):
        return None
    return int(text) if int(text) <= MAX_BLOCK_S else None


def read_command(data: bytes) -> Command | None:
    """Read one message, or return None for what is too long, is not UTF-8, or is no command."""
    if len(data) > MAX_COMMAND_BYTES:
        return None
    try:
        return parse_command(data.decode())
    except UnicodeDecodeError:
        return None


class RedisCommands:
    """The subscription; `kill` gets channel and stream id (None: any), `block` channel and seconds.

    Neither may block; both say whether they ended something.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        channel: str,
        kill: Callable[[str, str | None], bool],
        block: Callable[[str, int], bool] = lambda channel, seconds: False,
        log: Logger,
        give_way: GiveWay,
        username: str = "",
        password: str = "",
        database: int = 0,
        tls: bool = False,
        ca: str = "",
        max_channel_bytes: int = MAX_COMMAND_BYTES,
        health_check_s: float = HEALTH_CHECK_S,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        backoff: Backoff | None = None,
        stable_after_s: float = STABLE_AFTER_S,
    ) -> None:
        self._address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._channel = channel
        self._tls, self._ca = tls, ca
        self._kill = kill
        self._block = block
        self._max_channel_bytes = max_channel_bytes
        self._log = log
        self._health_check_s = health_check_s
        self._backoff = backoff or Backoff()
        self._stable_after_s = stable_after_s
        self._greenlet: gevent.Greenlet[..., None] | None = None
        self._subscribed = False
        self._ever_subscribed = Event()
        self._share = give_way.share()
        self._meter = self._new_meter()
        self._ignored = RateLimited(lambda count: log.debug("%d unknown commands ignored", count))
        self._not_blocked = RateLimited(
            lambda count: log.warning(
                "kill-session: no channel was closed (%d times): seconds are a whole number up to %d",
                count,
                MAX_BLOCK_S,
            )
        )
        self._too_long = RateLimited(
            lambda count: log.warning(
                "kill-session: no channel was closed (%d times): no channel has a name of more than %d bytes"
                " (ID_MAX_LENGTH)",
                count,
                max_channel_bytes,
            )
        )
        self._missed = RateLimited(
            lambda count: log.debug("%d commands for nothing that is on the air", count)
        )
        # No password in a URL, where `@ / : #` would break it. RESP2: servers older than 6 know no other. No
        # retries inside the library: it would reconnect without a word in the log.
        self._client = redis.Redis(
            host=host,
            port=port,
            db=database,
            username=username or None,
            password=password or None,
            socket_timeout=connect_timeout_s,
            socket_connect_timeout=connect_timeout_s,
            socket_keepalive=True,
            retry=Retry(NoBackoff(), 0, supported_errors=()),
            protocol=2,
            ssl=tls,
            ssl_ca_certs=ca or None,
            ssl_cert_reqs="required",
            ssl_check_hostname=True,
        )
        pool = self._client.connection_pool
        pool.connection_class = _metered(pool.connection_class, lambda count: self._meter.took(count))
        pool.connection_kwargs["socket_read_size"] = READ_BYTES

    def start(self) -> None:
        """Begin to listen, in a greenlet of its own. Never blocks."""
        if self._greenlet is None:
            self._greenlet = gevent.spawn(self._run)

    @property
    def subscribed(self) -> bool:
        """Whether commands arrive now."""
        return self._subscribed

    def wait_subscribed(self, timeout_s: float) -> bool:
        """Wait until it has subscribed once; return whether it has. Blocks up to `timeout_s`."""
        return bool(self._ever_subscribed.wait(timeout_s))

    def stop(self) -> None:
        """Stop listening. Blocks for a second or two at most."""
        if self._greenlet is not None:
            stop_trying(self._greenlet, STOP_TIMEOUT_S)
            self._greenlet = None
        self._client.close()

    def _run(self) -> None:
        keep_trying(
            self._listen,
            # ValueError: bytes that are not RESP, from something that is not Redis.
            expected=(redis.RedisError, OSError, ValueError),
            failed=self._tell_failure,
            backoff=self._backoff,
            stable_after_s=self._stable_after_s,
            log=self._log,
        )

    def _tell_failure(self, error: Exception, wait_s: float) -> None:
        self._log.error(
            "Connection to %s failed (%s), next attempt in %.1f s", self._address, describe(error), wait_s
        )

    def _new_meter(self) -> Meter:
        return Meter(self._share, MAX_REPLY_BYTES, MAX_REPLY_S)

    def _listen(self) -> None:
        self._meter = self._new_meter()
        if self._tls:
            check_files(self._ca)  # the library gives their names to OpenSSL
        subscription = self._client.pubsub()  # type: ignore[no-untyped-call]  # the library has no hint here
        try:
            subscription.subscribe(self._channel)
            self._log.info("Connected: %s", self._address)
            self._subscribed = False
            ping_unanswered = False
            while True:
                message = self._next_message(subscription)
                if message is not None:
                    ping_unanswered = False
                    self._take(message["type"], message["data"])
                elif ping_unanswered:
                    raise RedisSilent(f"no answer to a PING within {self._health_check_s:g} s")
                else:
                    subscription.ping()
                    ping_unanswered = True
        finally:
            self._subscribed = False
            subscription.close()

    def _next_message(self, subscription: PubSub) -> dict[str, Any] | None:
        """Wait for one reply; None when it is silent. Raises TooMuch for what is too long, wide or deep."""
        try:
            message: dict[str, Any] | None = subscription.get_message(timeout=self._health_check_s)
        except RecursionError:
            raise TooMuch(errno.EMSGSIZE, "a reply nested too deep") from None
        self._meter.answer_ends()
        self._share.spend()
        if self._meter.total_bytes > MAX_CONNECTION_BYTES:
            raise TooMuch(errno.EMSGSIZE, f"more than {MAX_CONNECTION_BYTES} bytes on one connection")
        return message

    def _take(self, kind: object, data: object) -> None:
        if kind == "subscribe" and not self._subscribed:
            self._subscribed = True
            self._ever_subscribed.set()
            self._log.info("Subscribed: %s", self._channel)
        if kind != "message" or not isinstance(data, bytes):
            return
        command = read_command(data)
        if command is None:
            self._ignored.add()  # not quoted: a mistyped `close-stream` may hold a stream key
        elif self._obey(command):
            self._log.debug("command ended channel=%r", command.channel)
        else:
            self._missed.add()

    def _obey(self, command: Command) -> bool:
        if command.asks_in_vain:
            self._not_blocked.add()  # not quoted: it may be anything
        if command.block_s is None:
            return self._kill(command.channel, command.stream_id)
        if len(command.channel.encode()) > self._max_channel_bytes:  # it would be kept for nothing
            self._too_long.add()  # not quoted: it may have kilobytes
            return self._kill(command.channel, None)  # it may be older than the limit
        self._log.info("channel=%r is closed for %d s", command.channel, command.block_s)
        return self._block(command.channel, command.block_s)


def _metered(kind: type[Any], took: Callable[[int], None]) -> type[Any]:
    """Give the library's kind of connection, plain or TLS, with a socket that tells what is read from it."""

    class Metered(kind):  # type: ignore[misc]  # which kind is known only at run time
        def _connect(self) -> MeteredSocket:
            return MeteredSocket(super()._connect(), took)

    return Metered
