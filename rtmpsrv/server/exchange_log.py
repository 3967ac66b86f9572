"""What a peer says and is told, as DEBUG and TRACE lines; audio and video are left out.

Peers choose every text in what they send, and may put a stream key anywhere: into a property, the name of a
command, the title of a film. So only words of a fixed vocabulary are shown, of all others the length.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import AmfError, RemoteProtocolError
from ..log import TRACE, Logger
from ..media.metadata import metadata_from
from ..protocol import amf0, commands, messages
from ..protocol.events import Event

MAX_SHOWN_VALUES = 64  # of one message; metadata of real encoders has about 20
MAX_SHOWN_DEPTH = 4

_COMMANDS = (
    "connect createStream publish play play2 pause pauseRaw seek receiveAudio receiveVideo deleteStream "
    "closeStream releaseStream FCPublish FCUnpublish FCSubscribe FCUnsubscribe getStreamLength getMovLen "
    "_checkbw checkBandwidth onBWDone set_playlist setPeerInfo DVRGetStreamInfo call close "
    "_result _error onStatus"
)
_DATA = (
    "@setDataFrame @clearDataFrame onMetaData onTextData onCuePoint onCaption onCaptionInfo onFI "
    "additionalMedia onExpectAdditionalMedia |RtmpSampleAccess onPlayStatus"
)
_PROPERTIES = (
    "app tcUrl tcurl flashVer swfUrl pageUrl type fpad capabilities audioCodecs videoCodecs videoFunction "
    "objectEncoding fourCcList videoFourCcInfoMap audioFourCcInfoMap capsEx code level description "
    "duration width height framerate fps videodatarate videocodecid audiodatarate audiocodecid "
    "audiosamplerate audiosamplesize audiochannels stereo encoder fileSize filesize hasVideo hasAudio "
    "hasMetadata canSeekToEnd videoTrackIdInfoMap audioTrackIdInfoMap major_brand minor_version "
    "compatible_brands title 2.1 3.1 4.0 4.1 5.1 7.1"
)
_VALUES = "live record append nonprivate avc1 hvc1 av01 vp08 vp09 vvc1 mp4a Opus fLaC ac-3 ec-3 .mp3 *"
_VOCABULARY = frozenset(f"{_COMMANDS} {_DATA} {_PROPERTIES} {_VALUES}".split())

_CONTROL_NAMES = {
    messages.SET_CHUNK_SIZE: "Set Chunk Size",
    messages.ABORT: "Abort",
    messages.ACKNOWLEDGEMENT: "Acknowledgement",
    messages.WINDOW_ACK_SIZE: "Window Acknowledgement Size",
    messages.SET_PEER_BANDWIDTH: "Set Peer Bandwidth",
}
_USUAL_CONTROL = frozenset((messages.ACKNOWLEDGEMENT, messages.USER_CONTROL))  # many: TRACE only
_MEDIA = frozenset((messages.AUDIO, messages.VIDEO, messages.AGGREGATE))


def received(log: Logger, batch: Iterable[tuple[int, int, int, bytes, int]]) -> None:
    """Log the commands, data and control messages among what was received. Never raises, never blocks."""
    for type_id, timestamp, msid, payload, csid in batch:
        if type_id in _MEDIA:
            continue
        if type_id in (messages.COMMAND_AMF0, messages.COMMAND_AMF3):
            _log_command(log, type_id, msid, payload)
        elif type_id in (messages.DATA_AMF0, messages.DATA_AMF3):
            name = metadata_from(payload, type_id == messages.DATA_AMF3).name
            log.debug("< data %s msid=%d, %d bytes", _word(name), msid, len(payload))
        elif type_id in _CONTROL_NAMES and type_id not in _USUAL_CONTROL:
            log.debug("< %s %d", _CONTROL_NAMES[type_id], int.from_bytes(payload[:4], "big"))
        if log.isEnabledFor(TRACE):
            log.trace(
                "< type=%d csid=%d msid=%d timestamp=%d bytes=%d%s",
                type_id, csid, msid, timestamp, len(payload), _contents(type_id, payload),
            )  # fmt: skip


def sent(log: Logger, event: Event) -> None:
    """Log an answer of the session; events keep secrets out of their repr. Never blocks."""
    log.debug("> %r", event)


def _log_command(log: Logger, type_id: int, msid: int, payload: bytes) -> None:
    try:
        command = commands.decode(type_id, payload)
    except RemoteProtocolError:  # the connection says so when it comes to it
        log.debug("< undecodable command of %d bytes", len(payload))
        return
    if command is None:
        log.debug("< command without a name, %d bytes", len(payload))
    else:
        log.debug("< %s transaction=%g msid=%d", _word(command.name), command.transaction_id, msid)


def _contents(type_id: int, payload: bytes) -> str:
    if type_id in (messages.COMMAND_AMF3, messages.DATA_AMF3) and payload[:1] == b"\x00":
        payload = payload[1:]
    elif type_id not in (
        messages.COMMAND_AMF0, messages.DATA_AMF0, messages.COMMAND_AMF3, messages.DATA_AMF3
    ):  # fmt: skip
        return f" {payload.hex()}" if type_id in _CONTROL_NAMES or type_id == messages.USER_CONTROL else ""
    try:
        values = amf0.decode(payload)
    except AmfError:
        return " undecodable"
    return " " + ", ".join(_shown(value, MAX_SHOWN_DEPTH) for value in values[:MAX_SHOWN_VALUES])


def _shown(value: object, depth: int) -> str:
    """Return a value without any text of the peer's own."""
    if isinstance(value, str):
        return _word(value)
    if value is None or isinstance(value, (bool, float, int)):
        return str(value)
    if depth and isinstance(value, dict):
        members = list(value.items())[:MAX_SHOWN_VALUES]
        return "{" + ", ".join(f"{_word(name)}: {_shown(one, depth - 1)}" for name, one in members) + "}"
    if depth and isinstance(value, list):
        return "[" + ", ".join(_shown(one, depth - 1) for one in value[:MAX_SHOWN_VALUES]) + "]"
    return f"<{type(value).__name__}>"


def _word(text: str) -> str:
    return text if text in _VOCABULARY else f"<{len(text)} characters>"
