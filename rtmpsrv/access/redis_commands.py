"""Commands that arrive by Redis Pub/Sub: end a publication, by channel or by stream id (spec 6).

A background greenlet subscribes, and subscribes again for ever after a loss. A lost Redis ends no stream.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import gevent
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from rtmpsrv.access.backoff import Backoff, describe, keep_trying, stop_trying
from rtmpsrv.log import Logger

CONNECT_TIMEOUT_S = 5.0
HEALTH_CHECK_S = 10.0  # silence before a PING is sent; as much again after it ends the connection
STABLE_AFTER_S = 10.0
STOP_TIMEOUT_S = 1.0
MAX_COMMAND_BYTES = 4096  # a channel and a stream id need a few hundred


@dataclass(frozen=True, slots=True)
class Command:
    """End what is published on `channel`; `stream_id` None means whatever it is."""

    channel: str
    stream_id: str | None


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
            return Command(arguments[0], None)
        case "close-stream" if len(arguments) >= 2:
            return Command(arguments[0], arguments[1])
        case _:
            return None


class RedisCommands:
    """The subscription; `kill` gets channel and stream id (None: any) and must not block."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        channel: str,
        kill: Callable[[str, str | None], bool],
        log: Logger,
        username: str = "",
        password: str = "",
        database: int = 0,
        tls: bool = False,
        ca: str = "",
        health_check_s: float = HEALTH_CHECK_S,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        backoff: Backoff | None = None,
        stable_after_s: float = STABLE_AFTER_S,
    ) -> None:
        self._address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._channel = channel
        self._kill = kill
        self._log = log
        self._health_check_s = health_check_s
        self._backoff = backoff or Backoff()
        self._stable_after_s = stable_after_s
        self._greenlet: gevent.Greenlet[..., None] | None = None
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

    def start(self) -> None:
        """Begin to listen, in a greenlet of its own. Never blocks."""
        if self._greenlet is None:
            self._greenlet = gevent.spawn(self._run)

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

    def _listen(self) -> None:
        subscription = self._client.pubsub()  # type: ignore[no-untyped-call]  # the library has no hint here
        try:
            subscription.subscribe(self._channel)
            self._log.info("Connected: %s", self._address)
            ping_unanswered = False
            while True:
                message = subscription.get_message(timeout=self._health_check_s)
                if message is not None:
                    ping_unanswered = False
                    self._take(message["type"], message["data"])
                elif ping_unanswered:
                    raise RedisSilent(f"no answer to a PING within {self._health_check_s:g} s")
                else:
                    subscription.ping()
                    ping_unanswered = True
        finally:
            subscription.close()

    def _take(self, kind: object, data: object) -> None:
        if kind == "subscribe":
            self._log.info("Subscribed: %s", self._channel)
        if kind != "message" or not isinstance(data, bytes):
            return
        command = None if len(data) > MAX_COMMAND_BYTES else parse_command(_text(data))
        if command is None:
            # Not quoted: a mistyped `close-stream` may hold a stream key.
            self._log.debug("unknown command of %d bytes ignored", len(data))
            return
        found = self._kill(command.channel, command.stream_id)
        self._log.debug("command for channel=%r found=%s", command.channel, found)


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return ""  # spec 6: treated as empty, which is no command
