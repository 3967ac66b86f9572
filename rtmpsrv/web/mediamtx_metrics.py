"""`/metrics?format=mediamtx`: names, labels and filters of MediaMTX, old and new, for dashboards made for it.

As there, without HELP and TYPE, and with a series for each connection.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from flask import Response

from rtmpsrv.monitor.values import ChannelValue, ConnectionValue
from rtmpsrv.web.source import Source

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
# Of connections: prefix of the names and value of `type`, the argument that picks one, kind, heading.
CONNECTIONS: Final = (
    ("rtmp_conns", "rtmp_conn", "rtmpConn", "RTMP connections"),
    ("rtmps_conns", "rtmps_conn", "rtmpsConn", "RTMPS connections"),
    ("hls_sessions", "hls_session", "hlsSession", "HLS sessions"),
)
FILTERS: Final = ("path", "rtmp_conn", "rtmps_conn", "hls_session")

Sample = tuple[str, str, int]  # name, labels as they are written, value


def answer(source: Source, arguments: Mapping[str, str]) -> Response:
    """Ask and return what the arguments pick. Blocks as the source does."""
    wanted = arguments.get("type", "")
    picked = {name: arguments[name] for name in FILTERS if arguments.get(name)}
    parts: list[str] = []
    if wanted in ("", "paths") and (not picked or "path" in picked):
        channels = source.channels([picked["path"]] if picked else None)
        if channels.nobody:
            return _nobody()
        parts += _section("Paths", list(_paths(channels.values)), _NO_PATHS, not picked)
    for prefix, argument, kind, heading in CONNECTIONS:
        if wanted in ("", prefix) and (not picked or argument in picked):
            connections = source.connections([picked[argument]] if picked else None)
            if connections.nobody:
                return _nobody()
            samples = list(_connections(prefix, [one for one in connections.values if one["kind"] == kind]))
            parts += _section(heading, samples, [f"{prefix}{end}" for end in _ends(prefix)], not picked)
    return Response("".join(parts), content_type=CONTENT_TYPE)


def labels(**values: str) -> str:
    """Return labels as they are written, in the order of their names."""
    return "{" + ",".join([f'{name}="{_escaped(values[name])}"' for name in sorted(values)]) + "}"


_NO_PATHS = (
    *("paths", "paths_inbound_bytes", "paths_outbound_bytes", "paths_inbound_frames_in_error"),
    *("paths_bytes_received", "paths_bytes_sent", "paths_readers"),
)
_CONNECTION_ENDS = (
    *("", "_inbound_bytes", "_outbound_bytes", "_outbound_frames_discarded"),
    *("_bytes_received", "_bytes_sent"),
)
_SESSION_ENDS = ("", "_outbound_bytes")  # of HLS


def _section(
    heading: str, samples: Sequence[Sample], names: Sequence[str], all_of_them: bool
) -> Iterator[str]:
    """Return what there is; where there is nothing at all, a 0 without labels for each name, as MediaMTX."""
    if samples or all_of_them:
        yield f"# {heading}\n"
        for name, written, value in samples or [(name, "", 0) for name in names]:
            yield f"{name}{written} {value}\n"
        yield "\n"


def _paths(channels: Sequence[ChannelValue]) -> Iterator[Sample]:
    for one in channels:
        name, state = one["name"], "ready" if one["live"] else "notReady"
        written = labels(name=name, state=state)
        yield "paths", written, 1
        readers = Counter(kind for _, kind in one["readers"]) or {"": 0}
        for kind, count in sorted(readers.items()):
            yield "paths_readers", labels(name=name, state=state, readerType=kind), count
        yield "paths_inbound_bytes", written, one["received_bytes"]
        yield "paths_outbound_bytes", written, one["sent_bytes"]
        yield "paths_inbound_frames_in_error", written, 0
        yield "paths_bytes_received", written, one["received_bytes"]
        yield "paths_bytes_sent", written, one["sent_bytes"]


def _connections(prefix: str, connections: Sequence[ConnectionValue]) -> Iterator[Sample]:
    for one in connections:
        state, path = one["state"], one["channel"]
        written = labels(id=one["id"], state=state, path=path, remoteAddr=one["remote_ip"])
        received, sent = one["received_bytes"], one["sent_bytes"]
        values = (1, received, sent, one["frames_dropped"], received, sent)
        for end, value in zip(_CONNECTION_ENDS, values, strict=True):
            if end in _ends(prefix):
                yield f"{prefix}{end}", written, value


def _ends(prefix: str) -> tuple[str, ...]:
    """Return what there is of a kind of connection."""
    return _SESSION_ENDS if prefix == "hls_sessions" else _CONNECTION_ENDS


def _escaped(text: str) -> str:
    text = text.encode("utf-8", "replace").decode()
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _nobody() -> Response:
    return Response("No process of the server answered.\n", 503, mimetype="text/plain")
