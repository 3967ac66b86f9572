"""Every setting of the server, each declared with its default, unit, range and meaning.

`docs/settings.md` and `config/example.env` are generated from this table (`scripts/settings_doc.py`).
The variable of a field is its name in upper case. Reading the texts is the business of `settings`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtmpsrv import memory
from rtmpsrv.access.ip_rules import IpRules
from rtmpsrv.errors import ConfigError
from rtmpsrv.settings import Kind, Reader, display, setting, settings_of

LISTEN = "Listening and protocol"
ACCESS = "Who may connect, publish and play"
STREAMS = "Streams and players"
TIMES = "Deadlines"
TLS = "TLS (RTMPS)"
CALLBACK = "HTTP callback"
REDIS = "Redis"
CONTROL = "Control server"
LOGS = "Logging"

NUMBER, SWITCH, TEXT, ADDRESS = Kind.NUMBER, Kind.SWITCH, Kind.TEXT, Kind.ADDRESS
URL, CHOICE, IP_RULES = Kind.URL, Kind.CHOICE, Kind.IP_RULES

NOBODY = IpRules()
MIB = 1024 * 1024
HOUR = 3600  # seconds
PORT = {"low": 1, "high": 65535}


@dataclass(frozen=True, slots=True, repr=False)
class Config:
    """All settings. Read once at start by `load`; immutable; its repr masks secrets."""

    # fmt: off
    # Each entry is a table row: the formatter would spread it over one line per column.
    rtmp_port: int = setting(LISTEN, NUMBER, 1935, "Port for plain RTMP.", **PORT)
    bind_address: str = setting(LISTEN, ADDRESS, "0.0.0.0",
        "Address to listen on; `::` is IPv4 and IPv6 together.")
    rtmp_host: str = setting(LISTEN, TEXT, "",
        "Public host name of this server, told to the callback as `rtmp_host`.")
    rtmp_chunk_size: int = setting(LISTEN, NUMBER, 4096,
        "Chunk size announced to clients and used for everything sent.", unit="bytes", low=128, high=65536)
    max_message_mb: int = setting(LISTEN, NUMBER, 16,
        "Longest audio or video message accepted from a client; a longer one closes its connection.",
        unit="MiB", low=1, high=16)

    max_connections: int = setting(ACCESS, NUMBER, 10000,
        "Connections at one time, all addresses together. More are closed at once.", low=1, high=1_000_000)
    max_ip_concurrent_connections: int = setting(ACCESS, NUMBER, 4,
        "Connections at one time from one address (IPv6: from one /64), RTMP and RTMPS together. "
        "0 admits only CONCURRENT_LIMIT_WHITELIST.")
    concurrent_limit_whitelist: IpRules = setting(ACCESS, IP_RULES, NOBODY,
        "Addresses that MAX_IP_CONCURRENT_CONNECTIONS does not apply to.")
    rtmp_play_whitelist: IpRules = setting(ACCESS, IP_RULES, NOBODY,
        "Addresses that may play. Empty: everybody. The stream key is needed in any case.",
        aliases=("PLAY_ALLOWED_FROM",))
    id_max_length: int = setting(ACCESS, NUMBER, 128,
        "Longest channel name and stream key, counted in UTF-8.", unit="bytes")
    id_allow_empty: bool = setting(ACCESS, SWITCH, False,
        "Whether channel name and stream key may be empty.")
    id_allow_special_characters: bool = setting(ACCESS, SWITCH, False,
        "Whether they may hold any character but `>`, `|` and line feed. "
        "NO: only letters, digits, `-` and `_`.")

    gop_cache_size_mb: int = setting(STREAMS, NUMBER, 256,
        "Most that is kept of one channel for players that join. 0 keeps nothing: they wait for a keyframe.",
        unit="MiB")
    gop_cache_total_mb: int = setting(STREAMS, NUMBER, 1024,
        "Most that is kept of all channels together. To keep nothing, set GOP_CACHE_SIZE_MB to 0.",
        unit="MiB", low=1, default_text="a quarter of the memory of the machine or container")
    gop_cache_mode: str = setting(STREAMS, CHOICE, "gop",
        "What is kept: `gop` is everything since the last keyframe; `stream` is everything since the stream "
        "began, for a player that asks for it with `?cache=clear`.",
        choices=("gop", "stream"), default_text="`stream` with CONTROL_USE=YES, else `gop`")
    msg_buffer_size: int = setting(STREAMS, NUMBER, 8,
        "How many messages may be merged into one write to players when the server is busy. Less is lower "
        "latency, more is less CPU. 0 is raised to 1.", unit="messages")
    player_max_lag_mb: int = setting(STREAMS, NUMBER, 8,
        "A player that is further behind than this skips to the newest keyframe.",
        unit="MiB", low=1, high=4096)
    player_max_lag_seconds: int = setting(STREAMS, NUMBER, 10,
        "The same, in time.", unit="seconds", low=1, high=HOUR)

    handshake_timeout_seconds: int = setting(TIMES, NUMBER, 10,
        "Time for the whole handshake, that of TLS included.", unit="seconds", low=1, high=HOUR)
    setup_timeout_seconds: int = setting(TIMES, NUMBER, 30,
        "Time from the handshake to `publish` or `play`.", unit="seconds", low=1, high=HOUR)
    idle_timeout_seconds: int = setting(TIMES, NUMBER, 60,
        "A client that sends nothing for so long is disconnected.", unit="seconds", low=1, high=24 * HOUR)
    ping_interval_seconds: int = setting(TIMES, NUMBER, 30,
        "How often clients are pinged. Keep it below IDLE_TIMEOUT_SECONDS: players send little else "
        "than answers.", unit="seconds", low=1, high=24 * HOUR)
    player_stall_seconds: int = setting(TIMES, NUMBER, 30,
        "A player that takes no byte for so long, though there are some for it, is disconnected.",
        unit="seconds", low=1, high=HOUR)
    drain_timeout_seconds: int = setting(TIMES, NUMBER, 8,
        "Time for connections to end after SIGTERM or SIGINT.", unit="seconds", high=HOUR)

    ssl_port: int = setting(TLS, NUMBER, 443, "Port for RTMPS.", **PORT)
    ssl_bind_address: str = setting(TLS, ADDRESS, "0.0.0.0",
        "Address to listen on for RTMPS.", default_text="BIND_ADDRESS")
    ssl_cert: str = setting(TLS, TEXT, "",
        "File with the certificate chain (PEM). RTMPS is on when both files are given.")
    ssl_key: str = setting(TLS, TEXT, "", "File with the private key (PEM).")
    ssl_check_reload_seconds: int = setting(TLS, NUMBER, 60,
        "How often the two files are looked at for a renewed certificate. 0: never.", unit="seconds")

    callback_url: str = setting(CALLBACK, URL, "",
        "Asked before a publisher is accepted, told when it ends. Empty: every key may publish. "
        "Not used with CONTROL_USE=YES.", choices=("http", "https"))
    jwt_secret: str = setting(CALLBACK, TEXT, "", "Secret (HS256) that signs the tokens of callbacks.",
        secret=True)
    custom_jwt_subject: str = setting(CALLBACK, TEXT, "rtmp_event", "Subject (`sub`) of those tokens.")
    callback_ca: str = setting(CALLBACK, TEXT, "",
        "File with certificates (PEM) to trust for an `https` callback, besides those of the system.")
    callback_connect_timeout_seconds: int = setting(CALLBACK, NUMBER, 5,
        "Time to reach the callback server.", unit="seconds", low=1, high=HOUR)
    callback_timeout_seconds: int = setting(CALLBACK, NUMBER, 20,
        "Time for a whole callback; then the publisher is refused.", unit="seconds", low=1, high=HOUR)

    redis_use: bool = setting(REDIS, SWITCH, False, "Whether to take commands from Redis.")
    redis_host: str = setting(REDIS, TEXT, "127.0.0.1", "Host of the Redis server.")
    redis_port: int = setting(REDIS, NUMBER, 6379, "Its port.", only_if="redis_use", **PORT)
    redis_username: str = setting(REDIS, TEXT, "", "User name, if Redis has users.")
    redis_password: str = setting(REDIS, TEXT, "", "Password, if it wants one.", secret=True)
    redis_database: int = setting(REDIS, NUMBER, 0, "Number of the database to select.",
        only_if="redis_use", high=65535)
    redis_channel: str = setting(REDIS, TEXT, "rtmp_commands", "Pub/Sub channel to listen to.")
    redis_tls: bool = setting(REDIS, SWITCH, False, "Whether to use TLS.")
    redis_ca: str = setting(REDIS, TEXT, "",
        "File with certificates (PEM) to trust, besides those of the system.")

    control_use: bool = setting(CONTROL, SWITCH, False,
        "Whether a control server decides who may publish. Turns the callback off.")
    control_base_url: str = setting(CONTROL, URL, "",
        "Where it is; `ws/control/rtmp` is added to the path.",
        choices=("ws", "wss"), only_if="control_use")
    control_secret: str = setting(CONTROL, TEXT, "", "Secret (HS256) that signs the token shown to it.",
        secret=True)
    control_ca: str = setting(CONTROL, TEXT, "",
        "File with certificates (PEM) to trust for `wss`, besides those of the system.")
    control_request_timeout_seconds: int = setting(CONTROL, NUMBER, 20,
        "Time for its answer; then the publisher is refused.", unit="seconds", low=1, high=HOUR)
    external_ip: str = setting(CONTROL, TEXT, "",
        "Address under which others reach this server, told to the control server.")
    external_port: str = setting(CONTROL, TEXT, "", "Port under which others reach it.")
    external_ssl: bool = setting(CONTROL, SWITCH, False, "Whether others reach it by RTMPS.")

    log_error: bool = setting(LOGS, SWITCH, True, "Whether ERROR lines are printed.")
    log_warning: bool = setting(LOGS, SWITCH, True, "Whether WARNING lines are.")
    log_info: bool = setting(LOGS, SWITCH, True, "Whether INFO lines are.")
    log_debug: bool = setting(LOGS, SWITCH, False, "Whether DEBUG lines are.")
    log_trace: bool = setting(LOGS, SWITCH, False,
        "Whether TRACE lines are. YES moves the whole log from standard output to standard error.",
        default_text="LOG_DEBUG")
    log_requests: bool = setting(LOGS, SWITCH, True,
        "NO mutes all lines about single connections, at every level.")
    # fmt: on

    @classmethod
    def load(cls, environ: Mapping[str, str], *, memory_bytes: int | None = None) -> tuple[Config, list[str]]:
        """Read all settings; give them and the warnings to print.

        `memory_bytes` stands in for the memory of this machine. Raises ConfigError with all problems at once.
        """
        reader = Reader(environ)
        values: dict[str, Any] = {}
        for name, described in SETTINGS.items():
            if name not in _COMPUTED_DEFAULTS:
                checked = values[described.only_if] if described.only_if else True
                values[name] = reader.read(name, described, described.default, checked=checked)
        values["memory_bytes"] = memory.available_bytes() if memory_bytes is None else memory_bytes
        for name, compute in _COMPUTED_DEFAULTS.items():
            values[name] = reader.read(name, SETTINGS[name], compute(values))
        del values["memory_bytes"]
        if values["msg_buffer_size"] == 0:
            reader.warnings.append("MSG_BUFFER_SIZE=0 is raised to 1")
            values["msg_buffer_size"] = 1
        if reader.problems:
            raise ConfigError(reader.problems)
        config = cls(**values)
        return config, reader.warnings + _advice(config)

    @property
    def tls_enabled(self) -> bool:
        """True when both files of RTMPS are given; one alone is ignored."""
        return bool(self.ssl_cert and self.ssl_key)

    @property
    def play_policy(self) -> str:
        """Say for the start-up log who may play."""
        rules = self.rtmp_play_whitelist
        if rules.empty or rules.everything:
            return "every address may play (the stream key is needed)"
        return f"only {rules} may play (the stream key is needed)"

    def __repr__(self) -> str:
        return f"Config({', '.join(f'{name}={value}' for name, value in effective_settings(self))})"


SETTINGS = settings_of(Config)

# Defaults that depend on other settings. Each is computed from the values read before it.
_COMPUTED_DEFAULTS: dict[str, Callable[[dict[str, Any]], object]] = {
    "gop_cache_total_mb": lambda values: max(values["memory_bytes"] // 4 // MIB, 1),
    "gop_cache_mode": lambda values: "stream" if values["control_use"] else "gop",
    "ssl_bind_address": lambda values: values["bind_address"],
    "log_trace": lambda values: values["log_debug"],
}


def load_environment() -> dict[str, str]:
    """Give the environment, completed by the first `.env` in the working directory or one above it.

    A variable that is in the environment wins over the file. Raises ConfigError when there is a file that
    cannot be read.
    """
    path = _dotenv_file()
    if path is None:
        return dict(os.environ)
    from dotenv import dotenv_values  # needed by few, and it takes a tenth of the time to start

    try:
        from_file = dotenv_values(path)
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError([f"{path} cannot be read: {exc}"]) from exc
    return {name: value for name, value in from_file.items() if value is not None} | dict(os.environ)


def _dotenv_file() -> Path | None:
    """Find the first `.env` from the working directory upwards; a named pipe will do."""
    with contextlib.suppress(OSError):  # the working directory was removed, or may not be looked into
        here = Path.cwd()
        for directory in (here, *here.parents):
            path = directory / ".env"
            if path.is_file() or path.is_fifo():
                return path
    return None


def effective_settings(config: Config) -> list[tuple[str, str]]:
    """List every variable with the value in force, as text, secrets masked."""
    return [(name.upper(), display(getattr(config, name), described)) for name, described in SETTINGS.items()]


def _advice(config: Config) -> list[str]:
    """Name what is allowed but hardly meant."""
    advice = []
    if not config.jwt_secret:
        advice.append("JWT_SECRET is empty: tokens of callbacks are signed with an empty secret")
    if config.control_use and not config.control_base_url:
        advice.append("CONTROL_USE=YES without CONTROL_BASE_URL: every publisher will be refused")
    if config.ping_interval_seconds >= config.idle_timeout_seconds:
        advice.append(
            "PING_INTERVAL_SECONDS is not below IDLE_TIMEOUT_SECONDS: healthy players will be disconnected"
        )
    for name, used in (
        ("callback_ca", bool(config.callback_url) and not config.control_use),
        ("redis_ca", config.redis_use and config.redis_tls),
        ("control_ca", config.control_use),
    ):
        path = getattr(config, name)
        if used and path and not os.access(path, os.R_OK):
            advice.append(f"{name.upper()}: {path} cannot be read, every connection will fail until it can")
    return advice
