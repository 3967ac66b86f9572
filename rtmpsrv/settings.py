"""What a setting is and how its text is read; which settings there are stands in `config`."""

from __future__ import annotations

import dataclasses
import enum
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from rtmpsrv.access.ip_rules import IpRules

UINT32_MAX = 2**32 - 1  # the largest number the reference server reads; more is not a number to it
MASK = "***"

_DIGITS = re.compile(r"\+?[0-9]+", re.ASCII)
_SWITCH_WORDS = {"YES": True, "TRUE": True, "NO": False, "FALSE": False}


class Kind(enum.Enum):
    """The ways to read a setting's text."""

    NUMBER = "number"
    SWITCH = "YES or NO"
    TEXT = "text"
    ADDRESS = "address"
    URL = "URL"
    CHOICE = "choice"
    CHOICES = "choices"
    IP_RULES = "addresses"
    HEADER = "ASCII text"


class Unparsable(ValueError):
    """The text is not of the setting's kind: the default is used, with a WARNING, where that is allowed."""


class NotAllowed(ValueError):
    """The text was read, but its value is refused: the server does not start."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Everything there is to know about one setting; its variable is the field's name in upper case."""

    group: str
    kind: Kind
    default: Any
    text: str
    unit: str = ""
    low: int = 0
    high: int = UINT32_MAX
    choices: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    default_text: str = ""  # for a default that depends on something else
    secret: bool = False

    @property
    def valid(self) -> str:
        """Say in a few words what may be given."""
        if self.kind is Kind.NUMBER:
            return f"{self.low} or more" if self.high == UINT32_MAX else f"{self.low}-{self.high}"
        if self.kind is Kind.CHOICE:
            return ", ".join(self.choices)
        if self.kind is Kind.CHOICES:
            return f"{', '.join(self.choices)}; several with commas"
        if self.kind is Kind.IP_RULES:
            return "`*`, or IPs and CIDRs with commas"
        return str(self.kind.value)


def setting(group: str, kind: Kind, default: object, text: str, **details: Any) -> Any:
    """Declare a dataclass field that is read from the environment."""
    described = Setting(group, kind, default, text, **details)
    return dataclasses.field(default=default, metadata={"setting": described})


def settings_of(config: type) -> dict[str, Setting]:
    """List the settings of a dataclass by field name, in the order of declaration, inherited ones last."""
    inherited = {name for base in config.__mro__[1:] for name in getattr(base, "__annotations__", {})}
    fields = sorted(dataclasses.fields(config), key=lambda field: field.name in inherited)
    described = ((field.name, field.metadata.get("setting")) for field in fields)
    return {name: one for name, one in described if one is not None}


class Reader:
    """Reads settings out of an environment and collects what is wrong with them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.warnings: list[str] = []
        self.problems: list[str] = []

    def read(
        self, name: str, described: Setting, default: Any, *, judged: bool = True, strict: bool = False
    ) -> Any:
        """Give the value of a setting, or `default` when it is unset, empty or wrong.

        What is wrong with it matters only when it is `judged`; `strict`: the server does not start with it.
        """
        variable, raw = self._find(name.upper(), described)
        if described.kind is Kind.URL:
            raw = raw.strip()  # a secret that is mounted as a file ends with its line
        if not raw:
            return default
        try:
            raw.encode()  # bytes that are not UTF-8 arrive as lone surrogates
            return _PARSERS[described.kind](raw, described)
        except (Unparsable, UnicodeEncodeError):
            if not judged:
                return default
            given = MASK if described.secret else repr(raw)
            if strict:
                self.problems.append(f"{variable}: {given} is not a valid value ({described.valid})")
                return default
            shown = display(default, described)
            self.warnings.append(
                f"{variable}={given} is not a valid value ({described.valid}); the default {shown} is used"
            )
        except NotAllowed as exc:
            if judged:
                self.problems.append(f"{variable}: {exc}")
        return default

    def _find(self, variable: str, described: Setting) -> tuple[str, str]:
        """Look up the variable, then its aliases; give the name that counts and its text."""
        raw = self._environ.get(variable, "")
        for alias in described.aliases:
            if not self._environ.get(alias):
                continue
            if raw:
                self.warnings.append(f"{alias} is ignored: it is an alias of {variable}, which is set")
            else:
                self.warnings.append(f"{alias} is an alias of {variable}; better set {variable} itself")
                variable, raw = alias, self._environ[alias]
        return variable, raw


def display(value: object, described: Setting) -> str:
    """Give a value as a setting would be written, with secrets masked; an empty one is `""`."""
    if described.secret and value:
        return MASK
    if isinstance(value, bool):
        return "YES" if value else "NO"
    if described.kind is Kind.URL:
        return masked_url(str(value)) or '""'
    return str(value) or '""'


def masked_url(url: str) -> str:
    """Hide what may be secret in a URL: user name, password, query and fragment."""
    try:
        scheme, netloc, path, query, fragment = urlsplit(url)
    except ValueError:
        return MASK
    user, at, host = netloc.rpartition("@")
    return urlunsplit((scheme, (MASK if user else "") + at + host, path, query and MASK, fragment and MASK))


def _parse_number(raw: str, described: Setting) -> int:
    if not _DIGITS.fullmatch(raw) or len(raw) > len("+4294967295") or int(raw) > UINT32_MAX:
        raise Unparsable
    value = int(raw)
    if not described.low <= value <= described.high:
        raise NotAllowed(f"{value} is outside {described.low}-{described.high}")
    return value


def _parse_switch(raw: str, described: Setting) -> bool:
    try:
        return _SWITCH_WORDS[raw.upper()]
    except KeyError:
        raise Unparsable from None


def _parse_text(raw: str, described: Setting) -> str:
    if not described.secret and not raw.isprintable():
        raise NotAllowed("control characters are not allowed")
    return raw


def _parse_header(raw: str, described: Setting) -> str:
    if not (raw.isascii() and raw.isprintable()):
        raise NotAllowed("holds characters that no HTTP header may hold")
    return raw


def _parse_address(raw: str, described: Setting) -> str:
    """Take `[::]` as well as `::`: both were accepted by the reference server."""
    text = _parse_text(raw, described)
    try:
        text.encode("idna")  # what looking it up would do, and fail with another error than for unknown names
    except UnicodeError:
        raise NotAllowed("neither an address nor a host name") from None
    return text[1:-1] if text.startswith("[") and text.endswith("]") else text


def _parse_url(raw: str, described: Setting) -> str:
    """Accept a URL with one of the `choices` as scheme, and a host. May hold a token: never show it."""
    expected = f"not a URL that begins with {' or '.join(f'{scheme}://' for scheme in described.choices)}"
    try:
        parts = urlsplit(_parse_text(raw, described))
    except ValueError:
        raise NotAllowed(expected) from None
    if parts.scheme not in described.choices or not parts.hostname:
        raise NotAllowed(expected)
    try:
        has_port = parts.port != 0
    except ValueError:
        has_port = False
    if not has_port:
        raise NotAllowed("a URL whose port is not a number from 1 to 65535")
    return raw


def _parse_choice(raw: str, described: Setting) -> str:
    """Refuse any other word: the default may let in whom the word was to keep out."""
    if raw.lower() not in described.choices:
        raise NotAllowed(f"{raw!r} is none of {described.valid}")
    return raw.lower()


def _parse_choices(raw: str, described: Setting) -> str:
    """Take several of the choices; they come back in the order of the declaration, with commas."""
    given = {part.strip().lower() for part in raw.split(",")}
    unknown = sorted(given.difference(described.choices))
    if unknown:
        raise NotAllowed(f"{unknown[0]!r} is none of {', '.join(described.choices)}")
    return ",".join(choice for choice in described.choices if choice in given)


def _parse_ip_rules(raw: str, described: Setting) -> IpRules:
    try:
        return IpRules.parse(raw)
    except ValueError as exc:
        raise NotAllowed(str(exc)) from None


_PARSERS: dict[Kind, Callable[[str, Setting], Any]] = {
    Kind.NUMBER: _parse_number,
    Kind.SWITCH: _parse_switch,
    Kind.TEXT: _parse_text,
    Kind.ADDRESS: _parse_address,
    Kind.URL: _parse_url,
    Kind.CHOICE: _parse_choice,
    Kind.CHOICES: _parse_choices,
    Kind.IP_RULES: _parse_ip_rules,
    Kind.HEADER: _parse_header,
}
