"""The groups of settings: which of them are in use, and defaults that depend on other settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rtmpsrv.settings import Reader, Setting

LISTEN = "Listening and protocol"
ACCESS = "Who may connect, publish and play"
TOKENS = "Signed tokens of publishers and players"
STREAMS = "Streams and players"
TIMES = "Deadlines"
TLS = "TLS (RTMPS)"
CALLBACK = "HTTP callback"
REDIS = "Redis"
CONTROL = "Control server"
API = "Admin side: API, metrics and page"
HTTP = "Viewers by HTTP"
RECORD = "Recordings"
PROCESSES = "Processes"
LOGS = "Logging"

MIB = 1024 * 1024

# Defaults that depend on other settings. Each is computed from the values read before it.
_COMPUTED_DEFAULTS: dict[str, Callable[[dict[str, Any]], object]] = {
    "gop_cache_total_mb": lambda values: max(values["memory_bytes"] // 4 // MIB, 1),
    "gop_cache_mode": lambda values: "stream" if values["control_use"] else "gop",
    "ssl_bind_address": lambda values: values["bind_address"],
    "callback_events": lambda values: "start" if values["callback_format"] == "mediamtx" else "start,stop",
    "log_trace": lambda values: values["log_debug"],
}


# What decides whether others are in use, and what the reference server judges in any case.
_ALWAYS_JUDGED = {"control_use", "redis_use", "ssl_cert", "ssl_key", "ssl_port"}
# By group: whether a setting of it is in use. Of other groups all are.
_IN_USE: dict[str, Callable[[str, dict[str, Any]], object]] = {
    TLS: lambda name, values: values["ssl_cert"] and values["ssl_key"],
    CALLBACK: lambda name, values: (
        not values["control_use"] and (name == "callback_url" or values["callback_url"])
    ),
    REDIS: lambda name, values: values["redis_use"],
    CONTROL: lambda name, values: values["control_use"],
    API: lambda name, values: name == "api_port" or values["api_port"],
    HTTP: lambda name, values: name == "http_port" or values["http_port"],
}
# Parts that the reference server does not have: what cannot be read there is an error, since a default may
# leave a door open that the operator means to be shut.
_STRICT = frozenset({TOKENS, API, HTTP, RECORD, PROCESSES})


def read_all(
    reader: Reader,
    settings: Mapping[str, Setting],
    memory_bytes: int,
    *,
    judged_by: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Read all settings; with the values of a first reading, only those in use are judged."""
    values: dict[str, Any] = {"memory_bytes": memory_bytes}
    plain = [name for name in settings if name not in _COMPUTED_DEFAULTS]
    for name in (*plain, *_COMPUTED_DEFAULTS):
        described = settings[name]
        compute = _COMPUTED_DEFAULTS.get(name)
        default = described.default if compute is None else compute(values)
        in_use = _IN_USE.get(described.group)
        judged = judged_by is None or name in _ALWAYS_JUDGED or in_use is None or in_use(name, judged_by)
        strict = described.group in _STRICT
        values[name] = reader.read(name, described, default, judged=bool(judged), strict=strict)
    del values["memory_bytes"]
    return values


def given_in(environ: Mapping[str, str], settings: Mapping[str, Setting]) -> frozenset[str]:
    """Return the variables that somebody has set, by the names of the settings."""
    return frozenset(
        name.upper()
        for name, described in settings.items()
        if any(environ.get(one) for one in (name.upper(), *described.aliases))
    )
