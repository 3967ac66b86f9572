"""The list of attacks: what each needs of the server, how it is done, and what is judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .verdict import EVERYTHING, Over

if TYPE_CHECKING:
    from .attacker import Attack

ATTACK_S = 1.2  # seconds, of the short version
LONG_ATTACK_S = 10.0
OPEN_FILES = 2000  # the server's limit of descriptors: few enough to be used up by an attack that can

Do = Callable[["Attack"], None]


@dataclass(frozen=True)
class Surroundings:
    """The server's settings, limits and trusted peers; cases with equal ones may share a server."""

    settings: tuple[tuple[str, str], ...] = ()
    service: str = ""  # one of `services`
    descriptors: int = OPEN_FILES
    file_bytes: int = 0  # longest file the server may write; 0 is no limit
    log_is_read: bool = True


PLAIN = Surroundings()


@dataclass(frozen=True)
class Case:
    """One attack."""

    name: str
    says: str
    do: Do | None
    around: Surroundings = PLAIN
    mode: str = ""  # what the service turns to
    attack_s: float = ATTACK_S
    long_attack_s: float = LONG_ATTACK_S
    judged: frozenset[Over] = EVERYTHING
    pauses: bool = False  # the process is stopped meanwhile
    not_logged: str = ""  # a pattern that no line may hold
    must_end: bool = False  # SIGTERM must be heard in the end, with the log as it is


CASES: dict[str, Case] = {}


def add(case: Case) -> None:
    """Put a case on the list; a name that is taken is an error."""
    if case.name in CASES:
        raise ValueError(f"two attacks are called {case.name}")
    CASES[case.name] = case


def attack(
    around: Surroundings = PLAIN,
    *,
    attack_s: float = ATTACK_S,
    judged: frozenset[Over] = EVERYTHING,
    not_logged: str = "",
    must_end: bool = False,
) -> Callable[[Do], Do]:
    """Put a function on the list under its own name; its docstring says what the attacker does."""

    def put(do: Do) -> Do:
        says = (do.__doc__ or "").strip().splitlines()[0]
        case = Case(do.__name__, says, do, around, attack_s=attack_s, judged=judged)
        add(replace(case, not_logged=not_logged, must_end=must_end))
        return do

    return put
