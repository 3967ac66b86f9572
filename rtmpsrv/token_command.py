"""`rtmpsrv token`: make a signed token for publishers or players. Serves nobody."""

from __future__ import annotations

import argparse
import time
from typing import Any

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


def make(options: argparse.Namespace) -> str:
    """Return a token, signed by TOKEN_SECRET. Raises ConfigError without one."""
    environ, _warnings = load_environment()
    secret = environ.get("TOKEN_SECRET", "")
    if not secret:
        raise ConfigError(["TOKEN_SECRET is not set: there is nothing to sign a token with"])
    from rtmpsrv.access.stream_tokens import make_token  # loads PyJWT

    return make_token(_claims(options, int(time.time())), secret)


def _claims(options: argparse.Namespace, now: int) -> dict[str, Any]:
    limits = {"max_bitrate": options.max_bitrate, "max_seconds": options.max_seconds}
    optional = {"sub": options.subject, "limits": {name: value for name, value in limits.items() if value}}
    return {
        "iat": now,
        "exp": now + options.seconds,
        "channel": _one_or_all(options.channel),
        "action": _one_or_all(options.action),
    } | {name: value for name, value in optional.items() if value}


def _one_or_all(values: list[str]) -> str | list[str]:
    return values[0] if len(values) == 1 else values


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number
