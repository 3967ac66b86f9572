from __future__ import annotations

import argparse
import time
from pathlib import Path

import jwt
import pytest

from rtmpsrv import token_command
from rtmpsrv.errors import ConfigError

SECRET = "token-secret-Qn4-that-is-long-enough"


def make(*arguments: str) -> dict[str, object]:
    """Return the claims of a token, whose signature must be right, and which nothing is said against."""
    token, warnings = made(*arguments)
    assert warnings == []
    return dict(jwt.decode(token, SECRET, algorithms=["HS256"]))


def made(*arguments: str) -> tuple[str, list[str]]:
    parser = argparse.ArgumentParser()
    token_command.describe_arguments(parser)
    return token_command.make(parser.parse_args(arguments))


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOKEN_SECRET", SECRET)


def test_a_token_holds_what_was_asked_for() -> None:
    before = int(time.time())
    plain = make("--channel", "live/*", "--action", "publish")
    assert set(plain) == {"iat", "exp", "channel", "action"}
    assert (plain["channel"], plain["action"]) == ("live/*", "publish")
    assert before + 3600 <= int(str(plain["exp"])) <= int(time.time()) + 3600
    several = ["--channel", "a", "--channel", "b", "--action", "play", "--action", "publish"]
    limits = ["--seconds", "5", "--max-bitrate", "8000000", "--max-seconds", "60"]
    full = make(*several, *limits, "--subject", "bob")
    assert (full["channel"], full["action"], full["sub"]) == (["a", "b"], ["play", "publish"], "bob")
    assert full["limits"] == {"max_bitrate": 8_000_000, "max_seconds": 60}
    assert int(str(full["exp"])) - int(str(full["iat"])) == 5


@pytest.mark.parametrize(
    "arguments",
    [
        "--channel a",
        "--action play",
        "--channel a --action record",
        "--channel a --action play --seconds 0",
        "--channel a --action play --max-bitrate x",
    ],
)
def test_what_makes_no_token(arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        make(*arguments.split())
    assert "error:" in capsys.readouterr().err


def test_without_a_secret_there_is_no_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TOKEN_SECRET", "")
    with pytest.raises(ConfigError, match="TOKEN_SECRET is not set"):
        make("--channel", "a", "--action", "play")
    monkeypatch.delenv("TOKEN_SECRET")
    (tmp_path / ".env").write_text(f"TOKEN_SECRET={SECRET}\n")
    assert make("--channel", "a", "--action", "play")["channel"] == "a"


def test_what_is_odd_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = ["--channel", "alice", "--channel", "live/*", "--action", "play"]
    make(*asked)
    monkeypatch.setenv("URL_LAYOUT", "App-Stream")
    (tmp_path / ".env").write_text("what is this\n")
    monkeypatch.setenv("TOKEN_SECRET", "s" * 31)
    token, (line, *told) = made(*asked)
    assert token.count(".") == 2
    assert "line 1: not of the form NAME=VALUE" in line
    assert told == [
        "TOKEN_SECRET has less than 32 bytes: it can be guessed",
        "no channel fits alice: it has one part, and channels are called APP/NAME (URL_LAYOUT)",
    ]
