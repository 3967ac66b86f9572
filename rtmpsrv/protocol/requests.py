"""What clients ask of a server, decoded from their commands. Judges neither order nor names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..errors import RemoteProtocolError
from ..pickling import Reduced, by_fields
from . import commands
from .commands import Command
from .events import ConnectAsked, Event, PauseAsked, PlayAsked, PublishAsked, ReceiveAsked

# Keys of `connect` by which a client says that it knows Enhanced RTMP (E-RTMP v2, "Enhancing NetConnection").
ENHANCED_KEYS = frozenset(("fourCcList", "videoFourCcInfoMap", "audioFourCcInfoMap", "capsEx"))
# Properties of `connect` that are kept, and members of one: clients send about 15, some of them lists.
MAX_PROPERTIES = 64
# Characters of a stream name with its query, and of a mode, which are kept as long as the client stays. As
# many as one can send that was granted nothing so far: the commands of publishers may be longer.
MAX_NAME = 1 << 14


@dataclass(slots=True)
class Requests:
    """What the client asked for last, as far as answers refer to it. Names may be secret keys."""

    app: str | None = None
    object_encoding: float = 0.0
    enhanced: bool = False  # `connect` carried a key of Enhanced RTMP
    connect_transaction: float = 0.0
    publish_msid: int = 0
    play_msid: int = 0
    publish_name: str | None = field(default=None, repr=False)
    play_name: str | None = field(default=None, repr=False)

    def __reduce__(self) -> Reduced:
        return by_fields(self)

    def note(self, event: Event) -> None:
        """Remember a request that was allowed."""
        if isinstance(event, ConnectAsked):
            encoding = event.properties.get("objectEncoding")
            self.object_encoding = encoding if isinstance(encoding, float) else 0.0
            self.enhanced = not ENHANCED_KEYS.isdisjoint(event.properties)
            self.connect_transaction = event.transaction_id
            self.app = event.app
        elif isinstance(event, PublishAsked):
            self.publish_msid, self.publish_name = event.msid, event.name
        elif isinstance(event, PlayAsked):
            self.play_msid, self.play_name = event.msid, event.name

    def ends_publish(self, command: Command, msid: int) -> bool:
        """Tell whether a command that stops means the stream that was asked to be published."""
        if command.name == "FCUnpublish":
            name = commands.text(command.arguments[0]) if command.arguments else ""
            return name.partition("?")[0] == (self.publish_name or "").partition("?")[0]
        return _means(command, msid, self.publish_msid, self.publish_name)

    def ends_play(self, command: Command, msid: int) -> bool:
        """Tell whether a command that stops means the stream that was asked to be played."""
        return command.name != "FCUnpublish" and _means(command, msid, self.play_msid, self.play_name)


def decode(command: Command, msid: int) -> Event | None:
    """Return what a command asks for, None when it is no request or lacks what it is about."""
    decoder = _DECODERS.get(command.name)
    return None if decoder is None else decoder(command, msid)


def _means(command: Command, msid: int, own_msid: int, own_name: str | None) -> bool:
    if command.name == "closeStream":
        return msid == own_msid
    target = command.arguments[0] if command.arguments else None
    if isinstance(target, str):  # GStreamer names the stream instead of numbering it
        return target == own_name
    return isinstance(target, float) and target == own_msid


def _connect(command: Command, msid: int) -> Event:
    properties = command.properties if isinstance(command.properties, dict) else {}
    app = properties.get("app")
    kept = {name: value for name, value in list(properties.items())[:MAX_PROPERTIES] if _is_small(value)}
    return ConnectAsked(command.transaction_id, str(app) if isinstance(app, str) else None, kept)


def _is_small(value: object) -> bool:
    """Tell whether a property may be kept as long as the client stays: nested ones take 20 times as much."""
    members = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return len(members) <= MAX_PROPERTIES and not any(isinstance(one, (dict, list)) for one in members)


def _publish(command: Command, msid: int) -> Event:
    return PublishAsked(msid, _text(command, 0), _text(command, 1) or "")


def _play(command: Command, msid: int) -> Event:
    return PlayAsked(msid, _text(command, 0))


def _text(command: Command, number: int) -> str | None:
    """Return an argument as text, None where there is none."""
    if len(command.arguments) <= number:
        return None
    text = commands.text(command.arguments[number])
    if len(text) > MAX_NAME:
        raise RemoteProtocolError(f"{command.name} with a text of {len(text)} characters, limit {MAX_NAME}")
    return text


def _pause(command: Command, msid: int) -> Event | None:
    return PauseAsked(commands.flag(command.arguments[0])) if command.arguments else None


def _receive(command: Command, msid: int) -> Event | None:
    if not command.arguments:  # the reference turns the track off; nobody sends that
        return None
    return ReceiveAsked(command.name == "receiveAudio", commands.flag(command.arguments[0]))


_DECODERS: dict[str, Callable[[Command, int], Event | None]] = {
    "connect": _connect,
    "publish": _publish,
    "play": _play,
    "pause": _pause,
    "pauseRaw": _pause,
    "receiveAudio": _receive,
    "receiveVideo": _receive,
}
