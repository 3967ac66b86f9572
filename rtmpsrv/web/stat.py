"""`/stat`: what goes on, as XML in the order and with the names of nginx-rtmp, for the tools that read that.

They are strict: NOALBS and some exporters refuse all of it when one element that they know is missing or no
number. So whatever any of them needs is always there, with a 0 or nothing in it where it is not known.
"""

from __future__ import annotations

import platform
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Final

from flask import Blueprint, Response

import rtmpsrv
from rtmpsrv.monitor.values import ChannelValue, ConnectionValue, ProcessValue, TrackValue, VitalsValue
from rtmpsrv.web.source import Source

APP_STREAM: Final = "app-stream"  # the URL_LAYOUT in which a channel is an application and a name
DEFAULT_APPLICATION: Final = "live"
WINDOW_S: Final = 10.0  # what a bandwidth is measured over, here as in nginx-rtmp
MOST: Final = 2**32 - 1  # NOALBS and an exporter read 32 bits
CODECS: Final = {"MPEG-4 Audio": "AAC", "MPEG-1/2 Audio": "MP3"}  # as nginx-rtmp calls them

_NEVER_IN_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_AS_IT_IS = re.compile("[0-9A-Za-z .,:;/()_-]*")  # what nearly all texts are


def blueprint(source: Source, url_layout: str, now: Callable[[], float] = time.time) -> Blueprint:
    """Make the route; `now` is the time of day in seconds since 1970."""
    routes = Blueprint("stat", __name__)

    @routes.get("/stat")
    def stat() -> Response:
        # In this order: whoever ends in between is in neither, and a stream without any client is rare.
        processes, connections, channels = source.processes(), source.connections(), source.channels()
        missing = sorted({*processes.missing, *connections.missing, *channels.missing})
        if processes.nobody or channels.nobody:
            return Response("No process of the server answered.\n", 503, mimetype="text/plain")
        text = document(processes.values, channels.values, connections.values, url_layout, now())
        answer = Response(text, mimetype="text/xml")
        if missing:
            answer.headers["X-Missing-Workers"] = ", ".join(missing)
        return answer

    return routes


def application_and_name(channel: str, url_layout: str) -> tuple[str, str]:
    """Return what nginx-rtmp would call the application and the stream of this channel."""
    if url_layout != APP_STREAM:
        return DEFAULT_APPLICATION, channel
    application, _, name = channel.rpartition("/")
    return application or DEFAULT_APPLICATION, name


def text_of(text: str) -> str:
    """Return text as it stands in an element; what XML cannot hold is replaced."""
    if _AS_IT_IS.fullmatch(text) is not None:
        return text
    return escape(_NEVER_IN_XML.sub("\ufffd", text), quote=False)


def document(
    processes: Sequence[ProcessValue],
    channels: Iterable[ChannelValue],
    connections: Iterable[ConnectionValue],
    url_layout: str,
    now: float,
) -> str:
    """Return all of the XML. Never blocks."""
    clients: dict[str, list[ConnectionValue]] = {}
    for one in connections:
        if one["state"] != "idle":
            clients.setdefault(one["channel"], []).append(one)
    applications: dict[str, list[tuple[str, ChannelValue]]] = {DEFAULT_APPLICATION: []}
    shown = [channel for channel in channels if channel["live"] or channel["name"] in clients]
    for channel in shown:
        application, name = application_and_name(channel["name"], url_layout)
        applications.setdefault(application, []).append((name, channel))
    parts = ['<?xml version="1.0" encoding="utf-8" ?>\r\n<rtmp>\r\n', *_head(processes, shown, now)]
    parts.append("<server>\r\n")
    for application, streams in applications.items():
        parts.append(f"<application>\r\n<name>{text_of(application)}</name>\r\n<live>\r\n")
        for name, channel in streams:
            parts += _stream(name, channel, clients.get(channel["name"], []), now)
        total = sum(len(clients.get(channel["name"], [])) for _, channel in streams)
        parts.append(f"<nclients>{total}</nclients>\r\n</live>\r\n</application>\r\n")
    parts.append("</server>\r\n</rtmp>\r\n")
    return "".join(parts)


# --- its parts ----------------------------------------------------------------------------------------------


def _head(processes: Sequence[ProcessValue], shown: Sequence[ChannelValue], now: float) -> Iterator[str]:
    version = f"rtmpsrv {rtmpsrv.__version__}"
    yield f"<nginx_version>{version}</nginx_version>\r\n"
    yield f"<nginx_rtmp_version>{version}</nginx_rtmp_version>\r\n"
    yield f"<compiler>{platform.python_implementation()} {platform.python_version()}</compiler>\r\n"
    yield f"<built>{_built()}</built>\r\n"
    started = min((one["started_at"] for one in processes), default=now)
    yield f"<pid>{processes[0]['pid'] if processes else 0}</pid>\r\n"
    yield f"<uptime>{_count(now - started)}</uptime>\r\n"
    counters = [one["counters"] for one in processes]
    yield f"<naccepted>{_count(sum(one['connections_accepted'] for one in counters))}</naccepted>\r\n"
    yield _bandwidth("in", sum(map(_bits_in, shown)), sum(one["received_bytes"] for one in counters))
    yield _bandwidth("out", sum(map(_bits_out, shown)), sum(one["sent_bytes"] for one in counters))


def _stream(
    name: str, channel: ChannelValue, clients: Sequence[ConnectionValue], now: float
) -> Iterator[str]:
    live, started = channel["live"], channel["started_at"]
    yield f"<stream>\r\n<name>{text_of(name)}</name>\r\n"
    yield f"<time>{_ms(now - started) if live and started is not None else 0}</time>"
    yield _bandwidth("in", _bits_in(channel), channel["received_bytes"])
    yield _bandwidth("out", _bits_out(channel), channel["sent_bytes"])
    yield f"<bw_audio>{_bits_of(channel, 'audio')}</bw_audio>\r\n"
    yield f"<bw_video>{_bits_of(channel, 'video')}</bw_video>\r\n"
    for one in clients:
        yield _client(one, channel["vitals"], live, now)
    yield _meta(channel["vitals"])
    yield f"<nclients>{len(clients)}</nclients>\r\n"
    yield "<publishing/>\r\n<active/>\r\n</stream>\r\n" if live else "</stream>\r\n"


def _client(one: ConnectionValue, vitals: VitalsValue | None, live: bool, now: float) -> str:
    lag_s = one["player"]["lag_s"] if one["player"] is not None else 0.0
    offset_s, age_s = (vitals["av_offset_s"] or 0.0, vitals["age_s"]) if vitals is not None else (0.0, 0.0)
    optional = "".join(
        f"<{name}>{text_of(text)}</{name}>"
        for name, text in (("pageurl", one["page_url"]), ("swfurl", one["swf_url"]))
        if text
    )
    return (
        f"<client><id>{one['number']}</id><address>{text_of(one['remote_ip'])}</address>"
        f"<time>{_ms(now - one['created_at'])}</time><flashver>{text_of(one['user_agent'])}</flashver>"
        f"{optional}<dropped>{one['frames_dropped']}</dropped><avsync>{round(offset_s * 1000)}</avsync>"
        f"<timestamp>{_ms(age_s - lag_s)}</timestamp>{'<publishing/>' if one['state'] == 'publish' else ''}"
        f"{'<active/>' if live else ''}</client>\r\n"
    )


def _meta(vitals: VitalsValue | None) -> str:
    """Return what is known of the first video and audio track; always both."""
    tracks = vitals["tracks"] if vitals is not None else []
    video = next((one for one in tracks if one["kind"] == "video"), None)
    audio = next((one for one in tracks if one["kind"] == "audio"), None)
    return f"<meta><video>{_video(video)}</video><audio>{_audio(audio)}</audio></meta>\r\n"


def _video(track: TrackValue | None) -> str:
    width, height, fps, codec, profile, level = 0, 0, 0.0, "", "", 0.0
    if track is not None:
        width, height = track["width"] or 0, track["height"] or 0
        fps = track["declared_fps"] or track["fps"] or 0.0
        codec, profile, level = track["codec"], track["profile"], _number(track["level"])
    # A whole number: one exporter reads nothing else. The compatibility byte is not known.
    return (
        f"<width>{width}</width><height>{height}</height><frame_rate>{round(fps)}</frame_rate>"
        f"<codec>{text_of(codec)}</codec><profile>{text_of(profile)}</profile>"
        f"<compat>0</compat><level>{level:.1f}</level>"
    )


def _audio(track: TrackValue | None) -> str:
    if track is None:
        return ""
    known = {
        "codec": text_of(CODECS.get(track["codec"], track["codec"])),
        "profile": text_of(track["profile"]),
        "channels": track["channels"],
        "sample_rate": track["sample_rate"],
    }
    return "".join(f"<{name}>{value}</{name}>" for name, value in known.items() if value)


def _bandwidth(direction: str, bits: int, size_bytes: int) -> str:
    return (
        f"<bw_{direction}>{bits}</bw_{direction}>\r\n<bytes_{direction}>{size_bytes}</bytes_{direction}>\r\n"
    )


# --- numbers ------------------------------------------------------------------------------------------------


def _flows(vitals: VitalsValue | None) -> bool:
    """True unless nothing has come for as long as a bandwidth is measured over."""
    return vitals is not None and vitals["silence_s"] is not None and vitals["silence_s"] < WINDOW_S


def _bits_in(channel: ChannelValue) -> int:
    vitals = channel["vitals"]
    return vitals["bitrate_10s"] if vitals is not None and _flows(vitals) else 0


def _bits_out(channel: ChannelValue) -> int:
    """Return what its players are sent in a second, as far as all of them keep up."""
    return _bits_in(channel) * max(0, channel["players"] - channel["waiting"])


def _bits_of(channel: ChannelValue, kind: str) -> int:
    """Return the bandwidth of all tracks of a kind; not 0 while they flow: NOALBS takes that for a start."""
    vitals = channel["vitals"]
    if vitals is None or not _flows(vitals):
        return 0
    tracks = [one for one in vitals["tracks"] if one["kind"] == kind]
    bits = sum(one["bitrate_10s"] for one in tracks)
    if bits == 0 and vitals["age_s"] < WINDOW_S:  # too new to have been measured
        bits = round(sum(one["received_bytes"] for one in tracks) * 8 / max(vitals["age_s"], 1.0))
    return min(bits, MOST)


def _count(value: float) -> int:
    return max(0, min(int(value), MOST))


def _ms(seconds: float) -> int:
    return max(0, round(seconds * 1000))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _built() -> str:
    """Return when this package was installed, in the form of a C compiler."""
    stamp = Path(rtmpsrv.__file__).stat().st_mtime
    return f"{datetime.fromtimestamp(stamp, UTC):%b %e %Y %H:%M:%S}"
