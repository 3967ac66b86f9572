"""The settings that a manager hands on, and what of them may change."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from rtmpsrv.config import KNOWN, Config
from rtmpsrv.errors import ConfigError
from rtmpsrv.workers import accepted


@pytest.fixture(autouse=True)
def _nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*KNOWN, accepted.VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def begin(folder: Path, text: str) -> dict[str, str]:
    """Start with a `.env`; return what is fixed from then on."""
    Path(".env").write_text(text)
    wanted = accepted.read(again=False)
    fixed = accepted.fixed_by(wanted.config, str(folder))
    accepted.settle(wanted, fixed)
    return fixed


def test_who_starts_under_a_manager_has_what_that_accepted_whatever_was_written_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(tmp_path, "RTMP_PORT=7001\nTOKEN_SECRET=hush\nURL_LAYOUT=app-stream\n")
    file = Path(accepted.path_in(str(tmp_path)))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    Path(".env").write_text("RTMP_PORT=wrong\n")
    monkeypatch.setenv(accepted.VARIABLE, str(file))
    config, warnings = Config.start()
    assert (config.rtmp_port, config.token_secret, config.url_layout) == (7001, "hush", "app-stream")
    assert (config.run_dir, warnings) == (str(tmp_path), [])
    file.unlink()
    with pytest.raises(ConfigError, match=r"settings\.json cannot be read: No such file") as caught:
        Config.start()
    assert "hush" not in str(caught.value)
    file.write_text("{hush")
    with pytest.raises(ConfigError, match=r"cannot be read: it is damaged"):
        Config.start()


def test_ports_and_the_directory_stay_and_that_is_told(tmp_path: Path) -> None:
    fixed = begin(tmp_path, f"RTMP_PORT=7001\nRUN_DIR={tmp_path}\nPID_FILE=/a\n")
    Path(".env").write_text("RTMP_PORT=7002\nRUN_DIR=/other\nPID_FILE=/b\nSSL_CERT=c\nSSL_KEY=k\nWORKERS=3\n")
    wanted = accepted.read(again=True)
    config = accepted.settle(wanted, fixed)
    assert (config.rtmp_port, config.run_dir, config.pid_file) == (7001, str(tmp_path), "/a")
    assert (config.workers, config.tls_enabled) == (3, False)
    assert accepted.last(str(tmp_path)) == config
    told = {line.rpartition(": ")[2] for line in accepted.waits(wanted, config)}
    assert told == {"RTMP_PORT", "RUN_DIR", "PID_FILE", "SSL_CERT", "SSL_KEY"}


def test_a_default_directory_is_no_change_and_certificates_may_be_renewed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    folder = tmp_path / "rtmpsrv-1935"
    folder.mkdir()
    fixed = begin(folder, "SSL_CERT=a\nSSL_KEY=b\n")
    Path(".env").write_text("SSL_CERT=c\nSSL_KEY=d\n")
    wanted = accepted.read(again=True)
    config = accepted.settle(wanted, fixed)
    assert (config.ssl_cert, config.ssl_key) == ("c", "d")
    assert accepted.waits(wanted, config) == []


def test_what_is_wrong_changes_nothing(tmp_path: Path) -> None:
    fixed = begin(tmp_path, "MAX_CONNECTIONS=5\n")
    Path(".env").write_text("WORKERS=0\nno setting\n")
    with pytest.raises(ConfigError) as caught:
        accepted.read(again=True)
    assert "WORKERS" in caught.value.problems[0]
    assert "line 2" in caught.value.warnings[0]
    Path(".env").write_text("MAX_CONNECTIONS=6\n")
    with pytest.raises(ConfigError, match="cannot be written"):
        accepted.settle(accepted.read(again=True), fixed | {"RUN_DIR": str(tmp_path / "none")})
    assert accepted.last(str(tmp_path)).max_connections == 5
