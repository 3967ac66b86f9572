"""Attacks by those whom the server trusts: callback server, control server and Redis; see `services`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from time import monotonic

from .attacker import Attack
from .cases import Case, Surroundings, add
from .services import CALLBACK_S
from .wire import Closed

CALLBACK = Surroundings(service="callback")
CONTROL = Surroundings(service="control")
REDIS = Surroundings(service="redis")
ALLOWANCE_S = 1.5  # a busy machine's, on top of the deadline

CALLBACK_MODES = {
    "continue": "answers with 100 Continue without end",
    "headers": "answers with headers without end",
    "drip": "answers with a byte now and then",
    "body": "accepts, with a body without end",
}
CONTROL_MODES = {
    "kills": "sends small STREAM-KILLs of streams that do not exist",
    "pings": "sends pings",
    "pongs": "sends pongs that nobody asked for",
    "empty": "sends empty frames",
    "fragments": "sends one message in fragments without end",
    "accepts": "sends accepts of requests that were not made",
    "denies": "sends denials of requests that were not made",
    "not_utf8": "sends text that is no UTF-8",
    "binary": "sends binary frames",
    "long_texts": "sends texts of a megabyte",
}
REDIS_MODES = {
    "bulk": "sends a command of two gigabytes",
    "commands": "sends commands for channels that do not exist",
    "line": "sends a line without end",
    "nested": "sends arrays in arrays without end",
    "elements": "sends an array of a thousand million numbers",
}


def ask_to_publish(this: Attack) -> None:
    """Publish, while the callback server is hostile: an answer must come, or the deadline must fire."""
    began = monotonic()
    with suppress(Closed, TimeoutError):  # refused, or left without an answer for too long
        this.publisher()
    took_s = monotonic() - began
    if took_s > CALLBACK_S + ALLOWANCE_S:
        this.complain(f"a publisher waited {took_s:.1f} s, the callback's deadline is {CALLBACK_S} s")


def _list(
    name: str, around: Surroundings, modes: dict[str, str], do: Callable[[Attack], None] | None
) -> None:
    for mode, what in modes.items():
        add(Case(f"{around.service}_{mode}", f"{name} {what}.", do, around, mode,
                 attack_s=CALLBACK_S + 1 if do else 1.5))  # fmt: skip


def ask_again_and_again(this: Attack) -> None:
    """Publish and leave, eight side by side, so that the callback server is asked and told all the time."""
    this.together(8, lambda: this.publisher().close())


add(Case("callback_asked_too_often", str(ask_again_and_again.__doc__), ask_again_and_again, CALLBACK))
_list("The callback server", CALLBACK, CALLBACK_MODES, ask_to_publish)
_list("The control server", CONTROL, CONTROL_MODES, None)
_list("Redis", REDIS, REDIS_MODES, None)
