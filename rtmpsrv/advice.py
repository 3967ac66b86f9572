"""What is wrong with settings that are right one by one: what cannot be, and what is hardly meant.

Changes nothing.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rtmpsrv import api_settings, http_settings, record_settings, same_port

if TYPE_CHECKING:
    from rtmpsrv.config import Config

# What a format of callbacks has no word for; `access/form_*.py` have those that they know.
UNKNOWN_EVENTS = {"srs": {"update"}, "mediamtx": {"connect", "stop", "play_stop", "update", "record_done"}}
EMPTY_SECRET = "JWT_SECRET is empty: tokens of callbacks are signed with an empty secret"


MIN_SECRET_BYTES = 32  # RFC 7518, 3.2


def conflicts(config: Config) -> list[str]:
    """Name what cannot be in force together; the server does not start."""
    keys = {
        "TOKEN_SECRET": config.token_secret,
        "TOKEN_JWKS_URL": config.token_jwks_url,
        "TOKEN_JWKS_FILE": config.token_jwks_file,
    }
    given = [name for name, value in keys.items() if value]
    problems = []
    if (config.tokens_used and not given) or (config.tokens_given and len(given) > 1):
        found = " and ".join(given) or "none"
        problems.append(
            f"PUBLISH_ACCESS, PLAY_ACCESS: tokens need one of {', '.join(keys)}; given is {found}"
        )
    if config.publish_access == "key" and not config.channels_file:
        problems.append("PUBLISH_ACCESS: the keys are in CHANNELS_FILE, which is not given")
    sides = (same_port, api_settings, http_settings, record_settings)
    return problems + [problem for side in sides for problem in side.problems(config)]


def between(config: Config) -> list[str]:
    """Name what is allowed but hardly meant."""
    advice = []
    if config.callback_used and config.callback_format == "jwt" and not config.jwt_secret:
        advice.append(EMPTY_SECRET)
    unknown = UNKNOWN_EVENTS.get(config.callback_format, set()).intersection(
        config.callback_events.split(",")
    )
    if config.callback_used and unknown:
        told = ", ".join(sorted(unknown))
        advice.append(f"CALLBACK_EVENTS: {config.callback_format} has no {told}, which will not be told")
    if bool(config.ssl_cert) != bool(config.ssl_key):
        given, missing = ("SSL_CERT", "SSL_KEY") if config.ssl_cert else ("SSL_KEY", "SSL_CERT")
        advice.append(f"{given} is set but {missing} is not: there is no RTMPS")
    advice += same_port.warnings(config)
    if config.control_use and not config.control_base_url:
        advice.append("CONTROL_USE=YES without CONTROL_BASE_URL: every publisher will be refused")
    if config.tokens_given and 0 < len(config.token_secret.encode()) < MIN_SECRET_BYTES:
        advice.append(f"TOKEN_SECRET has less than {MIN_SECRET_BYTES} bytes: it can be guessed")
    if (config.url_layout, config.publish_access, config.play_access) == ("app-stream", "token", "key"):
        advice.append(
            "PUBLISH_ACCESS=token with PLAY_ACCESS=key: who publishes without a key can be watched by all"
        )
    if config.ping_interval_seconds >= config.idle_timeout_seconds:
        advice.append(
            "PING_INTERVAL_SECONDS is not below IDLE_TIMEOUT_SECONDS: healthy players will be disconnected"
        )
    advice += api_settings.in_the_clear(config)
    advice += [
        f"{name}: {path} cannot be read, every connection will fail until it can"
        for name, path in authorities(config)
        if not os.access(path, os.R_OK)
    ]
    return advice


def at_start(config: Config, warnings: list[str]) -> list[str]:
    """Return these, and the one that the reference server has whether tokens are made or not."""
    is_said = EMPTY_SECRET in warnings
    if is_said or config.jwt_secret or config.callback_format != "jwt":
        return warnings
    return [*warnings, EMPTY_SECRET]


def authorities(config: Config) -> list[tuple[str, str]]:
    """List the files of trusted certificates that are in use, each with its variable."""
    named = (
        ("CALLBACK_CA", config.callback_used, config.callback_ca),
        ("REDIS_CA", config.redis_use and config.redis_tls, config.redis_ca),
        ("CONTROL_CA", config.control_use, config.control_ca),
    )
    return [(variable, path) for variable, used, path in named if used and path]


def what_waits(changed: list[str]) -> list[str]:
    """Say which variables that were changed wait for what, in a single process that runs."""
    by_successor = ", ".join(name for name in changed if name != "WORKERS")
    told = [f"Changed, but in force after SIGUSR2 or a restart only: {by_successor}"] if by_successor else []
    return told + ["Changed, but in force after a restart only: WORKERS"] * ("WORKERS" in changed)
