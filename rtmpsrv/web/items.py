"""From what the processes tell to what the API answers, one thing at a time. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, Protocol, TypeVar, cast

from rtmpsrv.monitor.values import ChannelValue, ConnectionValue, EventValue, TrackValue
from rtmpsrv.web.shapes import (
    AboutConnection,
    AboutPath,
    ChannelPlayer,
    CodecProps,
    Connection,
    End,
    FindingShape,
    Health,
    HealthShape,
    Path,
    PathTrack,
    Severity,
)

MAX_READERS: Final = 1_000  # of a path; all are in the pages of its players
_WITH_PROFILE: Final = frozenset({"H264", "H265"})  # MediaMTX has numbers there for others

Value = TypeVar("Value", bound=Mapping[str, object])


class FindingFacts(Protocol):
    """One finding of a verdict."""

    @property
    def rule(self) -> str: ...
    @property
    def severity(self) -> Severity: ...
    @property
    def sentence(self) -> str: ...


class VerdictFacts(Protocol):
    """What is thought of a stream."""

    @property
    def state(self) -> Health: ...
    @property
    def rule(self) -> str: ...
    @property
    def sentence(self) -> str: ...
    @property
    def findings(self) -> tuple[FindingFacts, ...]: ...


def path_item(channel: ChannelValue, verdict: VerdictFacts, events: list[EventValue] | None = None) -> Path:
    """Return a channel as a path of the API."""
    vitals = channel["vitals"]
    on_air = channel["live"] and not channel["suspended"]
    started = None if channel["started_at"] is None else rfc3339(channel["started_at"])
    tracks = vitals["tracks"] if vitals else []
    about = AboutPath(
        worker=channel["worker"],
        suspended=channel["suspended"],
        waits_until_at=None if channel["waits_until_at"] is None else rfc3339(channel["waits_until_at"]),
        publication=channel["publication"],
        players=channel["players"],
        waiting=channel["waiting"],
        readers_truncated=len(channel["readers"]) > MAX_READERS,
        cache_bytes=channel["cache_bytes"],
        frames_dropped=channel["frames_dropped"],
        forms=channel["forms"],
        max_bitrate=channel["max_bitrate"],
        recording=with_moments(channel["recording"]) if channel["recording"] is not None else None,
        health=health_item(verdict),
        vitals=vitals,
    )
    if events is not None:
        about["events"] = [with_moments(one) for one in events]
    return Path(
        name=channel["name"],
        confName="all_others",
        ready=on_air,
        readyTime=started if on_air else None,
        available=on_air or channel["suspended"],
        availableTime=started if on_air or channel["suspended"] else None,
        online=on_air,
        onlineTime=started if on_air else None,
        source=_source(channel) if on_air else None,
        tracks=[track["codec"] for track in tracks],
        tracks2=[PathTrack(codec=track["codec"], codecProps=codec_props(track)) for track in tracks],
        readers=[{"type": kind, "id": reader} for reader, kind in channel["readers"][:MAX_READERS]],
        inboundBytes=channel["received_bytes"],
        outboundBytes=channel["sent_bytes"],
        inboundFramesInError=vitals["odd_headers"] if vitals else 0,
        bytesReceived=channel["received_bytes"],
        bytesSent=channel["sent_bytes"],
        rtmpsrv=about,
    )


def health_item(verdict: VerdictFacts) -> HealthShape:
    """Return a verdict as the API tells it."""
    return HealthShape(
        state=verdict.state,
        rule=verdict.rule,
        sentence=verdict.sentence,
        findings=[
            FindingShape(rule=one.rule, severity=one.severity, sentence=one.sentence)
            for one in verdict.findings
        ],
    )


def connection_item(value: ConnectionValue) -> Connection:
    """Return a connection as one of MediaMTX's."""
    return Connection(
        id=value["id"],
        created=rfc3339(value["created_at"]),
        remoteAddr=value["remote_ip"],
        state=value["state"],
        path=value["channel"],
        query="",
        user=value["user"],
        userAgent=value["user_agent"],
        inboundBytes=value["received_bytes"],
        outboundBytes=value["sent_bytes"],
        outboundFramesDiscarded=value["frames_dropped"],
        bytesReceived=value["received_bytes"],
        bytesSent=value["sent_bytes"],
        rtmpsrv=AboutConnection(
            worker=value["worker"],
            number=value["number"],
            form=value["form"],
            app=value["app"],
            page_url=value["page_url"],
            swf_url=value["swf_url"],
            player=value["player"],
        ),
    )


def player_item(value: ConnectionValue) -> ChannelPlayer:
    """Return a connection that plays."""
    return ChannelPlayer(type=value["kind"], **connection_item(value))


def codec_props(track: TrackValue) -> CodecProps | None:
    """Return what is known of a track in MediaMTX's words, None where that is nothing."""
    props = CodecProps()
    if track["width"] is not None and track["height"] is not None:
        props["width"] = track["width"]
        props["height"] = track["height"]
    if track["codec"] in _WITH_PROFILE:
        if track["profile"]:
            props["profile"] = track["profile"]
        if track["level"]:
            props["level"] = track["level"]
    if track["sample_rate"] is not None:
        props["sampleRate"] = track["sample_rate"]
    if track["channels"] is not None:
        props["channelCount"] = track["channels"]
    return props or None


def with_moments(value: Value) -> Value:
    """Return the value with its moments, which end in `_at` or are `at`, as text."""
    moments = {
        name: rfc3339(one)
        for name, one in value.items()
        if isinstance(one, float) and (name == "at" or name.endswith("_at"))
    }
    return cast(Value, {**value, **moments})  # the same shape, but for what a moment is


def rfc3339(seconds: float) -> str:
    """Return a moment as text, in UTC, to the millisecond."""
    moment = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return moment.removesuffix("+00:00") + "Z"


def _source(channel: ChannelValue) -> End | None:
    # A mirror whose owner did not answer: it is on the air, and NOALBS wants an object then.
    return End(type=channel["publisher_kind"] or "rtmpConn", id=channel["publisher"] or "")
