"""The admin side put together: whether there is one, and what it answers."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from gevent import socket as gsocket
from gevent.event import Event

from rtmpsrv import admin, log
from rtmpsrv.admin import AdminSide, answered, ask_alone, open_desk
from rtmpsrv.api_settings import MISSING
from rtmpsrv.config import Config
from rtmpsrv.errors import ConfigError
from rtmpsrv.workers.estate import Door
from tests.server_process import free_port

ASKED = frozenset({"API_PORT"})


def ask(what: str, arguments: tuple[Any, ...], timeout_s: float) -> dict[str, bytes | None]:
    return {}


def config(port: int, **more: object) -> Config:
    return Config(api_port=port, **more)  # type: ignore[arg-type]


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]


@pytest.fixture(autouse=True)
def _heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("rtmpsrv"), "propagate", True)


def test_there_is_one_unless_it_is_not_wanted() -> None:
    assert open_desk(config(0), ask) is None
    port = free_port()
    desk = open_desk(config(port), ask)
    assert desk is not None
    assert desk.bound_to == ("127.0.0.1", port)
    assert desk.descriptor is not None
    desk.close()


def test_a_port_that_is_taken_matters_where_it_was_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    with gsocket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert open_desk(config(port), ask) is None
        (line,) = warned(caplog)
        assert line.startswith(f"no API, metrics and page: API_PORT: cannot listen on 127.0.0.1:{port}")
        with pytest.raises(ConfigError):
            open_desk(config(port, given=ASKED), ask)
        patient = open_desk(config(port, given=ASKED), ask, patient=True)
        assert patient is not None
        assert patient.descriptor is None
        patient.close()


def test_the_extra_matters_where_it_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(admin, "installed", lambda: False)
    assert open_desk(config(1), ask) is None
    assert warned(caplog) == [f"{MISSING} (API_PORT=0 wants none)"]
    with pytest.raises(ConfigError) as caught:
        open_desk(config(1, given=ASKED), ask, patient=True)
    assert caught.value.problems == [f"API_PORT: {MISSING}"]


def test_a_side_without_a_desk_does_nothing() -> None:
    doors: list[Door] = []
    for side in (AdminSide(config(1), None, doors), AdminSide(config(0), ask, doors)):
        side.open()
        side.start()
        side.reload()
        side.retire()
        side.close()
    assert doors == []


def test_a_side_with_a_desk_passes_on_what_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    doors: list[Door] = []
    side = AdminSide(config(free_port()), ask, doors)
    side.open()
    done: list[str] = []
    for name in ("start", "reload", "retire"):
        monkeypatch.setattr(side.desk, name, lambda name=name: done.append(name))
        getattr(side, name)()
    assert done == ["start", "reload", "retire"]
    assert doors == [side.desk]
    side.close()
    assert doors[0].descriptor is None


def test_a_single_process_answers_itself() -> None:
    logger = log.get("TEST")
    assert ask_alone(lambda what, arguments: b"%d" % len(arguments), logger)("x", (1, 2), 1.0) == {"": b"2"}


def test_no_answer_in_time_is_none_and_so_is_a_bug(caplog: pytest.LogCaptureFixture) -> None:
    logger = log.get("TEST")
    assert answered(lambda what, arguments: Event().wait(), "x", (), 0.01, logger) is None  # type: ignore[arg-type, return-value]
    assert warned(caplog) == []

    def fails(what: str, arguments: tuple[Any, ...]) -> bytes:
        raise KeyError(what)

    assert answered(fails, "x", (), 1.0, logger) is None
    assert [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR] == ["x failed"]
