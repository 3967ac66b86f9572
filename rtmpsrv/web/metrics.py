"""`/metrics` for Prometheus: numbers of all processes as one, and of each channel where that is wanted."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, Protocol, TypeVar, get_args

from flask import Blueprint, Response, request
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from rtmpsrv.monitor.values import ChannelValue, Counters, Histogram, ProcessValue
from rtmpsrv.web import mediamtx_metrics
from rtmpsrv.web.items import VerdictFacts
from rtmpsrv.web.shapes import Health
from rtmpsrv.web.source import Seen, Source
from rtmpsrv.web.totals import Totals

PROTOCOLS: Final = ("rtmp", "rtmps", "http", "https")
Labels = TypeVar("Labels", bound=tuple[str, ...])  # their values, in the order of their names
STATES: Final[tuple[str, ...]] = get_args(Health)
KINDS: Final = {"rtmpConn": "rtmp", "rtmpsConn": "rtmps", "httpConn": "http", "httpsConn": "https"}
FORMS: Final = ("rtmp", "flv", "ws-flv", "mp4", "ws-mp4", "hls")


class Judge(Protocol):
    """Who has a verdict on each channel."""

    def judge(self, channel: ChannelValue, now: float) -> VerdictFacts: ...


def blueprint(
    source: Source,
    per_channel: bool,
    verdicts: Judge,
    now: Callable[[], float] = time.time,
    seen_lately: Callable[[], Seen | None] = lambda: None,
) -> Blueprint:
    """Make the route; `now` is the time of day in seconds since 1970.

    `seen_lately` is what somebody else was told a moment ago: nobody is asked for all of it twice.
    """
    routes = Blueprint("metrics", __name__)
    totals = Totals()
    requests: Counter[tuple[str, str]] = Counter()

    @routes.after_app_request
    def count(response: Response) -> Response:
        requests[request.blueprint or "none", str(response.status_code)] += 1
        return response

    @routes.get("/metrics")
    def metrics() -> Response:
        wanted = request.args.get("format", "")
        if wanted == "mediamtx":
            return mediamtx_metrics.answer(source, request.args)
        if wanted:
            return Response("Unknown format: mediamtx, or none.\n", 400, mimetype="text/plain")
        processes, channels, age_s = seen_lately() or Seen(source.processes(), source.channels())
        if processes.nobody:
            return Response("No process of the server answered.\n", 503, mimetype="text/plain")
        up = {**dict.fromkeys(processes.answered, True), **dict.fromkeys(processes.missing, False)}
        counters = totals.take(processes.values)
        families = [
            *of_processes(processes.values, channels.values, up),
            *(of_counters(counters) if counters is not None else ()),
            *(of_channels(channels.values, now() - age_s) if per_channel else ()),
            *(of_verdicts(channels.values, verdicts) if per_channel else ()),
            *of_requests(requests),
        ]
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return Response(encode(_Collected(families)), content_type=content_type)

    return routes


class _Collected(Collector):
    """What the encoders take in place of a registry."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


# --- what there is ------------------------------------------------------------------------------------------


def of_processes(
    processes: Sequence[ProcessValue], channels: Iterable[ChannelValue], up: Mapping[str, bool]
) -> Iterator[Metric]:
    """Return what is so now, of all processes together."""
    builds = {(one["version"], one["python"]): 1 for one in processes}
    yield _gauges("build_info", "Versions of this server and of its Python.", ["version", "python"], builds)
    text = "Whether a process that serves answered in time; the only one has no name."
    yield _gauges("worker_up", text, ["worker"], {(name,): int(answers) for name, answers in up.items()})
    text = "Whether a process takes new clients: it does not while it drains or hands over."
    yield _gauges(
        "worker_ready", text, ["worker"], {(one["worker"],): int(one["ready"]) for one in processes}
    )
    text = "When a process that serves began, in seconds since 1970."
    began = {(one["worker"],): one["started_at"] for one in processes}
    yield _gauges("worker_start_time_seconds", text, ["worker"], began)
    channels = list(channels)
    text = "Connections of clients now, by protocol and by what they do."
    yield _gauges("connections", text, ["protocol", "role"], _connections(processes, channels))
    text = "Players and viewers now, by what they get."
    forms = dict.fromkeys(((form,) for form in FORMS), 0)
    for one in channels:
        for form, count in one["forms"].items():
            forms[form,] = forms.get((form,), 0) + count
    yield _gauges("players", text, ["form"], forms)
    text = "Channels now: live, suspended while the publisher is away, or only waited for."
    yield _gauges("channels", text, ["state"], _channel_states(channels))
    sums = {
        "callback_queue_length": ("Messages to the callback that wait.", "callback_queue_length"),
        "gop_cache_bytes": ("Media kept for players that join or are behind.", "gop_cache_bytes"),
        "hls_makers": ("Channels whose HLS is made.", "hls_makers"),
        "mp4_makers": ("Channels whose live MP4 is made, once for each choice of tracks.", "mp4_makers"),
        "recordings": ("Channels that are recorded now.", "recordings"),
        "memory_budget_bytes": ("What peers may make the server hold.", "memory_budget_bytes"),
        "memory_held_bytes": ("What peers make the server hold now.", "memory_held_bytes"),
    }
    for name, (text, field) in sums.items():
        yield _gauge(name, text, sum(one[field] for one in processes))  # type: ignore[literal-required]
    text = "Processes of FFmpeg's libraries, which help with MP4 and stills."
    yield _gauge("ffmpeg_processes", text, sum(one["ffmpeg_runs"] for one in processes))
    expiries = [at for one in processes if (at := one["certificate_expires_at"]) is not None]
    if expiries:
        text = "When the certificate in use ends, in seconds since 1970."
        yield _gauge("tls_certificate_expiry_timestamp_seconds", text, min(expiries))
    for name, text, states in (
        ("redis", "Whether commands come from Redis.", [one["redis_connected"] for one in processes]),
        ("control", "Whether the control server is linked.", [one["control_connected"] for one in processes]),
    ):
        used = [state for state in states if state is not None]
        if used:
            yield _gauge(f"{name}_connected", f"{text} In all processes: 1.", int(all(used)))


def of_counters(counters: Counters) -> Iterator[Metric]:
    """Return what only grows, of all processes together, those that are gone included."""
    yield _counter("connections_accepted", "Connections accepted.", counters["connections_accepted"])
    for name, text, label, counts in (
        ("connections_rejected", "Connections turned away.", "reason", counters["connections_rejected"]),
        ("handshake_failures", "Handshakes that failed.", "reason", counters["handshake_failures"]),
        ("publishes", "Requests to publish.", "result", counters["publishes"]),
        ("plays", "Requests to play.", "result", counters["plays"]),
        ("frames_dropped", "Messages left out for slow players.", "kind", counters["frames_dropped"]),
        ("form_sent_bytes", "Bytes sent, by what they were.", "form", counters["sent_bytes_by_form"]),
        ("recordings_failed", "Recordings ended by a fault.", "reason", counters["recordings_failed"]),
    ):
        yield _counters(name, text, [label], {(key,): value for key, value in counts.items()})
    yield _counter("received_bytes", "Bytes received from clients.", counters["received_bytes"])
    yield _counter("sent_bytes", "Bytes sent to clients.", counters["sent_bytes"])
    asked = {(one["what"], one["result"]): one["count"] for one in counters["viewer_requests"]}
    text = "Requests of viewers by HTTP, by what was asked for and the answer's status."
    yield _counters("viewer_requests", text, ["kind", "status"], asked)
    text = "How often the process that helps with MP4 and stills died, or was ended since it was late."
    yield _counter("ffmpeg_ends", text, counters["ffmpeg_ends"])
    yield _counter("recorded_files", "Files of recordings that are whole.", counters["recorded_files"])
    yield _counter("recorded_bytes", "Bytes in them.", counters["recorded_bytes"])
    text = "Players disconnected since they took nothing for too long."
    yield _counter("slow_players_disconnected", text, counters["slow_players_disconnected"])
    calls = {(one["what"], one["result"]): one["count"] for one in counters["callback_requests"]}
    yield _counters("callback_requests", "Requests to the HTTP callback.", ["event", "result"], calls)
    text = "How long requests to the HTTP callback took."
    yield _histogram("callback_duration_seconds", text, counters["callback_duration_s"])
    text = "How much later than due the event loop came to its timers."
    yield _histogram("event_loop_lag_seconds", text, counters["event_loop_lag_s"])


def of_channels(channels: Iterable[ChannelValue], now: float) -> Iterator[Metric]:
    """Return the series of each channel: as many as clients may name, so only where they are wanted."""
    named = [((clean(one["name"]),), one) for one in channels]
    live = [(name, vitals) for name, one in named if (vitals := one["vitals"]) is not None]
    label = ["channel"]
    players = {name: one["players"] for name, one in named}
    yield _gauges("channel_players", "Players of a channel.", label, players)
    received = {name: one["received_bytes"] for name, one in named}
    yield _counters("channel_received_bytes", "Bytes of the publication.", label, received)
    sent = {name: one["sent_bytes"] for name, one in named}
    yield _counters("channel_sent_bytes", "Bytes sent to players of a channel.", label, sent)
    recorded = {
        name: int(one["recording"] is not None and one["recording"]["running"]) for name, one in named
    }
    yield _gauges("channel_recorded", "Whether a channel is recorded now.", label, recorded)
    gops = {name: vitals["gops_s"][-1] for name, vitals in live if vitals["gops_s"]}
    text = "Media time between the last two keyframes."
    yield _gauges("channel_keyframe_interval_seconds", text, label, gops)
    offsets = {name: vitals["av_offset_s"] for name, vitals in live if vitals["av_offset_s"] is not None}
    text = "How far the sound is ahead of the picture, by timestamps, over 10 s."
    yield _gauges("channel_av_offset_seconds", text, label, offsets)
    jumps = {name: vitals["jumps"] for name, vitals in live}
    yield _counters("channel_timestamp_jumps", "Jumps of the publisher's clock.", label, jumps)
    rates = {name: vitals["media_rate"] for name, vitals in live if vitals["media_rate"] is not None}
    text = "Media time that came in a second, over 10 s: below 1 the stream starves."
    yield _gauges("channel_media_rate_ratio", text, label, rates)
    packets = {name: now - vitals["silence_s"] for name, vitals in live if vitals["silence_s"] is not None}
    text = "When audio or video came last, in seconds since 1970."
    yield _gauges("channel_last_packet_timestamp_seconds", text, label, packets)


def of_verdicts(channels: Sequence[ChannelValue], verdicts: Judge) -> Iterator[Metric]:
    """Return what is thought of each channel: one series for each verdict there is, of which one is 1."""
    at = time.monotonic()
    states = {(clean(one["name"]), state): 0 for one in channels for state in STATES}
    for one in channels:
        states[clean(one["name"]), verdicts.judge(one, at).state] = 1
    text = "The verdict on a channel: 1 for the one it has, 0 for the others."
    yield _gauges("channel_verdict", text, ["channel", "state"], states)


def of_requests(requests: Mapping[tuple[str, str], int]) -> Iterator[Metric]:
    """Return how often this process was asked for what."""
    text = "Requests to the admin side, by its part and the answer's status, since its process began."
    yield _counters("http_requests", text, ["route", "status"], requests)


def clean(text: str) -> str:
    """Return text that can be written as UTF-8."""
    return text.encode("utf-8", "replace").decode()


# --- how it is put ------------------------------------------------------------------------------------------


def _connections(
    processes: Iterable[ProcessValue], channels: Iterable[ChannelValue]
) -> Mapping[tuple[str, str], int]:
    """Return connections by protocol and role; those of the ports that neither publish nor play are idle."""
    counts = {
        (protocol, role): 0
        for protocol in PROTOCOLS
        for role in ("publisher", "player", "idle")
        if (protocol, role) not in (("http", "publisher"), ("https", "publisher"))
    }
    for one in processes:
        for listener in one["listeners"]:
            protocol = listener["protocol"] + "s" * listener["secure"]
            counts[protocol, "idle"] += listener["sessions"]
    for channel in channels:
        if channel["publisher_kind"] is not None:
            counts[KINDS[channel["publisher_kind"]], "publisher"] += 1
        for _, kind in channel["readers"]:
            if kind in KINDS:  # those of HLS are no connections
                counts[KINDS[kind], "player"] += 1
    for protocol in PROTOCOLS:
        busy = counts.get((protocol, "publisher"), 0) + counts[protocol, "player"]
        counts[protocol, "idle"] = max(0, counts[protocol, "idle"] - busy)
    return counts


def _channel_states(channels: Iterable[ChannelValue]) -> Mapping[tuple[str], int]:
    counts = {("live",): 0, ("suspended",): 0, ("waiting",): 0}
    for one in channels:
        counts["live" if one["live"] else "suspended" if one["suspended"] else "waiting",] += 1
    return counts


def _gauges(name: str, text: str, labels: Sequence[str], values: Mapping[Labels, float]) -> Metric:
    family = GaugeMetricFamily(f"rtmpsrv_{name}", text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _counters(name: str, text: str, labels: Sequence[str], values: Mapping[Labels, float]) -> Metric:
    family = CounterMetricFamily(f"rtmpsrv_{name}", text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"rtmpsrv_{name}", text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"rtmpsrv_{name}", text, value=value)


def _histogram(name: str, text: str, value: Histogram) -> Metric:
    buckets = [
        (str(float(bound)), count) for bound, count in zip(value["bounds"], value["counts"], strict=True)
    ]
    family = HistogramMetricFamily(f"rtmpsrv_{name}", text)
    family.add_metric([], [*buckets, ("+Inf", value["count"])], value["sum"])
    return family
