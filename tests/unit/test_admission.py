"""Who decides, as the settings say. What each of them does is in tests/unit/access and tests/integration."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from rtmpsrv import admission as admission_module
from rtmpsrv.access.callbacks import CallbackAuthority
from rtmpsrv.access.coordinator import Coordinator
from rtmpsrv.access.form_jwt import JwtForm
from rtmpsrv.access.form_mediamtx import MediaMtxForm
from rtmpsrv.access.form_nginx import NginxForm
from rtmpsrv.access.form_srs import SrsForm
from rtmpsrv.access.gate import OpenAuthority, PublishRequest
from rtmpsrv.access.ip_rules import IpRules
from rtmpsrv.access.redis_commands import parse_command
from rtmpsrv.admission import Admission, callback_hooks, callback_sender, connection_limits, longest_answer_s
from rtmpsrv.config import Config
from rtmpsrv.errors import AccessDenied, ConfigError
from rtmpsrv.server.turns import Turns
from tests.doubles.secrets import JWT_SECRET, KEY

NOWHERE = "http://127.0.0.1:9/"
CONTROLLED: dict[str, Any] = {"control_use": True, "control_base_url": "ws://127.0.0.1:9/"}
CALLED: dict[str, Any] = {"callback_url": NOWHERE, "jwt_secret": JWT_SECRET}
REQUEST = PublishRequest("news", KEY, "10.0.0.1")


@pytest.mark.parametrize(
    ("settings", "kind", "longest_s"),
    [
        ({}, OpenAuthority, 0.0),
        (CALLED | {"callback_timeout_seconds": 7}, CallbackAuthority, 7.0),
        (CONTROLLED | {"control_request_timeout_seconds": 7}, Coordinator, 14.0),
        (CALLED | CONTROLLED, Coordinator, 40.0),
    ],
)
def test_the_control_server_decides_else_the_callback_else_nobody(
    settings: dict[str, Any], kind: type[object], longest_s: float
) -> None:
    config = Config(**settings)
    made = Admission(config, Turns())
    assert type(made.authority) is kind
    assert (made.coordinator is made.authority) == (kind is Coordinator)
    assert (made.callbacks is made.authority) == (kind is CallbackAuthority)
    assert made.redis is None
    assert longest_answer_s(config) == longest_s


class Commands:
    """Counts."""

    def __init__(self) -> None:
        self.did: list[str] = []

    def start(self) -> None:
        self.did.append("start")

    def stop(self) -> None:
        self.did.append("stop")


def test_commands_from_redis_are_taken_where_it_is_in_use() -> None:
    made: Any = Admission(Config(redis_use=True, redis_port=9, redis_channel="orders"), Turns())
    assert made.redis is not None
    made.redis = Commands()
    made.start()
    made.stop_commands()
    assert made.redis.did == ["start", "stop"]
    without = Admission(Config(), Turns())
    without.start()
    without.stop_commands()
    assert without.redis is None


def test_a_command_ends_and_closes_a_channel_and_others_are_told() -> None:
    made: Any = Admission(Config(redis_use=True, redis_port=9), Turns())
    killed: list[str] = []
    told: list[tuple[str, float]] = []
    made.on_block = lambda *what: told.append(what)
    made.gate.admit(REQUEST, killed.append)
    assert made.redis._kill("news", "not this one") is False
    assert killed == []
    assert made.redis._block("news", 60.0) is True
    assert killed == [admission_module.KILLED_BY_REDIS]
    assert told == [("news", 60.0)]
    with pytest.raises(AccessDenied):
        made.gate.admit(REQUEST, killed.append)
    assert made.redis._block("news", 0.0) is False, "nothing is left to end"
    assert made.gate.admit(REQUEST, killed.append).channel == "news"


def test_commands_close_no_channel_whose_name_is_longer_than_any() -> None:
    made: Any = Admission(Config(redis_use=True, redis_port=9, id_max_length=4), Turns())
    for channel in ("news", "longer"):
        made.redis._obey(parse_command(f"kill-session>{channel}|60"))
    assert list(made.gate.blocks()) == ["news"]


def test_the_control_server_ends_one_stream_and_its_loss_ends_all() -> None:
    made = Admission(Config(**CONTROLLED), Turns(), lambda admission: OpenAuthority())
    assert made.coordinator is not None
    killed: list[str] = []
    news = made.gate.admit(REQUEST, killed.append)
    made.gate.admit(PublishRequest("sport", KEY, "10.0.0.1"), killed.append)
    made.coordinator.on_stream_kill("news", "not this one")
    assert killed == []
    made.coordinator.on_stream_kill("news", news.stream_id)
    assert killed == ["killed by the control server"]
    made.coordinator.on_link_lost()
    assert killed == ["killed by the control server", "control link lost"]


def test_it_connects_to_the_control_server_at_the_start() -> None:
    made: Any = Admission(Config(**CONTROLLED), Turns())
    made.coordinator = Commands()
    made.start()
    assert made.coordinator.did == ["start"]


@pytest.mark.parametrize(
    ("settings", "keeps", "kept"),
    [(CALLED, True, True), (CALLED, False, False), ({}, True, False), (CALLED | CONTROLLED, True, False)],
)
def test_stops_are_noted_for_a_callback_where_there_is_a_directory(
    tmp_path: Path, settings: dict[str, Any], keeps: bool, kept: bool
) -> None:
    folder = tmp_path / "run"
    made = Admission(Config(**settings, run_dir=str(folder)), Turns(), keeps_stops=keeps)
    names = [f"stops-{os.getpid()}.journal", f"stops-{os.getpid()}.lock"] if kept else []
    assert (sorted(os.listdir(folder)) if folder.exists() else []) == names
    assert (made.gate._authority is made.authority) is not kept


def test_without_a_directory_nothing_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    made = Admission(Config(**CALLED), Turns(), keeps_stops=True)
    assert made.gate._authority is made.authority
    assert os.listdir(tmp_path) == []


def test_a_directory_that_another_one_uses_is_an_error(tmp_path: Path) -> None:
    config = Config(**CALLED, run_dir=str(tmp_path / "run"))
    first = Admission(config, Turns(), keeps_stops=True)
    with pytest.raises(ConfigError) as caught:
        Admission(config, Turns(), keeps_stops=True)
    (problem,) = caught.value.problems
    assert problem.startswith(f"RUN_DIR: {tmp_path / 'run'} cannot be used: ")
    assert "held by another process" in problem
    assert first.callbacks is not None


@pytest.mark.parametrize(
    ("name", "form"), [("jwt", JwtForm), ("nginx", NginxForm), ("srs", SrsForm), ("mediamtx", MediaMtxForm)]
)
def test_the_callback_is_told_in_the_form_that_is_set(name: str, form: type[object]) -> None:
    assert type(callback_sender(Config(**CALLED, callback_format=name), Turns()).form) is form


@pytest.mark.parametrize(
    ("events", "wide"), [("stop,start", False), ("start", True), ("start,stop,play", True)]
)
def test_the_reference_servers_two_events_are_told_as_it_does(events: str, wide: bool) -> None:
    assert callback_sender(Config(**CALLED, callback_events=events), Turns()).form.wants_facts is wide


@pytest.mark.parametrize(
    ("host", "server_id"), [("live.example", "live.example"), ("", socket.gethostname())]
)
def test_servers_that_share_a_backend_are_told_apart(host: str, server_id: str) -> None:
    form: Any = callback_sender(Config(**CALLED, callback_format="srs", rtmp_host=host), Turns()).form
    assert form._server_id == server_id


def test_players_are_asked_about_where_there_is_a_callback() -> None:
    assert callback_hooks(Config(callback_events="start,play"), Turns()) is None
    assert callback_hooks(Config(**CALLED, **CONTROLLED), Turns()) is None
    hooks: Any = callback_hooks(
        Config(**CALLED, callback_events="start,play", callback_update_seconds=7), Turns()
    )
    assert (hooks._kinds, hooks._update_s) == ({"start", "play"}, 7.0)


def test_connections_are_limited_as_set_and_refusals_name_the_settings() -> None:
    config = Config(
        max_connections=3,
        max_ip_concurrent_connections=1,
        concurrent_limit_whitelist=IpRules.parse("10.0.0.9"),
    )
    limits = connection_limits(config)
    assert limits.admit("10.0.0.1") is None
    refusal = limits.admit("10.0.0.1")
    assert refusal is not None
    assert "MAX_IP_CONCURRENT_CONNECTIONS" in refusal
    assert limits.admit("10.0.0.9") is None
    assert limits.admit("10.0.0.9") is None
    refusal = limits.admit("10.0.0.9")
    assert refusal is not None
    assert "MAX_CONNECTIONS" in refusal
