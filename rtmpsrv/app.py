"""The stand-alone server put together, and its life: start, serve, drain, stop. The only composer."""

from __future__ import annotations

import resource
from itertools import count

import gevent
from gevent.event import Event

from . import __version__, log
from .access.gate import Authority, Gate, OpenAuthority
from .access.limits import ConnectionLimits
from .config import Config
from .live.channel import LiveLimits
from .live.registry import Registry
from .relay import IdRules, Relay, play_policy
from .server.clock import LoopClock, ReadPacer
from .server.listener import Listener
from .server.session import SessionSettings

MIB = 1 << 20


class App:
    """One stand-alone server process."""

    def __init__(self, config: Config) -> None:
        self.log = log.get()
        self._config = config
        self._stopping = Event()
        self.registry: Registry[str] = Registry(
            LoopClock(), live_limits(config), config.gop_cache_total_mb * MIB, config.rtmp_chunk_size
        )
        self.gate = Gate(self._authority(config))
        self.relay = Relay(
            self.registry,
            self.gate,
            IdRules(config.id_max_length, config.id_allow_empty, config.id_allow_special_characters),
            play_policy(config.rtmp_play_whitelist),
        )
        self._slots = ConnectionLimits(
            config.max_ip_concurrent_connections, config.concurrent_limit_whitelist, config.max_connections
        )
        # With MSG_BUFFER_SIZE=1 the operator asked for the lowest latency: reads are not merged either.
        self._pacer = ReadPacer(enabled=config.msg_buffer_size > 1)
        self._numbers = count(1)
        self.listeners: list[Listener] = []

    def start(self) -> None:
        """Open the ports. Raises OSError when the plain port cannot be bound."""
        config = self._config
        self.log.info("RTMP server rtmpsrv (%s)", __version__)
        self.log.info("Play policy: %s", config.play_policy)
        raise_descriptor_limit()
        listener = Listener(
            config.bind_address, config.rtmp_port, self.relay, session_settings(config), self._slots,
            self._pacer, self._numbers,
        )  # fmt: skip
        listener.start()
        self.listeners.append(listener)

    def run(self) -> None:
        """Serve until `stop` was asked for, then drain. Blocks."""
        self._stopping.wait()
        self._drain()

    def stop(self) -> None:
        """Ask `run` to end. Never blocks; may be called from a signal handler."""
        self._stopping.set()

    def _authority(self, config: Config) -> Authority:
        return OpenAuthority()

    def _drain(self) -> None:
        """Stop accepting, end publications so that players are told, wait for all, bounded."""
        timeout_s = float(self._config.drain_timeout_seconds)
        self.log.info("Shutting down, %d connections", sum(len(one.sessions) for one in self.listeners))
        with gevent.Timeout(timeout_s, False):
            for listener in self.listeners:
                listener.close()
            for listener in self.listeners:
                listener.end_publications("server is shutting down")
        over = all([listener.stop_sessions("server is shutting down", timeout_s) for listener in self.listeners])
        reported = self.gate.close(timeout_s)
        self.log.info("Stopped%s", "" if over and reported else ", not everything ended in time")


def live_limits(config: Config) -> LiveLimits:
    """Return the bounds of channels."""
    return LiveLimits(
        cache_bytes=config.gop_cache_size_mb * MIB,
        keep_stream=config.gop_cache_mode == "stream",
        merge_messages=config.msg_buffer_size,
        lag_bytes=config.player_max_lag_mb * MIB,
        lag_s=float(config.player_max_lag_seconds),
    )


def session_settings(config: Config) -> SessionSettings:
    """Return the bounds of sessions."""
    return SessionSettings(
        chunk_size=config.rtmp_chunk_size,
        handshake_s=float(config.handshake_timeout_seconds),
        setup_s=float(config.setup_timeout_seconds),
        idle_s=float(config.idle_timeout_seconds),
        ping_s=float(config.ping_interval_seconds),
        stall_s=float(config.player_stall_seconds),
        message_bytes=min(config.max_message_mb * MIB, 0xFFFFFF),
    )


def raise_descriptor_limit() -> None:
    """Allow as many descriptors as the system lets us have: connections and log segments need them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
