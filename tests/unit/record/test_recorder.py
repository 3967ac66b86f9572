"""What a publisher sends is in files, to the letter; and what ends a recording ends nothing else."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import gevent
import gevent.event
import gevent.monkey
import pytest

from rtmpsrv.errors import MediaBusy, MediaRefused
from rtmpsrv.live.budget import Budget
from rtmpsrv.media import mp4
from rtmpsrv.protocol import amf0
from rtmpsrv.record import recorder as recorder_module
from rtmpsrv.record.flv_file import FlvFile
from rtmpsrv.record.index import DONE, MOVED, RECORDING, Entry
from rtmpsrv.record.job import Job, Plan
from rtmpsrv.record.mp4_file import Mp4File
from rtmpsrv.record.recorder import BLOCK_BYTES, MAX_REFUSED, MAX_SHORT, OVER
from rtmpsrv.record.take import BY_HEADERS, BY_JUMP, BY_SIZE, BY_TIME, Carried, Form, take_up
from rtmpsrv.record.threads import Threads
from rtmpsrv.record.troubles import DISK_ERROR, MEDIA
from tests.unit.live.stage import AAC, AVC, AVC_2, HEADERS, data, inter, key, tone
from tests.unit.record.stage import FORMS, GRANT, PATIENCE_S, PLAN, RecordedStage, eventually

INIT = mp4.box(b"ftyp", b"isom") + mp4.box(b"moov", mp4.box(b"mvhd", bytes(100)))
NativeEvent = gevent.monkey.get_original("threading", "Event")


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "LOOK_EVERY_S", 0.0)


def sent(*messages: tuple[Any, ...]) -> list[bytes]:
    return [message[3] for message in messages]


def of(tags: list[Any]) -> list[bytes]:
    return [tag.payload for tag in tags]


def test_everything_from_the_first_frame_on_is_in_the_file(tmp_path: Path) -> None:
    stage = RecordedStage(tmp_path)
    cue = data(b"\x02\x00\x03cue\x05", 30)
    media = (tone("a", 1000), key("0", 1010), tone("b", 1020), cue, inter("1", 1050))
    stage.publish(*HEADERS, *media)
    stage.channel.stop()
    (tags,) = stage.finished()
    assert of(tags) == sent(AAC, AVC, *media)
    assert [tag.timestamp for tag in tags] == [0, 0, 0, 10, 20, 20, 50]
    (entry,) = stage.noted()
    assert (entry.state, entry.file, entry.channel, entry.stream_id) == (
        DONE,
        "channel/s1.flv",
        "channel",
        "s1",
    )
    assert (entry.seconds, entry.start, entry.reason) == (0.05, 1000.0, OVER)
    assert not stage.channel.is_wanted


def test_process_that_holds_too_much_takes_nothing_from_it_first(tmp_path: Path) -> None:
    stage = RecordedStage(tmp_path)
    media = (key("0"), inter("1", 40), key("2", 80), inter("3", 120))
    stage.publish(*HEADERS, *media)
    stage.output().shed_aside()
    stage.channel.stop()
    (tags,) = stage.finished()
    assert of(tags)[2:] == sent(*media)


def test_nothing_that_cannot_be_decoded_begins_a_file(tmp_path: Path) -> None:
    stage = RecordedStage(tmp_path)
    stage.publish(*HEADERS, inter("x"), tone("a", 10), inter("y", 20), key("0", 40), inter("1", 80))
    stage.channel.stop()
    (tags,) = stage.finished()
    assert of(tags)[2:] == sent(tone("a"), key("0"), inter("1"))


def test_sound_alone_is_recorded_and_cut_anywhere(tmp_path: Path) -> None:
    stage = RecordedStage(tmp_path, Plan("flv", "%path", 20, 0))
    stage.publish(AAC, *[tone(str(at), at) for at in (0, 10, 20, 30, 40, 50)])
    stage.channel.stop()
    first, second, third = stage.finished()
    assert of(first)[1:] == sent(tone("0"), tone("10"))
    assert of(second)[1:] == sent(tone("20"), tone("30"))
    assert of(third)[1:] == sent(tone("40"), tone("50"))


def test_file_ends_before_the_keyframe_at_which_its_time_is_up(tmp_path: Path) -> None:
    stage = RecordedStage(tmp_path, Plan("flv", "%path", 100, 0))
    first = (key("0"), key("k", 40), tone("a", 60), inter("1", 99))
    second = (key("2", 100), tone("b", 95), inter("3", 140))
    stage.publish(*HEADERS, *first, *second)
    stage.channel.stop()
    assert [of(tags)[2:] for tags in stage.finished()] == [sent(*first), sent(*second)]
    assert [tag.timestamp for tag in stage.tags(stage.done[1])] == [0, 0, 0, 0, 40]
    assert list(stage.reasons()) == [BY_TIME, OVER]


def test_file_ends_by_size(tmp_path: Path) -> None:
    stage = RecordedStage(tmp_path, Plan("flv", "%path", 0, 1000))
    stage.publish(*HEADERS, key(b"x" * 900), inter(b"y" * 200, 40), key("2", 80))
    stage.channel.stop()
    assert [len(tags) for tags in stage.finished()] == [4, 3]
    assert list(stage.reasons()) == [BY_SIZE, OVER]


def test_other_headers_begin_another_file(tmp_path: Path) -> None:
    stage = RecordedStage(tmp_path)
    stage.publish(*HEADERS, key("0"), AVC_2, key("1", 40), inter("2", 80))
    stage.channel.stop()
    first, second = stage.finished()
    assert of(first) == sent(AAC, AVC, key("0"), AVC_2)
    assert of(second) == sent(AAC, AVC_2, key("1"), inter("2"))
    assert list(stage.reasons()) == [BY_HEADERS, OVER]


def test_jump_of_time_is_bridged_until_the_next_keyframe(tmp_path: Path) -> None:
    stage = RecordedStage(tmp_path)
    stage.publish(*HEADERS, key("0"), inter("1", 40), inter("2", 4_000_000_000), key("3", 4_000_000_040))
    stage.channel.stop()
    first, second = stage.finished()
    assert [tag.timestamp for tag in first[2:]] == [0, 40, 40]
    assert of(second)[2:] == sent(key("3"))
    assert list(stage.reasons()) == [BY_JUMP, OVER]


def test_next_publication_has_its_own_file_and_loses_nothing(tmp_path: Path) -> None:
    stage = RecordedStage(tmp_path)
    stage.jobs = [Job(GRANT, PLAN)]
    stage.publish(*HEADERS, key("0"))
    stage.channel.stop()
    stage.start("key")
    eventually(lambda: not stage.jobs)
    stage.publish(*HEADERS, key("1"), key("2", 40))
    stage.channel.stop()
    assert [of(tags)[2:] for tags in stage.finished()] == [sent(key("0")), sent(key("1"), key("2"))]
    assert [entry.file for entry in stage.done] == ["channel/s1.flv", "channel/s1_2.flv"]


def test_publisher_that_goes_on_goes_on_in_the_same_file(tmp_path: Path) -> None:
    stage = RecordedStage(tmp_path)
    stage.publish(*HEADERS, key("0"))
    stage.channel.suspend(5.0)
    stage.channel.go_on("key")
    stage.publish(*HEADERS, key("1"))
    stage.channel.stop()
    (tags,) = stage.finished()
    assert set(sent(key("0"), key("1"))) <= set(of(tags))


def test_it_is_written_while_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "WRITE_EVERY_S", 0.0)
    stage = RecordedStage(tmp_path)
    stage.publish(*HEADERS, key("0"), inter(b"x" * BLOCK_BYTES, 40))
    eventually(lambda: stage.recorder.running()["bytes"] and stage.noted())
    shown = stage.recorder.running()
    assert (shown["channel"], shown["file"], shown["files"]) == ("channel", "channel/s1.flv", 1)
    assert [entry.state for entry in stage.noted()] == [RECORDING]
    stage.recorder.stop("stopped")
    stage.finished()
    assert list(stage.reasons()) == ["stopped"]


def test_stop_before_anything_came_leaves_no_file(tmp_path: Path) -> None:
    stage = RecordedStage(tmp_path / "new")
    stage.recorder.stop()
    assert stage.finished() == []
    assert not stage.folder.is_there()


def test_full_disk_ends_the_recording_and_keeps_what_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(recorder_module, "WRITE_EVERY_S", 0.0)
    stage = RecordedStage(tmp_path)
    real, calls = stage.folder.write, []

    def write(file: Any, blocks: Any) -> None:
        calls.append(file)
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(file, blocks)

    monkeypatch.setattr(stage.folder, "write", write)
    stage.publish(*HEADERS, key("0"))
    eventually(lambda: calls)
    stage.publish(inter("1", 40))
    (tags,) = stage.finished()
    assert of(tags)[2:] == sent(key("0"))
    assert stage.recorder.failed == "No space left on device"
    assert list(stage.reasons()) == ["No space left on device"]
    assert "recording ended channel=channel: No space left on device" in caplog.text
    stage.publish(inter("2", 80))
    assert stage.channel.live


def test_file_that_nothing_could_be_written_to_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = RecordedStage(tmp_path)

    def write(file: Any, blocks: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(stage.folder, "write", write)
    stage.publish(*HEADERS, key("0"))
    stage.channel.stop()
    assert stage.finished() == []
    assert stage.noted() == []
    assert os.listdir(tmp_path / "channel") == []


def test_file_that_cannot_be_finished_is_left_for_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = RecordedStage(tmp_path)

    def finish(file: Any, patches: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(stage.folder, "finish", finish)
    stage.publish(*HEADERS, key("0"))
    stage.channel.stop()
    assert stage.finished() == []
    assert stage.recorder.failed == "Input/output error"
    assert [entry.state for entry in stage.noted()] == [RECORDING]


def test_next_file_is_written_while_the_disk_takes_long_to_finish_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = RecordedStage(tmp_path, Plan("flv", "%path", 100, 0))
    slow, real = NativeEvent(), stage.folder.finish
    monkeypatch.setattr(stage.folder, "finish", lambda *args: (slow.wait(60.0), real(*args)))
    stage.publish(*HEADERS, key("0"), inter("1", 100), key("2", 140))
    eventually(lambda: stage.recorder.files >= 2)
    assert stage.done == []
    slow.set()
    stage.channel.stop()
    stage.finished()
    assert [entry.file for entry in stage.done] == ["channel.flv", "channel_2.flv"]


def test_file_that_cannot_be_finished_ends_the_recording_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = RecordedStage(tmp_path, Plan("flv", "%path", 100, 0))
    real, calls = stage.folder.finish, []

    def finish(*args: Any) -> None:
        calls.append(args)
        if len(calls) == 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(*args)

    monkeypatch.setattr(stage.folder, "finish", finish)
    stage.publish(*HEADERS, key("0"), inter("1", 100), key("2", 140), inter("3", 240), key("4", 280))
    stage.finished()
    assert stage.recorder.failed == "Input/output error"
    assert [(entry.file, entry.reason) for entry in stage.done] == [("channel_2.flv", "Input/output error")]


def test_file_that_cannot_be_made_ends_the_recording(tmp_path: Path) -> None:
    (tmp_path / "channel").write_text("no folder")
    stage = RecordedStage(tmp_path)
    stage.publish(*HEADERS, key("0"))
    assert stage.finished() == []
    assert stage.recorder.failed == "Not a directory"


def test_hanging_disk_ends_the_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = RecordedStage(tmp_path, threads=Threads(deadline_s=0.05))
    hanging = NativeEvent()
    monkeypatch.setattr(stage.folder, "write", lambda file, blocks: hanging.wait(60.0))
    stage.publish(*HEADERS, key("0"))
    stage.recorder.stop()
    assert stage.finished() == []
    hanging.set()
    assert stage.recorder.failed == "the disk did not answer within 0.05 s"
    assert [entry.state for entry in stage.noted()] == [RECORDING]  # for the next start


def test_slow_disk_ends_the_recording_when_it_is_too_far_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = RecordedStage(tmp_path)
    stage.publish(*HEADERS, key("0"))
    eventually(lambda: stage.recorder.files)
    stage.publish(key("1", 40))
    stage.clock.time_s += 16.0
    stage.publish(key("2", 80))
    (tags,) = stage.finished()
    assert stage.recorder.failed.startswith("the disk or this machine is too slow")
    assert of(tags)[2:] == sent(key("0"))


def test_bug_ends_the_recording_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stage = RecordedStage(tmp_path)
    monkeypatch.setattr(stage.folder, "create", lambda name, suffix: 1 / 0)
    stage.publish(*HEADERS, key("0"))
    stage.finished()
    assert stage.recorder.failed == "an error of the server"
    assert "ZeroDivisionError" in caplog.text
    assert not stage.channel.readings


def moved(stage: RecordedStage) -> Entry:
    """Let the channel be another process's; return what it is told of the file."""
    eventually(lambda: stage.recorder.files)
    stage.channel.readings.moved()
    stage.finished()
    (entry,) = stage.noted()
    assert (entry.state, stage.done) == (MOVED, [])
    return entry


def test_other_process_goes_on_in_the_same_file(tmp_path: Path) -> None:
    stage = RecordedStage(tmp_path, Plan("flv", "%path", 100, 0))
    stage.publish(*HEADERS, key("0"), tone("a", 20))
    entry = moved(stage)
    stage.publish(inter("1", 40), key("2", 80), inter("3", 120), key("4", 160))
    stage.record(Job(GRANT, Plan("flv", "%path", 100, 0), Carried.read(entry)))
    stage.channel.stop()
    first, second = stage.finished()
    assert of(first)[2:] == sent(key("0"), tone("a"), inter("1"), key("2"), inter("3"))
    assert [tag.timestamp for tag in first[2:]] == [0, 20, 40, 80, 120]
    assert of(second)[2:] == sent(key("4"))
    assert list(stage.reasons()) == [BY_TIME, OVER]
    metadata = amf0.decode((tmp_path / "channel.flv").read_bytes()[24:200], lenient=True)[1]
    assert isinstance(metadata, dict)
    assert (metadata["duration"], metadata["filesize"]) == (0.12, stage.done[0].bytes)


@pytest.mark.parametrize(
    "change",
    [
        {"place": [1, 1 << 40]}, {"place": [7, 13]}, {"size": 1 << 30}, {"container": {}}, {"times": {}},
        {"times": {"end": 0, "kinds": [[1]], "newest": [0, 0]}}, {"container": {"flags": 1, "places": 7}},
    ],
)  # fmt: skip
def test_file_that_cannot_be_gone_on_with_is_finished(change: dict[str, Any], tmp_path: Path) -> None:
    stage = RecordedStage(tmp_path)
    stage.publish(*HEADERS, key("0"))
    entry = moved(stage)
    stage.publish(inter("1", 40))
    assert entry.carried is not None
    stage.record(Job(GRANT, PLAN, Carried.read(replace(entry, carried=entry.carried | change))))
    eventually(lambda: stage.recorder.files)
    stage.channel.stop()
    (second,) = stage.finished()
    assert of(second)[2:] == sent(key("0"), inter("1"))
    first, _ = stage.noted()
    assert (first.state, first.file, first.reason) == (DONE, "channel/s1.flv", "recovered")
    assert of(stage.tags(first))[2:] == sent(key("0"))


def test_publication_that_is_over_before_it_can_be_gone_on_with_is_over(tmp_path: Path) -> None:
    stage = RecordedStage(tmp_path)
    stage.publish(*HEADERS, key("0"))
    entry = moved(stage)
    stage.channel.stop()
    stage.record(Job(GRANT, PLAN, Carried.read(entry)._replace(place=(1, 1 << 40))))
    stage.finished()
    assert list(stage.reasons()) == ["recovered"]


def test_file_that_somebody_writes_or_removed_is_let_be(tmp_path: Path) -> None:
    stage = RecordedStage(tmp_path)
    stage.publish(*HEADERS, key("0"))
    entry = moved(stage)
    taken = stage.folder.take(entry.file)
    assert taken is not None
    assert take_up(stage.folder, Carried.read(entry), FORMS["flv"], ()) is None
    stage.folder.drop(taken)
    assert take_up(stage.folder, Carried.read(entry), FORMS["flv"], ()) is None


def test_disk_that_fails_when_a_file_is_taken_up_ends_the_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = RecordedStage(tmp_path)
    stage.publish(*HEADERS, key("0"))
    entry = moved(stage)

    def note(lines: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(stage.folder, "note", note)
    stage.record(Job(GRANT, PLAN, Carried.read(entry)))
    stage.finished()
    assert (stage.recorder.failed, stage.recorder.trouble) == ("Input/output error", DISK_ERROR)
    taken = stage.folder.take(entry.file)
    assert taken is not None  # nobody holds it


def test_channel_that_moves_before_its_first_keyframe_leaves_nothing(tmp_path: Path) -> None:
    stage = RecordedStage(tmp_path / "new")
    stage.publish(*HEADERS)
    stage.channel.readings.moved()
    assert stage.finished() == []
    assert not stage.folder.is_there()


def test_file_that_nobody_can_go_on_with_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = RecordedStage(tmp_path)
    monkeypatch.setattr(FlvFile, "leave", lambda file: (b"", None))
    stage.publish(*HEADERS, key("0"))
    eventually(lambda: stage.recorder.files)
    stage.channel.readings.moved()
    stage.finished()
    assert list(stage.reasons()) == ["moved"]


def test_stream_that_changes_all_the_time_ends_its_recording(tmp_path: Path) -> None:
    stage = RecordedStage(tmp_path)
    stage.publish(*HEADERS, key("0"))
    files = 0

    def next_is_done() -> bool:
        return len(stage.done) > files or bool(stage.recorder.failed)

    for number in range(2 * MAX_SHORT):
        files = len(stage.done)
        stage.publish((AVC_2, AVC)[number % 2], key(str(number), 40 * number))
        eventually(next_is_done)
    stage.finished()
    assert len(stage.done) == MAX_SHORT
    assert stage.recorder.trouble == MEDIA
    assert stage.channel.live


class Refusing(FlvFile):
    """Refuses its first message."""

    def begin(self, headers: Any, metadata: Any) -> bytes:
        return b""

    def frame(self, type_id: int, time_ms: int, payload: bytes) -> bytes:
        raise MediaRefused("no")


def refusing(count: int) -> dict[str, Form]:
    made: list[FlvFile] = []

    def new(headers: Any) -> FlvFile:
        made.append(Refusing(headers) if len(made) < count else FlvFile(headers))
        return made[-1]

    return {"flv": FORMS["flv"]._replace(new=new)}


def test_stream_whose_beginning_is_refused_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "AGAIN_S", 0.0)
    stage = RecordedStage(tmp_path, forms=refusing(2))
    stage.publish(*HEADERS, key("0"), key("1", 40), key("2", 80))
    stage.channel.stop()
    (tags,) = stage.finished()
    assert of(tags)[2:] == sent(key("2"))
    assert not list(tmp_path.rglob("*.part"))


def test_stream_that_is_refused_again_is_not_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = RecordedStage(tmp_path, forms=refusing(9))
    stage.publish(*HEADERS, key("0"), key("1", 40))  # that is too soon to try again
    stage.channel.stop()
    assert (stage.finished(), stage.recorder.failed) == ([], "")
    monkeypatch.setattr(recorder_module, "AGAIN_S", 0.0)
    stage = RecordedStage(tmp_path, forms=refusing(9))
    stage.publish(*HEADERS, *[key(str(at), at) for at in range(5)])
    assert (stage.finished(), stage.recorder.failed, stage.recorder.trouble) == ([], "no", MEDIA)


class Making:
    """Makes first parts of MP4, as soon as it may; before it does, it is busy so often."""

    def __init__(self, busy: int = 0) -> None:
        self.may = gevent.event.Event()
        self.asked = 0
        self.busy = busy

    def init(self, question: Any) -> bytes:
        self.asked += 1
        if self.asked <= self.busy:
            raise MediaBusy("too many")
        self.may.wait()
        return INIT

    def forms(self) -> dict[str, Form]:
        return {"mp4": Form(lambda headers: Mp4File(headers, self.init), FORMS["flv"].resumed)}

    def awaited(self, count: int = 1) -> None:
        eventually(lambda: self.asked >= count)


MP4 = Plan("mp4", "%path", 0, 0)


def test_stream_is_read_while_its_first_part_is_made(tmp_path: Path) -> None:
    making = Making()
    stage = RecordedStage(tmp_path, MP4, forms=making.forms())
    stage.publish(*HEADERS, key("0"), tone("a"))
    making.awaited()
    at = 0

    def is_read() -> bool:
        return stage.recorder.running()["seconds"] * 1000 >= at

    for at in range(1000, 40_000, 1000):  # as long as nothing may wait
        stage.clock.time_s += 1.0
        stage.publish(key(str(at), at))
        eventually(is_read)
    making.may.set()
    stage.channel.stop()
    stage.greenlet.get(timeout=PATIENCE_S)
    assert stage.recorder.failed == ""
    data = (tmp_path / "channel.mp4").read_bytes()
    for at in range(1000, 40_000, 1000):
        assert key(str(at))[3][5:] in data


def test_file_whose_first_part_is_not_made_in_time_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(recorder_module, "AGAIN_S", 0.0)
    making = Making(busy=2 * MAX_REFUSED)
    stage = RecordedStage(tmp_path, MP4, forms=making.forms())
    for number in range(making.busy):  # each is another file
        stage.publish((AVC_2, AVC)[number % 2], key(str(number), 40 * number), tone("a", 40 * number))
        making.awaited(number + 1)
    making.may.set()
    stage.publish(AVC_2, key("last", 400), tone("b", 400))
    stage.channel.stop()
    stage.greenlet.get(timeout=PATIENCE_S)
    assert stage.recorder.failed == ""
    assert caplog.text.count("is tried again: too many") > MAX_REFUSED
    assert key("last")[3][5:] in (tmp_path / stage.done[-1].file).read_bytes()


class NotedMemory:
    """A budget whose changes are noted."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.changes: list[int] = []

    def change(self, kind: str, by: int) -> None:
        self.changes.append(by)
        self._budget.change(kind, by)


def test_what_is_held_is_counted_and_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = RecordedStage(tmp_path)
    stage.publish(*HEADERS, key(b"x" * 100_000))
    memory = NotedMemory(stage.registry.budget)
    monkeypatch.setattr(stage.recorder, "_means", replace(stage.means, memory=memory))
    stage.channel.stop()
    stage.finished()
    assert max(memory.changes) > 100_000
    gevent.sleep(0)
    assert stage.used_bytes() == 0
