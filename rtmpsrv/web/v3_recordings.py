"""The part of the API about recordings: what there is, in MediaMTX's shape; start and stop are ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from flask import Blueprint, Response, request

from rtmpsrv.monitor.values import FileValue, RecordingValue
from rtmpsrv.web.answers import answer, not_found, of_somebody
from rtmpsrv.web.asked import Refused, one, page_of
from rtmpsrv.web.items import rfc3339, with_moments
from rtmpsrv.web.shapes import (
    AboutAll,
    AboutRecordings,
    Done,
    RecordingList,
    RecordingSegment,
    RecordingsOfPath,
)
from rtmpsrv.web.source import Source

FORMATS: Final = ("flv", "mp4")
MAX_SEGMENTS: Final = 1_000  # of a channel in one answer


def add(routes: Blueprint, source: Source) -> None:
    """Add the routes. Each blocks as long as `source` does."""

    @routes.get("/recordings/list")
    def list_recordings() -> Response:
        told = source.files("")
        of_somebody(told)
        if told.trouble:
            raise Refused(503, told.trouble)
        by_channel: dict[str, list[FileValue]] = {}
        for file in told.values:
            by_channel.setdefault(file["channel"], []).append(file)
        page, pages = page_of(sorted(by_channel), request.args)
        value = RecordingList(
            itemCount=len(by_channel),
            pageCount=pages,
            items=[of_path(name, by_channel[name], None) for name in page],
            rtmpsrv=AboutAll(missing=told.missing),
        )
        return answer({**value}, told.missing)

    @routes.get("/recordings/get/<channel:name>")
    def get_recordings(name: str) -> Response:
        told, now = source.files(name), source.channels([name])
        recording = next((channel["recording"] for channel in now.values), None)
        if told.trouble and not told.values:
            raise Refused(503, told.trouble)
        if not told.values and recording is None:
            raise not_found(told, "recording not found")
        return answer({**of_path(name, told.values, recording)}, sorted({*told.missing, *now.missing}))

    @routes.post("/channels/<channel:name>/record/start")
    def start_recording(name: str) -> Response:
        form = one(request.args, "format") or ""
        if form and form not in FORMATS:
            raise Refused(400, f"invalid format: {' or '.join(FORMATS)}")
        return record(name, True, form, "nobody publishes this channel")

    @routes.post("/channels/<channel:name>/record/stop")
    def stop_recording(name: str) -> Response:
        return record(name, False, "", "this channel is not recorded")

    def record(name: str, wanted: bool, form: str, otherwise: str) -> Response:
        done = source.record(name, wanted, form)
        if not any(done.values):
            raise not_found(done, otherwise)
        return answer({**Done(status="ok")}, done.missing)


def of_path(name: str, files: Sequence[FileValue], recording: RecordingValue | None) -> RecordingsOfPath:
    """Return the files of a channel, which are in order."""
    return RecordingsOfPath(
        name=name,
        segments=[
            RecordingSegment(start=rfc3339(file["began_at"]), rtmpsrv=with_moments(file))
            for file in files[-MAX_SEGMENTS:]
        ],
        rtmpsrv=AboutRecordings(
            files=len(files),
            size_bytes=sum([file["size_bytes"] for file in files if file["whole"]]),
            recording=with_moments(recording) if recording is not None else None,
        ),
    )
