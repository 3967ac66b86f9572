"""Run attacks, one server at a time; the command line of scripts/hostile."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable
from time import monotonic

from . import every_attack  # noqa: F401  fills the list
from .cases import CASES, Case, Surroundings
from .stand import Stand
from .verdict import Verdict

ROUNDS = 3


class Runner:
    """Keeps a server for the next attack with equal surroundings while it is unharmed. Use as a context."""

    def __init__(self, say: Callable[[str], None], *, is_long: bool = False) -> None:
        """`say` gets a line for each try."""
        self._say = say
        self._is_long = is_long
        self._stand: Stand | None = None

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def run(self, case: Case) -> Verdict:
        """Attack; where nothing but times was over, which a busy machine does too, attack once more."""
        verdict = self._try(case)
        if verdict.only_times:
            self._say(f"again {case.name}: only times were over: {verdict}")
            verdict = self._try(case)
        self._say(f"{'OVER ' if verdict.over else 'ok   '} {case.name}: {verdict}")
        return verdict

    def _try(self, case: Case) -> Verdict:
        stand = self._at(case.around)
        try:
            return stand.run(case, case.long_attack_s if self._is_long else case.attack_s)
        finally:
            if not stand.usable:
                self._close()

    def _at(self, around: Surroundings) -> Stand:
        if self._stand is None or self._stand.around != around:
            self._close()
            self._stand = Stand(around)
        return self._stand

    def _close(self) -> None:
        stand, self._stand = self._stand, None
        if stand:
            stand.close()


def in_order() -> list[str]:
    """Return the names of all attacks, those that can share a server side by side."""
    return sorted(CASES, key=lambda name: (repr(CASES[name].around), name))


def main(arguments: list[str]) -> int:
    """Do what the arguments ask for; gives the exit code, 1 when something was over a limit."""
    parser = argparse.ArgumentParser(
        prog="hostile", description="Attacks beside a stream that must not notice."
    )
    parser.add_argument("names", nargs="*", metavar="ATTACK", help="which (all)")
    parser.add_argument("--list", action="store_true", help="name them, and say what each does")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"times that all are run ({ROUNDS})")
    parser.add_argument("--short", action="store_true", help="as the tests do it, in a few seconds each")
    options = parser.parse_args(arguments)
    if options.list:
        for name in in_order():
            _print(f"{name}: {CASES[name].says}")
        return 0
    if unknown := set(options.names) - set(CASES):
        parser.error(f"no such attack: {', '.join(sorted(unknown))}")
    wanted = options.names or in_order()
    over: list[str] = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that everything started is ended
    signal.signal(signal.SIGINT, signal.default_int_handler)
    began = monotonic()
    with Runner(_print, is_long=not options.short) as runner:
        for number in range(options.rounds):
            if options.rounds > 1:
                _print(f"round {number + 1} of {options.rounds}")
            over += [name for name in wanted if runner.run(CASES[name]).over]
    _print(f"{len(wanted) * options.rounds} attacks in {monotonic() - began:.0f} s, {len(over)} over a limit")
    for name in sorted(set(over)):
        _print(f"OVER {name}: {over.count(name)} of {options.rounds}")
    return int(bool(over))


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
