"""Every setting of the server, each declared with its default, unit, range and meaning.

`docs/settings.md` and `config/example.env` are generated from this table (`scripts/settings_doc.py`).
The variable of a field is its name in upper case. Reading the texts is the business of `settings`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rtmpsrv import memory, same_port
from rtmpsrv.access.ip_rules import IpRules
from rtmpsrv.advice import between, conflicts
from rtmpsrv.environment import load_environment
from rtmpsrv.errors import ConfigError
from rtmpsrv.groups import (
    ACCESS,
    API,
    CALLBACK,
    CONTROL,
    LISTEN,
    LOGS,
    PROCESSES,
    REDIS,
    STREAMS,
    TIMES,
    TLS,
    TOKENS,
    given_in,
    read_all,
)
from rtmpsrv.http_settings import HttpSettings
from rtmpsrv.misspelt import misspelt
from rtmpsrv.settings import Kind, Reader, display, setting, settings_of

NUMBER, SWITCH, TEXT, ADDRESS = Kind.NUMBER, Kind.SWITCH, Kind.TEXT, Kind.ADDRESS
URL, CHOICE, IP_RULES, HEADER = Kind.URL, Kind.CHOICE, Kind.IP_RULES, Kind.HEADER
CHOICES = Kind.CHOICES

NOBODY = IpRules()
MIB = 1024 * 1024
HOUR = 3600  # seconds
PORT = {"low": 1, "high": 65535}


@dataclass(frozen=True, slots=True, repr=False)
class Config(HttpSettings):
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
    proxy_protocol_from: IpRules = setting(LISTEN, IP_RULES, NOBODY,
        "Addresses of proxies that send the PROXY protocol (1 or 2), on all ports but that of the API: the "
        "client's address is the one they tell. Theirs without it are refused, and others that send it.")

    max_connections: int = setting(ACCESS, NUMBER, 10000,
        "Connections at one time, all addresses together, viewers by HTTP among them. More are closed at "
        "once. By HTTP there may be as many besides that do not watch, up to a fifth of the descriptors; "
        "idle ones make room.", low=1, high=1_000_000)
    max_ip_concurrent_connections: int = setting(ACCESS, NUMBER, 4,
        "Connections at one time from one address (IPv6: from one /64), RTMP, RTMPS and viewers by HTTP "
        "together. 0 admits only CONCURRENT_LIMIT_WHITELIST.")
    concurrent_limit_whitelist: IpRules = setting(ACCESS, IP_RULES, NOBODY,
        "Addresses that MAX_IP_CONCURRENT_CONNECTIONS does not apply to, nor the 64 connections of HTTP that "
        "others may have.")
    rtmp_play_whitelist: IpRules = setting(ACCESS, IP_RULES, NOBODY,
        "Addresses that may play. Empty: everybody. What PLAY_ACCESS asks for is needed in any case.",
        aliases=("PLAY_ALLOWED_FROM",))
    url_layout: str = setting(ACCESS, CHOICE, "channel-key",
        "What follows the host in a URL: `channel-key` is the channel, then the stream key; `app-stream` is "
        "the channel alone, in two parts or more, as with nginx-rtmp, SRS and MediaMTX.",
        choices=("channel-key", "app-stream"))
    id_max_length: int = setting(ACCESS, NUMBER, 128,
        "Longest channel name and stream key, counted in UTF-8.", unit="bytes")
    id_allow_empty: bool = setting(ACCESS, SWITCH, False,
        "Whether channel name and stream key may be empty.")
    id_allow_special_characters: bool = setting(ACCESS, SWITCH, False,
        "Whether they may hold any character but `>`, `|` and line feed. "
        "NO: only letters, digits, `-` and `_`.")

    publish_access: str = setting(ACCESS, CHOICE, "open",
        "What a publisher must show, besides what a callback or control server asks: `open` is nothing, "
        "`key` is a key of CHANNELS_FILE, `token` is a signed token, `login` is a user's name and password.",
        choices=("open", "key", "token", "login"))
    play_access: str = setting(ACCESS, CHOICE, "key",
        "What a player must show: `key` is the publisher's key, `open` is nothing, `token` is a signed "
        "token.", choices=("key", "open", "token"))

    channels_file: str = setting(ACCESS, TEXT, "",
        "File with keys and limits of channels (TOML). It is read again when it changes.")

    token_secret: str = setting(TOKENS, TEXT, "", "Secret (HS256) that signs tokens.", secret=True)
    token_jwks_url: str = setting(TOKENS, URL, "",
        "Where the public keys (RS256, ES256) for tokens are fetched, a JSON Web Key Set.",
        choices=("https", "http"))
    token_jwks_file: str = setting(TOKENS, TEXT, "",
        "File with such a set. It is read again when it changes.")

    second_publisher: str = setting(STREAMS, CHOICE, "refuse",
        "A second publisher with key, user or token subject of the one on the air: `refuse`; `stalled`, it "
        "takes over if that has sent nothing for 3 seconds; `takeover`, it always does. Players stay.",
        choices=("refuse", "stalled", "takeover"))
    reconnect_seconds: int = setting(STREAMS, NUMBER, 0,
        "How long players are kept for a publisher that comes back.", unit="seconds", high=HOUR)

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
    handover_timeout_seconds: int = setting(TIMES, NUMBER, 30,
        "Time for a new process to be ready after SIGUSR2; then this one goes on.",
        unit="seconds", low=1, high=HOUR)
    linger_seconds: int = setting(TIMES, NUMBER, 3600,
        "How long a process that has a successor serves what could not move, such as RTMPS.",
        unit="seconds", high=24 * HOUR)

    ssl_port: int = setting(TLS, NUMBER, 443, "Port for RTMPS.", **PORT)
    ssl_bind_address: str = setting(TLS, ADDRESS, "0.0.0.0",
        "Address to listen on for RTMPS.", default_text="BIND_ADDRESS")
    ssl_cert: str = setting(TLS, TEXT, "",
        "File with the certificate chain (PEM). RTMPS is on when both files are given.")
    ssl_key: str = setting(TLS, TEXT, "", "File with the private key (PEM).")
    ssl_check_reload_seconds: int = setting(TLS, NUMBER, 60,
        "How often the two files are looked at for a renewed certificate. 0: only at SIGHUP.", unit="seconds")

    callback_url: str = setting(CALLBACK, URL, "",
        "Asked before a publisher is accepted, told when it ends. Empty: every key may publish. "
        "Not used with CONTROL_USE=YES.", choices=("http", "https"))
    callback_format: str = setting(CALLBACK, CHOICE, "jwt",
        "Whose callbacks the backend understands: `jwt` are those of rtmp-server-rs.",
        choices=("jwt", "nginx", "srs", "mediamtx"))
    callback_events: str = setting(CALLBACK, CHOICES, "start,stop",
        "What it is asked and told. `update` goes out every CALLBACK_UPDATE_SECONDS for each publisher and "
        "player, and may end it.", choices=("connect", "start", "stop", "play", "play_stop", "update",
        "record_done"),
        default_text="`start,stop`; `start` with CALLBACK_FORMAT=mediamtx, which knows no end")
    callback_update_seconds: int = setting(CALLBACK, NUMBER, 30,
        "How often `update` is told, if it is.", unit="seconds", low=1, high=24 * HOUR)
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
    redis_port: int = setting(REDIS, NUMBER, 6379, "Its port.", **PORT)
    redis_username: str = setting(REDIS, TEXT, "", "User name, if Redis has users.")
    redis_password: str = setting(REDIS, TEXT, "", "Password, if it wants one.", secret=True)
    redis_database: int = setting(REDIS, NUMBER, 0, "Number of the database to select.",
        high=65535)
    redis_channel: str = setting(REDIS, TEXT, "rtmp_commands", "Pub/Sub channel to listen to.")
    redis_tls: bool = setting(REDIS, SWITCH, False, "Whether to use TLS.")
    redis_ca: str = setting(REDIS, TEXT, "",
        "File with certificates (PEM) to trust, besides those of the system.")

    control_use: bool = setting(CONTROL, SWITCH, False,
        "Whether a control server decides who may publish. Turns the callback off.")
    control_base_url: str = setting(CONTROL, URL, "",
        "Where it is; `ws/control/rtmp` is added to the path.",
        choices=("ws", "wss"))
    control_secret: str = setting(CONTROL, TEXT, "", "Secret (HS256) that signs the token shown to it.",
        secret=True)
    control_ca: str = setting(CONTROL, TEXT, "",
        "File with certificates (PEM) to trust for `wss`, besides those of the system.")
    control_request_timeout_seconds: int = setting(CONTROL, NUMBER, 20,
        "Time for its answer; then the publisher is refused.", unit="seconds", low=1, high=HOUR)
    external_ip: str = setting(CONTROL, HEADER, "",
        "Address under which others reach this server, told to the control server.")
    external_port: str = setting(CONTROL, HEADER, "", "Port under which others reach it.")
    external_ssl: bool = setting(CONTROL, SWITCH, False, "Whether others reach it by RTMPS.")

    api_bind_address: str = setting(API, ADDRESS, "127.0.0.1",
        "Address for API, metrics and page. Any but one of this machine itself needs API_TOKEN or API_USERS.")
    api_port: int = setting(API, NUMBER, 9997,
        "Their port; 0: none. Needs the extra `web`: without it there are none, and the server refuses to "
        "start where this or API_BIND_ADDRESS is set. Nothing is loaded before the first client.", high=65535)
    api_token: str = setting(API, TEXT, "",
        "What must be shown to them: `Authorization: Bearer TOKEN`, or as any name's password.", secret=True)
    api_users: str = setting(API, TEXT, "",
        "Who may see and use them, instead: `name:password`, several with commas.", secret=True)
    api_tls: bool = setting(API, SWITCH, False, "Whether they use TLS, with SSL_CERT and SSL_KEY.")
    metrics_per_channel: bool = setting(API, SWITCH, False,
        "Whether metrics tell of each channel, too: as many series as there are names.")

    workers: int = setting(PROCESSES, NUMBER, 1,
        "How many processes serve. Above 1 a manager starts them, which needs gunicorn: the extra `workers`.",
        low=1, high=256)
    spread_players: int = setting(PROCESSES, NUMBER, 300,
        "With more players than this of one channel in one worker, others of them stay in theirs.",
        unit="players", low=1)
    run_dir: str = setting(PROCESSES, TEXT, "",
        "Directory for what the processes tell each other. Made with mode 0700; one that belongs to another "
        "user or is open to others is refused.",
        default_text="`rtmpsrv-RTMP_PORT` in `XDG_RUNTIME_DIR`, else in `/run`, else with the user's number "
        "in the directory of temporary files")
    pid_file: str = setting(PROCESSES, TEXT, "",
        "File that always holds the number of the process to signal.")

    log_format: str = setting(LOGS, CHOICE, "text",
        "The form of lines: `text`, or `json`, one object each.", choices=("text", "json"))
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
    given: frozenset[str] = field(default=frozenset(), compare=False)  # variables that are set, not empty

    @classmethod
    def start(cls, *, again: bool = False) -> tuple[Config, list[str]]:
        """Read the settings of this process, `.env` included; see `load` and `load_environment`."""
        environ, lines = load_environment(again=again)
        try:
            config, warnings = cls.load(environ)
        except ConfigError as exc:
            raise ConfigError(exc.problems, lines + exc.warnings) from None
        return config, lines + warnings

    @classmethod
    def load(cls, environ: Mapping[str, str], *, memory_bytes: int | None = None) -> tuple[Config, list[str]]:
        """Read all settings; give them and the warnings to print.

        `memory_bytes` stands in for the memory of this machine. Raises ConfigError with all problems at once.
        """
        reader = Reader(environ)
        memory_bytes = memory.available_bytes() if memory_bytes is None else memory_bytes
        # Twice: which settings are in use shows only when all are read.
        values = read_all(Reader(environ), SETTINGS, memory_bytes)
        values = read_all(reader, SETTINGS, memory_bytes, judged_by=values)
        if values["msg_buffer_size"] == 0:
            reader.warnings.append("MSG_BUFFER_SIZE=0 is raised to 1")
            values["msg_buffer_size"] = 1
        config, spared = same_port.without_spare(cls(**values, given=given_in(environ, SETTINGS)))
        reader.warnings += spared
        reader.problems += conflicts(config)
        refused = [problem.partition(":")[0] for problem in reader.problems]
        advice = [one for one in between(config) if not any(name in one for name in refused)]
        warnings = [*reader.warnings, *misspelt(environ, KNOWN), *advice]
        if reader.problems:
            raise ConfigError(reader.problems, warnings)
        return config, warnings

    @property
    def tls_enabled(self) -> bool:
        """True when both files of RTMPS are given; one alone is ignored."""
        return bool(self.ssl_cert and self.ssl_key)

    @property
    def callback_used(self) -> bool:
        """True when the callback is asked about publishers."""
        return bool(self.callback_url) and not self.control_use

    @property
    def tokens_used(self) -> bool:
        """True when publishers or players show signed tokens."""
        return "token" in (self.publish_access, self.play_access)

    @property
    def tokens_given(self) -> bool:
        """True when there is something to check tokens with, and may be a reason to."""
        given = self.token_secret or self.token_jwks_url or self.token_jwks_file
        return bool(given) and (self.tokens_used or bool(self.channels_file))

    @property
    def play_policy(self) -> str:
        """Say for the start-up log who may play."""
        rules = self.rtmp_play_whitelist
        who = "every address" if rules.empty or rules.everything else f"only {rules}"
        return f"{who} may play ({_NEEDED[self.play_access]})"

    def __repr__(self) -> str:
        return f"Config({', '.join(f'{name}={value}' for name, value in effective_settings(self))})"


_NEEDED = {
    "key": "the stream key is needed",
    "open": "no key is needed",
    "token": "a token is needed",
}

SETTINGS = settings_of(Config)
KNOWN = {name.upper() for name in SETTINGS} | {alias for one in SETTINGS.values() for alias in one.aliases}


def effective_settings(config: Config) -> list[tuple[str, str]]:
    """List every variable with the value in force, as text, secrets masked."""
    return [(name.upper(), display(getattr(config, name), described)) for name, described in SETTINGS.items()]


def texts_of(config: Config) -> dict[str, str]:
    """Return variables with their texts, secrets as they are: for a process with the same settings."""
    texts = {name.upper(): getattr(config, name) for name in SETTINGS}
    switches = {True: "YES", False: "NO"}
    return {
        name: switches[value] if isinstance(value, bool) else str(value)
        for name, value in texts.items()
        if str(value)
    }
