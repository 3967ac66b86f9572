"""What a question to the API says beside its path: pages, seconds, reasons, places among events. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, Protocol, TypeVar

from rtmpsrv.access.blocks import MAX_BLOCK_S as MAX_BLOCK_S

ITEMS: Final = 100  # on a page, as MediaMTX has it
MAX_ITEMS: Final = 1_000
MAX_REASON: Final = 200  # characters
MAX_DIGITS: Final = 9
MAX_PLACES: Final = 256
NOT_GIVEN: Final = -1
ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
PLACE: Final = r"([0-9A-Za-z_.-]{1,64}:)?[0-9]{1,15}"
AFTER: Final = re.compile(rf"{PLACE}(,{PLACE}){{0,{MAX_PLACES - 1}}}", re.ASCII)

Item = TypeVar("Item")


class Refused(Exception):
    """There is no answer but this status and sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


class Arguments(Protocol):
    """A query, taken apart."""

    def getlist(self, key: str) -> list[str]:
        """Return each value that was given under this name."""


def page_of(items: Sequence[Item], arguments: Arguments) -> tuple[list[Item], int]:
    """Return the page that is asked for, and how many there are. Raises Refused."""
    per_page = whole_number(arguments, "itemsPerPage", ITEMS)
    page = whole_number(arguments, "page", 0)
    if not per_page:
        raise Refused(400, "invalid itemsPerPage")
    per_page = min(per_page, MAX_ITEMS)
    return list(items[page * per_page : (page + 1) * per_page]), -(-len(items) // per_page)


def whole_number(arguments: Arguments, name: str, default: int, most: int | None = None) -> int:
    """Return a number that counts something. Raises Refused."""
    text = one(arguments, name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS):
        raise Refused(400, f"invalid {name}" + (f": a whole number, {most} at most" if most else ""))
    if most is not None and int(text) > most:
        raise Refused(400, f"invalid {name}: {most} at most")
    return int(text)


def block_and_reason(arguments: Arguments) -> tuple[float | None, str]:
    """Return for how many seconds somebody is to be kept out, None if that is not said, and why.

    Raises Refused.
    """
    block_s = whole_number(arguments, "block", NOT_GIVEN, MAX_BLOCK_S)
    reason = one(arguments, "reason") or ""
    if len(reason) > MAX_REASON:
        raise Refused(400, f"invalid reason: {MAX_REASON} characters at most")
    return None if block_s == NOT_GIVEN else float(block_s), reason


def connection_id(text: str) -> str:
    """Return the id of a connection as it is written here. Raises Refused."""
    if not ID.fullmatch(text):
        raise Refused(400, "invalid UUID")
    return text.lower()


def places(arguments: Arguments) -> dict[str, int]:
    """Return up to where each process has told its events. Raises Refused."""
    text = one(arguments, "after")
    if text is None:
        return {}
    if not AFTER.fullmatch(text):
        raise Refused(400, "invalid after")
    pairs = (place.rpartition(":") for place in text.split(","))
    return {worker: int(serial) for worker, _, serial in pairs}


def places_text(last: Mapping[str, int]) -> str:
    """Write what `places` reads."""
    return ",".join(
        f"{worker}:{serial}" if worker else str(serial) for worker, serial in sorted(last.items())
    )


def one(arguments: Arguments, name: str) -> str | None:
    """Return the value under this name, None where there is none. Raises Refused where there are more."""
    values = arguments.getlist(name)
    if len(values) > 1:
        raise Refused(400, f"{name} is given more than once")
    return values[0] if values else None
