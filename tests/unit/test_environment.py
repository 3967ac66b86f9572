"""Which `.env` is read, and what of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rtmpsrv.environment import _dotenv_file, load_environment
from rtmpsrv.errors import ConfigError


def test_the_env_file_may_be_in_a_parent_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("SSL_PORT=2001\n")
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    monkeypatch.delenv("SSL_PORT", raising=False)
    assert load_environment()[0]["SSL_PORT"] == "2001"


def test_a_line_of_the_env_file_that_is_none_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_bytes(
        "\ufeffSSL_PORT=2001\nRTMP_PORT: 3000\n# comment\n\nRTMP_HOST=x\n".encode()
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SSL_PORT", raising=False)
    monkeypatch.delenv("RTMP_HOST", raising=False)
    environ, warnings = load_environment()
    assert (environ["SSL_PORT"], environ["RTMP_HOST"]) == ("2001", "x")
    assert warnings == [f"{tmp_path / '.env'}, line 2: not of the form NAME=VALUE, and ignored"]


def test_the_nearest_env_file_counts_and_may_be_a_named_pipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("SSL_PORT=2001\n")
    below = tmp_path / "a"
    below.mkdir()
    (below / ".env").mkdir()  # no file
    monkeypatch.chdir(below)
    assert _dotenv_file() == tmp_path / ".env"
    (below / ".env").rmdir()
    os.mkfifo(below / ".env")
    assert _dotenv_file() == below / ".env"


def test_a_named_pipe_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / ".env")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"\.env is a named pipe, which is read at the start only"):
        load_environment(again=True)
    (tmp_path / ".env").unlink()
    (tmp_path / ".env").write_text("RTMP_HOST=x\n")
    assert load_environment(again=True)[0]["RTMP_HOST"] == "x"


def test_no_env_file_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "is_file", lambda path: False)
    monkeypatch.setenv("SSL_PORT", "2001")
    assert load_environment()[0]["SSL_PORT"] == "2001"


def test_an_env_file_that_cannot_be_read_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_bytes(b"A=\xff\xfe\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_environment()


def test_a_working_directory_that_was_removed_is_fine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    monkeypatch.setenv("SSL_PORT", "2001")
    assert load_environment()[0]["SSL_PORT"] == "2001"
