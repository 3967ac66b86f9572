"""What is warned of though each setting alone is right."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtmpsrv.access.callback_sender import Form
from rtmpsrv.access.facts import KINDS
from rtmpsrv.access.form_mediamtx import MediaMtxForm
from rtmpsrv.access.form_srs import SrsForm
from rtmpsrv.advice import EMPTY_SECRET, UNKNOWN_EVENTS, at_start, what_waits
from rtmpsrv.config import Config
from tests.unit.test_config import problems_of, warnings_of


def test_one_port_for_both_is_warned_of() -> None:
    (warning,) = warnings_of(SSL_CERT="x.pem", SSL_KEY="y.pem", SSL_PORT="1935")
    assert warning == "SSL_PORT is 1935, which is RTMP_PORT: there is no RTMPS"
    assert warnings_of(SSL_PORT="1935") == []


def test_a_missing_control_base_url_draws_a_warning() -> None:
    (warning,) = warnings_of(CONTROL_USE="YES")
    assert "every publisher will be refused" in warning


def test_pings_rarer_than_the_idle_limit_draw_a_warning() -> None:
    (warning,) = warnings_of(PING_INTERVAL_SECONDS="60")
    assert "IDLE_TIMEOUT_SECONDS" in warning


@pytest.mark.parametrize(
    ("used", "variable"),
    [
        ({"CALLBACK_URL": "https://x/"}, "CALLBACK_CA"),
        ({"REDIS_USE": "YES", "REDIS_TLS": "YES"}, "REDIS_CA"),
        ({"CONTROL_USE": "YES", "CONTROL_BASE_URL": "wss://x/"}, "CONTROL_CA"),
    ],
)
def test_an_authority_file_that_is_used_and_cannot_be_read_is_warned_of(
    used: dict[str, str], variable: str, tmp_path: Path
) -> None:
    (warning,) = warnings_of(**used, **{variable: str(tmp_path / "none.pem")})
    assert warning.startswith(f"{variable}: {tmp_path / 'none.pem'} cannot be read")
    assert warnings_of(**{variable: str(tmp_path / "none.pem")}) == []
    (tmp_path / "none.pem").touch()
    assert warnings_of(**used, **{variable: str(tmp_path / "none.pem")}) == []


@pytest.mark.parametrize("which", ["PUBLISH_ACCESS", "PLAY_ACCESS"])
def test_tokens_need_one_source_of_keys(which: str) -> None:
    tokens = {which: "token"}
    (problem,) = problems_of(**tokens)
    assert problem.endswith("given is none")
    (problem,) = problems_of(**tokens, TOKEN_SECRET="x" * 32, TOKEN_JWKS_FILE="y")
    assert problem.endswith("given is TOKEN_SECRET and TOKEN_JWKS_FILE")
    assert warnings_of(**tokens, TOKEN_JWKS_URL="https://h/keys") == []
    assert warnings_of(TOKEN_SECRET="x", TOKEN_JWKS_FILE="y") == [], "nobody shows tokens"


def test_a_short_secret_of_tokens_is_warned_of() -> None:
    assert warnings_of(PLAY_ACCESS="token", TOKEN_SECRET="x" * 32) == []
    (warning,) = warnings_of(PLAY_ACCESS="token", TOKEN_SECRET="x" * 31)
    assert warning == "TOKEN_SECRET has less than 32 bytes: it can be guessed"


def test_keys_need_the_file_that_they_are_in() -> None:
    assert problems_of(PUBLISH_ACCESS="key") == [
        "PUBLISH_ACCESS: the keys are in CHANNELS_FILE, which is not given"
    ]
    assert warnings_of(PUBLISH_ACCESS="key", CHANNELS_FILE="x") == []


def test_the_file_may_be_why_there_are_tokens() -> None:
    assert "TOKEN_SECRET has less" in warnings_of(CHANNELS_FILE="x", TOKEN_SECRET="y")[0]
    (problem,) = problems_of(CHANNELS_FILE="x", TOKEN_SECRET="y" * 32, TOKEN_JWKS_FILE="z")
    assert problem.endswith("given is TOKEN_SECRET and TOKEN_JWKS_FILE")


def test_streams_that_everybody_may_watch_by_mistake_are_warned_of() -> None:
    tokens = {"PUBLISH_ACCESS": "token", "TOKEN_SECRET": "x" * 32}
    (warning,) = warnings_of(URL_LAYOUT="app-stream", **tokens)
    assert warning.startswith("PUBLISH_ACCESS=token with PLAY_ACCESS=key")
    assert warnings_of(URL_LAYOUT="app-stream", PLAY_ACCESS="token", **tokens) == []
    assert warnings_of(**tokens) == []


def test_events_that_a_format_has_no_word_for_draw_a_warning() -> None:
    used = {"CALLBACK_URL": "http://h/", "CALLBACK_FORMAT": "mediamtx", "JWT_SECRET": "x"}
    assert warnings_of(**used) == []
    (warning,) = warnings_of(**used, CALLBACK_EVENTS="start,stop,play,update")
    assert warning == "CALLBACK_EVENTS: mediamtx has no stop, update, which will not be told"
    assert warnings_of(**used | {"CALLBACK_FORMAT": "nginx", "CALLBACK_EVENTS": "update,play"}) == []


def test_the_words_of_the_formats_are_those_that_their_modules_know() -> None:
    forms: dict[str, Form] = {"srs": SrsForm("x"), "mediamtx": MediaMtxForm()}
    assert {name: set(KINDS) - form.kinds for name, form in forms.items()} == UNKNOWN_EVENTS


def test_an_empty_secret_matters_where_tokens_are_signed() -> None:
    assert warnings_of(CALLBACK_URL="http://h/", JWT_SECRET="") == [EMPTY_SECRET]
    assert warnings_of(CALLBACK_URL="http://h/", JWT_SECRET="", CALLBACK_FORMAT="srs") == []


def test_what_a_successor_brings_is_told_from_what_needs_a_restart() -> None:
    assert what_waits([]) == []
    assert what_waits(["RTMP_PORT", "WORKERS", "SSL_PORT"]) == [
        "Changed, but in force after SIGUSR2 or a restart only: RTMP_PORT, SSL_PORT",
        "Changed, but in force after a restart only: WORKERS",
    ]
    assert len(what_waits(["WORKERS"])) == 1


def test_a_start_warns_of_an_empty_secret_once_and_only_where_the_format_has_tokens() -> None:
    config, _ = Config.load({})
    assert at_start(config, ["w"]) == ["w", EMPTY_SECRET]
    assert at_start(config, [EMPTY_SECRET]) == [EMPTY_SECRET]
    for settings in ({"JWT_SECRET": "s" * 32}, {"CALLBACK_FORMAT": "srs"}):
        config, _ = Config.load(settings)
        assert at_start(config, []) == []
