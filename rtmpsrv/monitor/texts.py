"""Texts of clients as they may be shown: short, of characters that exist, without secrets. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, Protocol
from urllib.parse import unquote

MAX_TEXT: Final = 256  # characters
MAX_REASON: Final = 200
MIN_SECRET: Final = 4  # characters of a value in a query: shorter ones are in any text


class Asked(Protocol):
    @property
    def name(self) -> str | None: ...


class Shown(Protocol):
    """A client, as far as it has said what it wants."""

    app: str
    app_query: str

    @property
    def to_publish(self) -> Asked: ...
    @property
    def to_play(self) -> Asked: ...


def clean(text: object, limit: int = MAX_TEXT) -> str:
    """Return a text, cut; "" for what is none."""
    if not isinstance(text, str):
        return ""
    cut = text[:limit]
    return cut if cut.isascii() else cut.encode("utf-8", "replace").decode()


def one_line(text: object) -> str:
    """Return a reason that somebody gives: without characters that move the cursor of a terminal."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in clean(text, MAX_REASON))


def bare_url(text: object) -> str:
    """Return a URL without user, password, query and fragment; of one of RTMP the app only, not the key."""
    url = clean(text).partition("?")[0].partition("#")[0]
    if not url:
        return ""
    scheme, mark, rest = url.partition("://")
    if not mark:
        return url
    host, slash, path = rest.partition("/")
    if "@" in path and not host.rpartition(":")[2].isdigit() and ":" in host:
        return f"{scheme}://"  # a password with a slash in it
    if scheme.lower().startswith("rtmp"):
        path = path.partition("/")[0]
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def secrets_of(client: Shown, *, names_are_keys: bool) -> set[str]:
    """Return what a client has shown that nobody else may see."""
    found = set()
    if names_are_keys:
        found |= {part for part in client.app.split("/")[1:] if part}  # it was written into the wrong field
    for asked in (client.to_publish, client.to_play):
        name, _mark, query = (asked.name or "").partition("?")
        if names_are_keys and name:
            found.add(name)
        if query:
            found |= _values(query)
    return found | _values(client.app_query) if client.app_query else found


def without(secrets: Collection[str], text: str) -> str:
    """Return a text, or nothing where one of the secrets is in it."""
    if not text:
        return ""
    plain = unquote(text) if "%" in text else text
    for secret in secrets:
        if secret in text or secret in plain:
            return ""
    return text


def _values(query: str) -> set[str]:
    pairs = [pair.partition("=") for pair in query.replace("?", "&").split("&")[:64]]
    return {
        value or name for name, _mark, value in pairs if len(value or name) >= MIN_SECRET and name != "user"
    }
