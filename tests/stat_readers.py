"""How the tools that read nginx-rtmp's `/stat` take it apart, as strictly as they do, and what they read.

Made from what their sources declare, where one missing element or one that is no number refuses the whole
answer: NOALBS (src/stream_servers/nginx.rs), kaylendog/nginx-rtmp-exporter (src/xml.rs),
mauricioabreu/nginx_rtmp_prometheus (nginx_rtmp_exporter.go), rfratto/rtmp_exporter (rtmpstats/stats.go).
"""

from __future__ import annotations

import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from typing import Any, Final


class RefusedError(Exception):
    """The tool would have refused the whole answer."""


Convert = Callable[[ET.Element], Any]


def unsigned(bits: int) -> Convert:
    def convert(element: ET.Element) -> int:
        text = element.text or ""
        if not text.isascii() or not text.isdigit() or int(text) >= 2**bits:
            raise RefusedError(f"<{element.tag}> is {text!r}, no number of {bits} bits")
        return int(text)

    return convert


def signed(element: ET.Element) -> int:
    return int(unsigned(63)(_without_sign(element))) * (-1 if (element.text or "").startswith("-") else 1)


def real(element: ET.Element) -> float:
    try:
        return float(element.text or "")
    except ValueError as error:
        raise RefusedError(f"<{element.tag}> is {element.text!r}, no number") from error


def text(element: ET.Element) -> str:
    return element.text or ""


def there(_element: ET.Element) -> bool:
    return True


def struct(fields: Mapping[str, Convert]) -> Convert:
    """Read an element by its fields, as serde does: `name` is needed, `name?` not, `name*`, `name+` a list.

    Others are ignored; a second one of what is no list is refused.
    """

    def convert(element: ET.Element) -> dict[str, Any]:
        read: dict[str, Any] = {}
        for marked, inside in fields.items():
            name, mark = marked.rstrip("?*+"), marked[len(marked.rstrip("?*+")) :]
            found = element.findall(name)
            if mark in ("*", "+"):
                _together(element, name)
                if mark == "+" and not found:
                    raise RefusedError(f"<{element.tag}> without any <{name}>")
                read[name] = [inside(one) for one in found]
            elif len(found) > 1:
                raise RefusedError(f"<{element.tag}> with {len(found)} <{name}>")
            elif found:
                read[name] = inside(found[0])
            elif mark != "?":
                raise RefusedError(f"<{element.tag}> without <{name}>")
        return read

    return convert


def _together(element: ET.Element, name: str) -> None:
    """Refuse a list that something else interrupts: quick-xml takes the rest for a second list."""
    tags = [one.tag for one in element]
    places = [index for index, tag in enumerate(tags) if tag == name]
    if places and places[-1] - places[0] + 1 != len(places):
        raise RefusedError(f"<{element.tag}> has something between its <{name}>")


def _without_sign(element: ET.Element) -> ET.Element:
    plain = ET.Element(element.tag)
    plain.text = (element.text or "").removeprefix("-")
    return plain


U32, U64 = unsigned(32), unsigned(64)
_NOALBS_META: Final = struct(
    {
        "video": struct(
            {
                **{"width": U32, "height": U32, "frame_rate": real, "codec": text},
                **{"profile?": text, "compat?": U32, "level?": real},
            }
        ),
        "audio": struct({"codec?": text, "profile?": text, "channels?": U32, "sample_rate?": U32}),
    }
)
_NOALBS_STREAM: Final = struct({"name": text, "bw_video": U32, "active?": there, "meta?": _NOALBS_META})
_NOALBS: Final = struct(
    {
        "server": struct(
            {"application+": struct({"name": text, "live": struct({"stream*": _NOALBS_STREAM})})},
        )
    }
)


def noalbs(document: str, application: str, stream: str) -> dict[str, Any] | None:
    """Return the stream as NOALBS finds it; None is offline. The bitrate it goes by is `bw_video // 1024`."""
    read = _NOALBS(ET.fromstring(document))
    found = [
        one
        for app in read["server"]["application"]
        if app["name"] == application
        for one in app["live"]["stream"]
        if one["name"] == stream
    ]
    return found[-1] if found and "active" in found[-1] else None


_TOTALS: Final = {"bw_in": U64, "bytes_in": U64, "bw_out": U64, "bytes_out": U64}
_KAYLENDOG_CLIENT: Final = struct(
    {
        **{"id": U32, "address?": text, "time": U64, "flashver": text, "pageurl?": text, "dropped": U64},
        **{"avsync": signed, "timestamp": U64, "publishing?": there, "active?": there},
    }
)
_KAYLENDOG_VIDEO: Final = struct(
    {
        **{"width": unsigned(16), "height": U64, "frame_rate": real, "codec": text, "profile": text},
        **{"compat": unsigned(16), "level": real},
    }
)
_KAYLENDOG_STREAM: Final = struct(
    {
        **{"name": text, "time": U64, **_TOTALS, "bw_audio": U64, "bw_video": U64},
        **{"client+": _KAYLENDOG_CLIENT, "meta": struct({"video": _KAYLENDOG_VIDEO, "audio": text})},
    }
)
_KAYLENDOG: Final = struct(
    {
        **{"nginx_version": text, "nginx_rtmp_version": text, "compiler": text},
        **{"pid": U32, "uptime": U32, "naccepted": U32, **_TOTALS},
        "server": struct(
            {"application+": struct({"name": text, "live": struct({"stream*": _KAYLENDOG_STREAM})})},
        ),
    }
)


def kaylendog(document: str) -> dict[tuple[str, str], dict[str, int]]:
    """Return the numbers of each application and stream."""
    read = _KAYLENDOG(ET.fromstring(document))
    return {
        (app["name"], one["name"]): {
            **{
                name: one[name]
                for name in ("bytes_in", "bytes_out", "bw_in", "bw_out", "bw_video", "bw_audio")
            },
            "clients": len(one["client"]) - 1,
        }
        for app in read["server"]["application"]
        for one in app["live"]["stream"]
    }


def mauricioabreu(document: str) -> dict[str, dict[str, float]]:
    """Return the numbers of the server, under "", and of each stream; a missing element is a crash there."""
    root = ET.fromstring(document)
    names = {"bytes_in": "incoming", "bytes_out": "outgoing", "bw_in": "receive", "bw_out": "transmit"}
    read = {"": {name: real(_needed(root, tag)) for tag, name in {**names, "uptime": "uptime"}.items()}}
    for stream in root.iter("stream"):
        numbers = {name: real(_needed(stream, tag)) for tag, name in {**names, "time": "uptime"}.items()}
        name = text(_needed(stream, "name"))
        if name in read:
            raise RefusedError(f"two streams of the name {name!r}")  # its labels hold no application
        read[name] = numbers
    return read


def rfratto(document: str) -> dict[str, Any]:
    """Return what Go's decoder fills in: a missing element is 0, one that is no number refuses all."""
    root = ET.fromstring(document)
    whole = {"pid", "uptime", "naccepted", "bw_in", "bytes_in", "bw_out", "bytes_out", "time", "bw_video"}
    whole |= {"bw_audio", "nclients", "width", "height", "frame_rate", "compat", "channels", "sample_rate"}
    whole |= {"id", "dropped", "avsync", "timestamp"}
    for element in root.iter():
        if element.tag in whole:
            signed(element)
        elif element.tag == "level":
            real(element)
    built = root.findtext("built")
    if built is not None:
        time.strptime(built, "%b %d %Y %H:%M:%S")
    streams = root.iterfind("server/application/live/stream")
    return {one.findtext("name", ""): len(one.findall("client")) for one in streams}


def _needed(element: ET.Element, tag: str) -> ET.Element:
    found = element.find(tag)
    if found is None:
        raise RefusedError(f"<{element.tag}> without <{tag}>")
    return found
