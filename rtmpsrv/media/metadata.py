"""Decide what a data message (type 18 or 15) is to a relay, and keep what joiners must get of them.

Values stay as the publisher wrote them. Never raises: what does not decode is relayed and not stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import isfinite

from rtmpsrv.errors import AmfError, LocalProtocolError
from rtmpsrv.protocol import amf0

METADATA_NAME = "onMetaData"
SET_DATA_FRAME = "@setDataFrame"
CLEAR_DATA_FRAME = "@clearDataFrame"
# OBS 27 to 30.1 sends its VOD track in these, thousands of them: frames, not state to keep.
UNSTORED_NAMES = frozenset({"additionalMedia", "onExpectAdditionalMedia"})
MAX_METADATA_BYTES = 1 << 18  # kept per stream, all names together; real ones are below 8 KiB
MAX_METADATA_NAMES = 16  # real streams have one or two
# Said of a file: players take a live stream for one, and seek in it, or stop at its end.
FILE_NAMES = frozenset({"duration", "filesize", "filepositions", "keyframes", "lasttimestamp"})
# What of onMetaData an operator wants to know. No other text: it may be anything.
SHOWN_NAMES = frozenset({
    "width", "height", "framerate", "videodatarate", "videocodecid", "audiodatarate", "audiosamplerate",
    "audiosamplesize", "audiochannels", "audiocodecid", "stereo", "encoder",
})  # fmt: skip
MAX_SHOWN_BYTES = 1 << 13  # of metadata that is looked at for them
MAX_WORD = 64  # characters

_NULL = bytes([amf0.NULL])


class DataKind(Enum):
    """What to do with a data message."""

    STORE = "store"  # keep as the latest of its name for joiners, and relay
    CLEAR = "clear"  # forget what is stored under the name; do not relay
    RELAY = "relay"


@dataclass(frozen=True, slots=True)
class DataMessage:
    """A data message ready to act on; `payload` is AMF0, to be sent as type 18."""

    kind: DataKind
    name: str  # "" when the message does not begin with a string
    payload: bytes


class MetadataStore:
    """The latest data message of each name that has to be stored. Changed by the stream's publisher only."""

    def __init__(self, limit_bytes: int = MAX_METADATA_BYTES, limit_names: int = MAX_METADATA_NAMES) -> None:
        self._limit_bytes = limit_bytes
        self._limit_names = limit_names
        self._payloads: dict[str, bytes] = {}
        self._held_bytes = 0
        self._snapshot: tuple[bytes, ...] = ()

    @property
    def held_bytes(self) -> int:
        """The payload of all that is kept."""
        return self._held_bytes

    def store(self, name: str, payload: bytes) -> bool:
        """Keep a message as the latest of its name; return False when there is no room for it.

        What it replaces is forgotten either way: it is not true any more.
        """
        replaced = self._payloads.get(name)
        held = self._held_bytes - len(replaced or b"") + len(payload)
        if held > self._limit_bytes or (replaced is None and len(self._payloads) >= self._limit_names):
            self.clear(name)
            return False
        self._payloads[name] = payload
        self._held_bytes = held
        self._snapshot = tuple(self._payloads.values())
        return True

    def find(self, name: str) -> bytes | None:
        """Return what is stored under a name."""
        return self._payloads.get(name)

    def clear(self, name: str) -> None:
        """Forget what is stored under a name, if anything."""
        payload = self._payloads.pop(name, None)
        if payload is not None:
            self._held_bytes -= len(payload)
            self._snapshot = tuple(self._payloads.values())

    def to_value(self) -> dict[str, bytes]:
        """Return all that is kept, by name, for a process whose version or build may be another."""
        return dict(self._payloads)

    @staticmethod
    def from_value(value: dict[str, bytes]) -> MetadataStore:
        """Make one again that keeps the same."""
        store = MetadataStore()
        for name, payload in value.items():
            store.store(name, payload)
        return store

    def snapshot(self) -> tuple[bytes, ...]:
        """Return the payloads, in the order in which their names came first."""
        return self._snapshot


def metadata_from(payload: bytes, format_byte: bool) -> DataMessage:
    """Classify a data message; `format_byte` says that it is of type 15, which has one first.

    Metadata comes out as STORE with the name "onMetaData", wrapped in @setDataFrame or bare.
    """
    if format_byte and payload[:1] == b"\x00":  # some old stacks omit it
        payload = payload[1:]
    name = amf0.decode_first_string(payload)
    if name is None:
        return DataMessage(DataKind.RELAY, "", payload)
    if name == SET_DATA_FRAME:
        return _set_data_frame(payload)
    if name == CLEAR_DATA_FRAME:
        cleared = amf0.decode_first_string(_behind_first(payload))
        return DataMessage(DataKind.CLEAR, METADATA_NAME if cleared is None else cleared, b"")
    if name == METADATA_NAME:
        return _store(name, payload) or DataMessage(DataKind.RELAY, name, payload)
    return DataMessage(DataKind.RELAY, name, payload)


def shown_metadata(payload: bytes) -> dict[str, float | str | bool]:
    """Return numbers and short words of stored metadata, by the names that are shown; as JSON has them."""
    if len(payload) > MAX_SHOWN_BYTES:
        return {}
    try:
        values = amf0.decode(payload, lenient=True)
    except AmfError:
        return {}
    members = values[1] if len(values) > 1 and isinstance(values[1], dict) else {}
    shown: dict[str, float | str | bool] = {}
    for name, value in members.items():
        if name not in SHOWN_NAMES:
            continue
        if isinstance(value, str):
            shown[name] = "".join([one for one in value[:MAX_WORD] if one.isprintable()])
        elif isinstance(value, bool) or (isinstance(value, float) and isfinite(value)):
            shown[name] = value
    return shown


def live_metadata(payload: bytes, has_audio: bool, has_video: bool) -> bytes:
    """Return stored metadata for an FLV that is no file, and has these kinds of media.

    At players what it says of them goes before the flags of the file header. What is no object, or cannot be
    read in a short time, stays as it is.
    """
    if len(payload) > MAX_SHOWN_BYTES:
        return payload
    try:
        values = amf0.decode(payload)
        if values[0] != METADATA_NAME or len(values) < 2 or not isinstance(values[1], dict):
            return payload
        members = values[1]
        for name in FILE_NAMES:
            members.pop(name, None)
        members["hasAudio"], members["hasVideo"] = has_audio, has_video
        return amf0.encode(*values)
    except (AmfError, LocalProtocolError):
        return payload


def _set_data_frame(payload: bytes) -> DataMessage:
    stripped = _behind_first(payload)
    if not stripped:  # neither name nor value
        return DataMessage(DataKind.STORE, METADATA_NAME, amf0.encode(METADATA_NAME, None))
    name = amf0.decode_first_string(stripped)
    stored = None if name is None or name in UNSTORED_NAMES else _store(name, stripped)
    return stored or DataMessage(DataKind.RELAY, name or SET_DATA_FRAME, payload)


def _store(name: str, payload: bytes) -> DataMessage | None:
    """Return the message to store, with null for an absent value; None when the value does not decode."""
    value = _behind_first(payload)
    if not value:
        return DataMessage(DataKind.STORE, name, payload + _NULL)
    try:
        amf0.skip_value(value, 0)
    except AmfError:
        return None
    return DataMessage(DataKind.STORE, name, payload)


def _behind_first(payload: bytes) -> bytes:
    """Return what follows the first value, which must be a string that decodes."""
    return payload[amf0.skip_value(payload, 0) :]
