"""The log. Numbers in names: docs/compliance.md."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import re
from collections.abc import Iterator
from typing import Any, TextIO

import pytest
from gevent import monkey

from rtmpsrv import log
from rtmpsrv.config import Config

close = monkey.get_original("os", "close")  # gevent's waits for its loop
LEVELS = ("ERROR", "WARNING", "INFO", "DEBUG", "TRACE")


@pytest.fixture(autouse=True)
def _restore_loggers() -> Iterator[None]:
    root = logging.getLogger("rtmpsrv")
    saved = root.handlers, root.propagate, root.level
    yield
    root.handlers, root.propagate = saved[0], saved[1]
    root.setLevel(saved[2])
    logging.getLogger("rtmpsrv.session").setLevel(logging.NOTSET)


def start(**environ: str) -> io.StringIO:
    stream = io.StringIO()
    log.setup(Config.load(environ, memory_bytes=0)[0], stream)
    return stream


def log_at_every_level(logger: log.Logger) -> None:
    logger.error("x")
    logger.warning("x")
    logger.info("x")
    logger.debug("x")
    logger.trace("x")


def levels_in(text: str) -> list[str]:
    return [level for level in LEVELS if f"[{level}] x" in text]


def test_s113_a_session_line_has_time_listener_number_and_level(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup()
    log.session_logger("SERVER:TCP", 1).info("Connection accepted from %s", "127.0.0.1")
    output = capsys.readouterr()
    time, rest = output.out[:22], output.out[22:]
    assert re.fullmatch(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\] ", time)
    assert rest == "[SERVER:TCP] [#1] [INFO] Connection accepted from 127.0.0.1\n"
    assert output.err == ""


def test_levels_can_be_switched_while_it_runs() -> None:
    stream = start()
    log.switch_levels(Config(log_info=False, log_debug=True, log_requests=False))
    log_at_every_level(log.get())
    log.session_logger("SERVER:TCP", 1).error("y")
    assert levels_in(stream.getvalue()) == ["ERROR", "WARNING", "DEBUG"]
    assert "y" not in stream.getvalue()


def test_a_process_that_is_one_of_several_names_itself_in_all_lines() -> None:
    stream = start()
    log.name_process("W7")
    log.get("PART").info("one")
    log.session_logger("PART", 1).info("two")
    assert [line[22:] for line in stream.getvalue().splitlines()] == [
        "[W7] [PART] [INFO] one",
        "[W7] [PART] [#1] [INFO] two",
    ]


def objects_in(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_lines_are_json_where_that_is_set() -> None:
    stream = start(LOG_FORMAT="json")
    log.name_process("W7")
    log.session_logger("SERVER:TCP", 12).info("caf\u00e9 %d", 1)
    log.get().info("%d items", "no number")
    first, second = objects_in(stream.getvalue())
    assert [first[name] for name in ("process", "logger", "session", "level", "message")] == [
        "W7", "SERVER:TCP", 12, "INFO", "caf\u00e9 1",
    ]  # fmt: skip
    assert (second["level"], second["message"][:15]) == ("ERROR", "message and arg")


def test_json_is_the_same_whatever_the_locale() -> None:
    raw = io.BytesIO()
    log.setup(Config(log_format="json"), io.TextIOWrapper(raw, encoding="ascii"))
    log.get().info("caf\u00e9")
    assert json.loads(raw.getvalue())["message"] == "caf\u00e9"


def test_the_form_can_be_switched_while_it_runs() -> None:
    stream = start()
    log.switch_levels(Config(log_format="json"))
    log.get().info("x")
    log.switch_levels(Config())
    log.get().info("y")
    first, second = stream.getvalue().splitlines()
    assert json.loads(first)["message"] == "x"
    assert second.endswith("[INFO] y")


@pytest.mark.parametrize(("asked", "is_json"), [(" JSON ", True), ("text", False), ("xml", False)])
def test_without_settings_the_environment_says_the_form(
    asked: str, is_json: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOG_FORMAT", asked)
    stream = io.StringIO()
    log.setup(None, stream)
    log.tell(logging.ERROR, ["RTMP_PORT is wrong"])
    assert stream.getvalue().startswith("{") == is_json


def test_a_logger_without_prefix_has_none() -> None:
    stream = start()
    log.get().info("started")
    assert re.fullmatch(r"\[[^\]]+\] \[INFO\] started\n", stream.getvalue())


def test_s114_log_requests_no_mutes_sessions_and_nothing_else() -> None:
    stream = start(LOG_REQUESTS="NO", LOG_TRACE="YES")
    log_at_every_level(log.session_logger("SERVER:TCP", 1))
    assert stream.getvalue() == ""
    log.get("SERVER:TCP").info("Rejected request from %s due to connection limit", "127.0.0.1")
    assert "Rejected request" in stream.getvalue()


def test_by_default_debug_and_trace_are_off() -> None:
    stream = start()
    log_at_every_level(log.get())
    assert levels_in(stream.getvalue()) == ["ERROR", "WARNING", "INFO"]


@pytest.mark.parametrize("level", LEVELS)
def test_levels_are_switched_one_by_one(level: str) -> None:
    only = {f"LOG_{other}": "YES" if other == level else "NO" for other in LEVELS}
    stream = start(**only)
    log_at_every_level(log.get())
    assert levels_in(stream.getvalue()) == [level]


def test_everything_can_be_switched_off() -> None:
    stream = start(**{f"LOG_{level}": "NO" for level in LEVELS})
    log_at_every_level(log.get())
    assert stream.getvalue() == ""
    assert not log.get().isEnabledFor(logging.ERROR)


def test_trace_moves_all_lines_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup(Config.load({"LOG_TRACE": "YES"}, memory_bytes=0)[0])
    log.get().info("x")
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.endswith("[INFO] x\n")


def test_what_a_peer_sends_cannot_make_a_line_of_its_own() -> None:
    stream = start()
    log.get().info("flashVer=%s", "a\n[x] [INFO] forged\r\x1b[2J\x85\u2028\ud800é")
    assert stream.getvalue().endswith("flashVer=a\\n[x] [INFO] forged\\r\\x1b[2J\\x85\\u2028\\ud800é\n")
    assert stream.getvalue().count("\n") == 1


def test_each_line_of_a_traceback_is_a_log_line() -> None:
    stream = start()
    try:
        raise ValueError("two\nlines")
    except ValueError:
        log.session_logger("SERVER:TCP", 2).exception("failed")
    lines = stream.getvalue().splitlines()
    assert lines[0].endswith("[ERROR] failed")
    assert lines[1].endswith("[ERROR] Traceback (most recent call last):")
    assert all(re.match(r"\[[^\]]+\] \[SERVER:TCP\] \[#2\] \[ERROR\] ", line) for line in lines)


@pytest.mark.parametrize("text", ["x" * 100_000, "é" * 3000])
def test_lines_are_bounded(text: str) -> None:
    stream = start()
    log.get().info(text)
    line = stream.getvalue()
    assert 4090 <= len(line.encode()) <= log.MAX_LINE_BYTES
    assert line.endswith("...\n")


def test_a_long_line_below_the_bound_is_left_whole() -> None:
    stream = start()
    log.get().info("y" * 3000)
    assert "y" * 3000 + "\n" in stream.getvalue()


def test_letters_that_the_locale_lacks_are_escaped() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    log.setup(None, stream)
    log.get().info("caf\u00e9")
    assert raw.getvalue().endswith(b"caf\\xe9\n")


@contextlib.contextmanager
def a_pipe(*, is_read: bool = True) -> Iterator[tuple[int, TextIO]]:
    reading, writing = os.pipe()
    if not is_read:
        close(reading)
    with open(writing, "w", encoding="ascii") as stream:
        yield reading, stream
    if is_read:  # otherwise the number is another's by now
        close(reading)


def end_log() -> None:
    (handler,) = logging.getLogger("rtmpsrv").handlers
    handler.close()


def test_a_file_gets_its_lines_after_what_was_printed_before() -> None:
    with a_pipe() as (reading, stream):
        print("before", file=stream)
        log.setup(None, stream)
        log.get().info("caf\u00e9")
        log.get().warning("second")
        end_log()
        lines = os.read(reading, 1000).decode("ascii").splitlines()
    assert lines[0] == "before"
    assert lines[1].endswith("[INFO] caf\\xe9")
    assert lines[2].endswith("[WARNING] second")


def test_setup_again_writes_what_the_first_one_still_held() -> None:
    with a_pipe() as (reading, stream):
        log.setup(None, stream)
        log.get().info("first")
        log.setup(None, stream)
        log.get().info("second")
        end_log()
        assert [line[-5:] for line in os.read(reading, 1000).splitlines()] == [b"first", b"econd"]


def test_a_stream_that_is_closed_takes_no_descriptor_of_somebody_else_with_it() -> None:
    with a_pipe() as (reading, stream):
        log.setup(None, stream)
        stream.close()
        log.get().info("still written")
        end_log()
        assert os.read(reading, 1000).endswith(b"still written\n")


def test_a_pipe_that_nobody_reads_holds_up_nobody_and_the_gap_is_told() -> None:
    with a_pipe() as (reading, stream):
        log.setup(None, stream)
        for number in range(30_000):
            log.get().info("line %d %s", number, "x" * 80)
        described = log.describe()
        assert described["dropped_lines"] > 15_000
        assert described["queued_bytes"] <= 1 << 20
        with open(reading, "rb", closefd=False) as lines:
            numbers = []
            for line in lines:
                if b"lines of the log were dropped here" in line:
                    break
                numbers.append(int(line.split()[4]))
        assert numbers == list(range(len(numbers)))
        assert re.match(rb"\[[^\]]+\] \[WARNING\] %d lines of the log" % described["dropped_lines"], line)
        assert len(numbers) + described["dropped_lines"] == 30_000
        end_log()


def test_a_gap_is_told_in_json_where_that_is_set() -> None:
    with a_pipe() as (reading, stream):
        log.setup(Config(log_format="json"), stream)
        for number in range(20_000):
            log.get().info("line %d %s", number, "x" * 80)
        with open(reading, "rb", closefd=False) as lines:
            messages = (json.loads(line)["message"] for line in lines)
            assert any("lines of the log were dropped here" in message for message in messages)
        end_log()


def test_a_reader_that_went_away_does_no_harm() -> None:
    with a_pipe(is_read=False) as (_, stream):
        log.setup(None, stream)
        log.get().info("lost")
        log.get().info("lost too")
        end_log()


def test_a_broken_stream_that_is_no_file_does_no_harm() -> None:
    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    log.setup(None, Broken())
    log.get().info("lost")
    assert log.describe() == {}
    end_log()


def test_a_closed_stream_does_no_harm() -> None:
    stream = start()
    stream.close()
    log.get().info("lost")


def test_arguments_that_do_not_fit_are_reported_and_do_no_harm() -> None:
    stream = start()
    log.get().info("%d items", "no number")
    assert "[ERROR] message and arguments do not fit: '%d items', " in stream.getvalue()
    assert __file__ in stream.getvalue()


def test_without_a_log_of_ours_there_is_nothing_to_describe() -> None:
    logging.getLogger("rtmpsrv").handlers = [logging.NullHandler()]
    assert log.describe() == {}
    log.setup(None, io.StringIO())  # leaves the handler of somebody else alone


def test_tracebacks_written_to_the_error_stream_become_lines() -> None:
    stream = start()
    errors = log.ErrorStream()
    assert errors.write("Traceback\n  File ") == 17
    errors.write('"x.py"\n\n')
    errors.flush()
    lines = stream.getvalue().splitlines()
    assert [line.partition("] [")[2] for line in lines] == ["ERROR] Traceback", 'ERROR]   File "x.py"']


def test_a_level_above_error_counts_as_error() -> None:
    stream = start()
    log.get().critical("x")
    assert "[CRITICAL] x" in stream.getvalue()


def test_events_are_reported_at_once_and_then_once_a_second() -> None:
    now = 100.0
    reports: list[int] = []
    events = log.RateLimited(reports.append, clock=lambda: now)
    events.add()
    assert reports == [1]
    for _ in range(5):
        events.add()
    events.add(10)
    assert reports == [1]
    now = 101.0
    events.add()
    assert reports == [1, 16]


def test_what_is_left_is_reported_by_flush() -> None:
    reports: list[int] = []
    events = log.RateLimited(reports.append, clock=lambda: 0.0)
    events.flush()
    events.add()
    events.add(4)
    events.flush()
    events.flush()
    assert reports == [1, 4]


def test_a_handler_that_fails_harms_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    class Failing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError("disk full")

    handler, logger = Failing(), logging.getLogger("rtmpsrv")
    logger.addHandler(handler)
    try:
        log.get("TEST").error("a line")
    finally:
        logger.removeHandler(handler)
    assert "disk full" in capsys.readouterr().err


def test_a_record_knows_the_line_that_it_came_from(caplog: pytest.LogCaptureFixture) -> None:
    log.get("TEST").error("a line")
    assert caplog.records[-1].funcName == "test_a_record_knows_the_line_that_it_came_from"


def test_lines_that_are_collected_are_logged_as_they_are() -> None:
    stream = start()
    log.tell(logging.WARNING, ["100 %s", "second"])
    assert [line.partition("] ")[2] for line in stream.getvalue().splitlines()] == [
        "[WARNING] 100 %s", "[WARNING] second",
    ]  # fmt: skip


def test_a_line_may_carry_values_for_who_reads_values(caplog: pytest.LogCaptureFixture) -> None:
    logger = log.session_logger("SERVER:TCP", 7)
    logging.getLogger("rtmpsrv").addHandler(caplog.handler)
    logger.error("closed", extra={"fields": {"channel": "news"}})
    logger.error("plain")
    logging.getLogger("rtmpsrv").removeHandler(caplog.handler)
    first, second = (next(one for one in caplog.records if one.msg == text) for text in ("closed", "plain"))
    assert (vars(first)["fields"], vars(first)["prefix"]) == ({"channel": "news"}, "[SERVER:TCP] [#7] ")
    assert "fields" not in vars(second)
