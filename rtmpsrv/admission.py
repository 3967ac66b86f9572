"""Who decides about publishers, as the settings say: the gate with its authority, and Redis commands.

In the one serving process, or in the keeper of several. What needs large libraries is imported when its
settings ask for it: requests, redis, websocket and PyJWT take longer to load than all else.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from . import log, run_dir
from .access.gate import Authority, Gate, OpenAuthority
from .access.give_way import GiveWay
from .access.limits import ConnectionLimits
from .config import Config
from .errors import ConfigError
from .workers.estate import Kills

if TYPE_CHECKING:
    from .access.callback_hooks import CallbackHooks
    from .access.callback_sender import Form, Sender
    from .access.callbacks import CallbackAuthority
    from .access.coordinator import Coordinator
    from .access.crash_journal import CrashProofAuthority
    from .access.redis_commands import RedisCommands

KILLED_BY_REDIS = "killed by a Redis command"


class Admission:
    """The gate of one server, however many processes it has, and what belongs to it."""

    def __init__(
        self,
        config: Config,
        give_way: GiveWay,
        through: Callable[[Admission], Authority] = lambda admission: admission.authority,
        *,
        keeps_stops: bool = False,
    ) -> None:
        """The gate asks what `through` returns, which may stand before the authority.

        `keeps_stops`: note in RUN_DIR what the callback is to be told; a keeper has a journal of its own.
        Raises ConfigError for a directory that cannot be used.
        """
        self.callbacks: CallbackAuthority | None = None
        self.coordinator: Coordinator | None = None
        self.on_block: Callable[[str, float], None] = lambda channel, seconds: None
        self.authority: Authority = self._authority(config, give_way)
        self._journal = self._crash_journal(config) if keeps_stops else None
        self.gate = Gate(self._journal or through(self))
        if self._journal is not None:
            self._journal.watch(self.gate)
        self.kills = Kills(self.gate)
        self.redis = self._redis_commands(config, give_way) if config.redis_use else None

    def start(self) -> None:
        """Connect to the control server and to Redis. Idempotent, never blocks."""
        if self.coordinator is not None:
            self.coordinator.start()
        self.start_commands()
        if self._journal is not None:
            self._journal.take_over()

    def start_commands(self) -> None:
        """Take commands from Redis. Idempotent, never blocks."""
        if self.redis is not None:
            self.redis.start()

    def stop_commands(self) -> None:
        """Take no more commands from Redis; the gate is closed by itself."""
        if self.redis is not None:
            self.redis.stop()

    def _crash_journal(self, config: Config) -> CrashProofAuthority | None:
        """Return what keeps the ends that the callback is told; None without a directory for it."""
        if self.callbacks is None or not config.run_dir:
            return None
        from .access.crash_journal import CrashProofAuthority

        folder = run_dir.prepare(run_dir.where(config.run_dir, config.rtmp_port, os.environ))
        try:
            return CrashProofAuthority(self.callbacks, folder, log.get("CALLBACK"))
        except OSError as exc:
            raise ConfigError([f"RUN_DIR: {folder} cannot be used: {exc.strerror or exc}"]) from exc

    def block(self, channel: str, seconds: float) -> bool:
        """Refuse the publishers of a channel for so long; False where too many are refused. Never blocks."""
        if seconds and not self.gate.may_block(channel):
            return False
        self._close(channel, seconds)
        return True

    def _block(self, channel: str, seconds: float) -> bool:
        """End what is published on a channel, wherever that is, and refuse what comes, for so long."""
        self._close(channel, seconds)
        return self.kills.kill(channel, None, KILLED_BY_REDIS)

    def _close(self, channel: str, seconds: float) -> None:
        self.gate.block(channel, seconds)
        self.on_block(channel, seconds)

    def _authority(self, config: Config, give_way: GiveWay) -> Authority:
        """Return who decides about publishers: the control server, the callback, or nobody."""
        if config.control_use:
            from .access.coordinator import Coordinator  # loads websocket and PyJWT

            self.coordinator = coordinator = Coordinator(
                config.control_base_url,
                secret=config.control_secret,
                log=log.get("CONTROL/CLIENT"),
                validation_log=log.get("CONTROL/KEY_VALIDATION"),
                external_ip=config.external_ip,
                external_port=config.external_port,
                external_ssl=config.external_ssl,
                ca=config.control_ca,
                request_timeout_s=float(config.control_request_timeout_seconds),
                give_way=give_way,
            )
            coordinator.on_link_lost = lambda: self.gate.kill_all("control link lost", notify=False)
            coordinator.on_stream_kill = lambda channel, stream_id: self.kills.kill(
                channel, stream_id, "killed by the control server"
            )
            return coordinator
        if config.callback_url:
            from .access.callbacks import CallbackAuthority  # loads requests and PyJWT

            sender = callback_sender(config, give_way)
            kinds = callback_kinds(config)
            self.callbacks = CallbackAuthority(sender, log=log.get("CALLBACK"), kinds=kinds)
            return self.callbacks
        return OpenAuthority()

    def _redis_commands(self, config: Config, give_way: GiveWay) -> RedisCommands:
        from .access.redis_commands import RedisCommands  # loads redis

        return RedisCommands(
            host=config.redis_host,
            port=config.redis_port,
            channel=config.redis_channel,
            kill=lambda channel, stream_id: self.kills.kill(channel, stream_id, KILLED_BY_REDIS),
            block=self._block,
            log=log.get("REDIS"),
            username=config.redis_username,
            password=config.redis_password,
            database=config.redis_database,
            tls=config.redis_tls,
            ca=config.redis_ca,
            give_way=give_way,
            max_channel_bytes=config.id_max_length,
        )


def connection_limits(config: Config) -> ConnectionLimits:
    """Return how many connections there may be."""
    return ConnectionLimits(
        config.max_ip_concurrent_connections,
        config.concurrent_limit_whitelist,
        config.max_connections,
        per_address_variables="MAX_IP_CONCURRENT_CONNECTIONS, CONCURRENT_LIMIT_WHITELIST",
        total_variable="MAX_CONNECTIONS",
    )


def longest_answer_s(config: Config) -> float:
    """Return what the authority may take at most for an answer; it refuses then."""
    if config.control_use:
        return 2.0 * config.control_request_timeout_seconds  # it may have to be connected to first
    return float(config.callback_timeout_seconds) if config.callback_url else 0.0


def callback_hooks(config: Config, give_way: GiveWay) -> CallbackHooks | None:
    """Return who is asked about connections and players, None for nobody. Each process has its own."""
    if not config.callback_used:
        return None
    from .access.callback_hooks import CallbackHooks

    sender, kinds = callback_sender(config, give_way), callback_kinds(config)
    update_s = float(config.callback_update_seconds)
    return CallbackHooks(sender, log=log.get("CALLBACK"), kinds=kinds, update_s=update_s)


def callback_kinds(config: Config) -> frozenset[str]:
    """Return the events that the callback is told."""
    return frozenset(config.callback_events.split(","))


def callback_sender(config: Config, give_way: GiveWay) -> Sender:
    """Return the way to the callback, in the form that is set."""
    from .access.callback_sender import Sender  # loads requests

    return Sender(
        config.callback_url,
        _form(config),
        log=log.get("CALLBACK"),
        give_way=give_way,
        connect_timeout_s=float(config.callback_connect_timeout_seconds),
        timeout_s=float(config.callback_timeout_seconds),
        ca=config.callback_ca,
    )


def _form(config: Config) -> Form:
    if config.callback_format == "nginx":
        from .access.form_nginx import NginxForm

        return NginxForm()
    if config.callback_format == "srs":
        from .access.form_srs import SrsForm

        return SrsForm(config.rtmp_host or socket.gethostname())
    if config.callback_format == "mediamtx":
        from .access.form_mediamtx import MediaMtxForm

        return MediaMtxForm()
    from .access.form_jwt import JwtForm  # loads PyJWT

    wide = callback_kinds(config) != {"start", "stop"}
    return JwtForm(
        config.jwt_secret, config.custom_jwt_subject, config.rtmp_host, config.rtmp_port, wide=wide
    )
