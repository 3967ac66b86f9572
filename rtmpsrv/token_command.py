"""`rtmpsrv token`: make a signed token for publishers or players. Serves nobody."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from typing import Any

from rtmpsrv.access.names import PATHS, IdRules, Names
from rtmpsrv.advice import MIN_SECRET_BYTES
from rtmpsrv.environment import load_environment
from rtmpsrv.errors import ConfigError

DEFAULT_LIFETIME_S = 3600
ACTIONS = ("publish", "play")


def describe_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what a token may hold."""
    parser.add_argument("--channel", action="append", required=True, metavar="PATTERN",
        help="channel that it is for, such as live/alice or live/*; may be given again")  # fmt: skip
    parser.add_argument("--action", action="append", required=True, choices=ACTIONS,
        help="what it allows; may be given again")  # fmt: skip
    parser.add_argument("--seconds", type=_positive, default=DEFAULT_LIFETIME_S, metavar="N",
        help="how long it is valid; what it let in ends then (default: %(default)s)")  # fmt: skip
    parser.add_argument("--subject", default="", help="whose it is; anything")
    parser.add_argument("--max-bitrate", type=_positive, metavar="N", help="bits per second of a publisher")
    parser.add_argument("--max-seconds", type=_positive, metavar="N", help="how long one stream may last")


def make(options: argparse.Namespace) -> tuple[str, list[str]]:
    """Return a token, signed by TOKEN_SECRET, and what to warn of. Raises ConfigError without a secret."""
    environ, warnings = load_environment()
    secret = environ.get("TOKEN_SECRET", "")
    if not secret:
        raise ConfigError(["TOKEN_SECRET is not set: there is nothing to sign a token with"])
    if len(secret.encode()) < MIN_SECRET_BYTES:
        warnings.append(f"TOKEN_SECRET has less than {MIN_SECRET_BYTES} bytes: it can be guessed")
    warnings += _never(options.channel, environ.get("URL_LAYOUT", ""))
    from rtmpsrv.access.stream_tokens import make_token  # loads PyJWT

    return make_token(_claims(options, int(time.time())), secret), warnings


def _claims(options: argparse.Namespace, now: int) -> dict[str, Any]:
    limits = {"max_bitrate": options.max_bitrate, "max_seconds": options.max_seconds}
    optional = {"sub": options.subject, "limits": {name: value for name, value in limits.items() if value}}
    return {
        "iat": now,
        "exp": now + options.seconds,
        "channel": _one_or_all(options.channel),
        "action": _one_or_all(options.action),
    } | {name: value for name, value in optional.items() if value}


def _never(patterns: list[str], layout: str) -> Iterator[str]:
    """Say which patterns fit no channel, as far as the layout tells."""
    if layout.lower() in PATHS:
        names = Names(IdRules(allow_special=True), layout.lower())
        for pattern in patterns:
            if why := names.why_never(pattern):
                yield f"no channel fits {pattern}: {why}"


def _one_or_all(values: list[str]) -> str | list[str]:
    return values[0] if len(values) == 1 else values


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number
