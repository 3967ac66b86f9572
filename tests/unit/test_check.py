"""What `--check-config` finds. The mistakes are those that people make."""

from __future__ import annotations

import importlib.util
from datetime import timedelta
from pathlib import Path

import pytest

from rtmpsrv.check import check
from tests.doubles.pairs import issue
from tests.server_process import PROJECT


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no `.env` of the developer be read."""
    monkeypatch.chdir(tmp_path)


def found(monkeypatch: pytest.MonkeyPatch, **settings: str) -> list[str]:
    """Return what is wrong; see that the verdict agrees."""
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    lines, right = check()
    marked = [line for line in lines if line.startswith("#")]
    assert right is not bool(marked)
    return marked


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"RTMP_PORT": "abc"}, ("RTMP_PORT", "1935")),
        ({"RTMP_PORT": "70000"}, ("RTMP_PORT", "65535")),
        ({"BIND_ADDRESS": "no-such-host.invalid"}, ("BIND_ADDRESS", "no-such-host.invalid")),
        ({"BIND_ADDRESS": "192.0.2.1"}, ("BIND_ADDRESS", "192.0.2.1")),
        ({"API_BIND_ADDRESS": "0.0.0.0", "API_TOKEN": "x"}, ("API_BIND_ADDRESS", "in the clear")),
        ({"RTMP_PORT": "5000", "HTTP_PORT": "5000"}, ("ERROR: RTMP_PORT, HTTP_PORT", "5000")),
        ({"API_PORT": "8080"}, ("WARNING: HTTP_PORT", "API_PORT")),
        ({"RTMP_PROT": "1936"}, ("RTMP_PROT", "RTMP_PORT")),
        ({"SSL_CERTIFICATE": "x.pem"}, ("SSL_CERTIFICATE", "SSL_CERT")),
        ({"MAX_IP_CONNECTIONS": "9"}, ("MAX_IP_CONNECTIONS", "MAX_IP_CONCURRENT_CONNECTIONS")),
        ({"SSL_CERT": "x.pem"}, ("SSL_CERT", "SSL_KEY")),
        ({"SSL_CERT": "x.pem", "SSL_KEY": "y.pem"}, ("SSL_CERT, SSL_KEY", "x.pem cannot be read")),
        ({"CALLBACK_URL": "localhost:8000"}, ("CALLBACK_URL", "http://")),
        ({"CALLBACK_URL": "http://localhost:8000/"}, ("JWT_SECRET", "empty")),
        ({"CONTROL_USE": "YES"}, ("CONTROL_USE", "CONTROL_BASE_URL")),
        ({"LOG_DEBUG": "1"}, ("LOG_DEBUG", "YES or NO")),
        ({"RTMP_PLAY_WHITELIST": "10.0.0.0/8;::1"}, ("RTMP_PLAY_WHITELIST", "10.0.0.0/8;::1")),
        ({"WORKERS": "2", "RUN_DIR": "/tmp"}, ("RUN_DIR", "open to others")),
        ({"WORKERS": "2", "RUN_DIR": f"/tmp/{'x' * 76}"}, ("RUN_DIR", "longer than 80 bytes")),
        ({"WORKERS": "2", "RUN_DIR": "/none/run"}, ("RUN_DIR", "cannot be made: /none is not there")),
        ({"WORKERS": "2", "RUN_DIR": "/dev/null/x"}, ("RUN_DIR", "cannot be made: Not a directory")),
        ({"PID_FILE": "/none/pid"}, ("PID_FILE", "cannot be written")),
        ({"PID_FILE": "/tmp"}, ("PID_FILE", "is a directory")),
        (
            {"PID_FILE": "/etc/passwd"},
            ("PID_FILE", "names no process"),
        ),
        ({"URL_LAYOUT": "srs"}, ("URL_LAYOUT", "app-stream")),
        ({"RECORD": "YES", "RECORD_DIR": "/dev/null/x"}, ("RECORD_DIR", "/dev/null is not a directory")),
        ({"PLAY_ACCESS": "token"}, ("PLAY_ACCESS", "TOKEN_SECRET")),
        ({"PUBLISH_ACCESS": "tokens"}, ("ERROR: PUBLISH_ACCESS", "open, key, token, login")),
        ({"PUBLISH_ACCESS": "key"}, ("PUBLISH_ACCESS", "CHANNELS_FILE")),
        ({"CHANNELS_FILE": "none.toml"}, ("CHANNELS_FILE", "none.toml cannot be read")),
        ({"CHANNELS_FILE": "/dev/null"}, ("CHANNELS_FILE", "it is not a regular file")),
        ({"REDIS_USE": "YES", "REDIS_TLS": "YES", "REDIS_CA": "setup.cfg"}, ("REDIS_CA", "cannot be read")),
    ],
)
def test_a_mistake_is_found_and_named(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], names: tuple[str, str]
) -> None:
    lines = found(monkeypatch, **settings)
    assert [all(name in line for name in names) for line in lines[:1]] == [True]


def test_several_workers_need_gunicorn_and_a_directory_that_may_still_be_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert found(monkeypatch, WORKERS="2", RUN_DIR=str(tmp_path / "run")) == []
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert found(monkeypatch, API_PORT="0", HTTP_PORT="0") == [
        "# ERROR: WORKERS: 2 need gunicorn: pip install '.[workers]' in the folder of the sources"
    ]


def test_a_directory_is_judged_where_it_is_used_and_nothing_is_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert found(monkeypatch, RUN_DIR="/none/run") == []
    callback = {"CALLBACK_URL": "http://localhost:8000/", "JWT_SECRET": "x"}
    assert found(monkeypatch, **callback) == [
        "# ERROR: RUN_DIR: /none/run cannot be made: /none is not there"
    ]
    assert found(monkeypatch, RUN_DIR=str(tmp_path / "run")) == []
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr("os.access", lambda path, mode: path != tmp_path)
    (line,) = found(monkeypatch)
    assert line == f"# ERROR: RUN_DIR: {tmp_path / 'run'} cannot be made: {tmp_path} may not be written"


def test_a_folder_of_recordings_has_to_be_writable_where_all_is_recorded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "of" / "recordings"
    assert found(monkeypatch, RECORD="YES", RECORD_DIR=str(folder)) == []
    assert not folder.parent.exists()
    monkeypatch.setattr("os.access", lambda path, mode: path != tmp_path)
    [line] = found(monkeypatch)
    assert line == f"# ERROR: RECORD_DIR: {folder} cannot be used: {tmp_path} may not be written"
    assert found(monkeypatch, RECORD="NO") == []


def test_a_format_of_recordings_has_to_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "av" else real(name))
    assert found(monkeypatch, RECORD="YES", RECORD_FORMAT="mp4") == [
        "# ERROR: RECORD_FORMAT: mp4 needs the extra `web`: pip install '.[web]' in the folder of the sources"
    ]
    assert found(monkeypatch, RECORD_FORMAT="flv") == []


def test_the_defaults_and_the_example_are_right(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert found(monkeypatch) == []
    (tmp_path / ".env").write_text((PROJECT / "config" / "example.env").read_text())
    assert found(monkeypatch) == []
    lines, _ = check()
    assert "RTMP_PORT=1935" in lines


def test_warnings_and_errors_are_told_together(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("RTMP_PORT: 5\n")
    lines = found(monkeypatch, RTMP_PORT="0", SSL_PORT="x", SSL_CERT="x.pem")
    assert [line.split(" ")[1] for line in lines] == ["WARNING:", "WARNING:", "WARNING:", "ERROR:"]
    assert "line 1: not of the form NAME=VALUE" in lines[0]


def test_the_certificate_is_looked_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def of_pair(**dates: timedelta) -> list[str]:
        chain, key = issue(**dates).write(tmp_path)  # type: ignore[arg-type]  # by name, they are dates only
        return found(monkeypatch, SSL_CERT=str(chain), SSL_KEY=str(key))

    assert of_pair() == []
    (line,) = of_pair(ends=timedelta(days=3, hours=1))
    assert line == "# WARNING: SSL_CERT, SSL_KEY: the certificate expires in 3 days"
    (line,) = of_pair(ends=timedelta(hours=-1))
    assert line.startswith("# WARNING: SSL_CERT, SSL_KEY: certificate 1 expired on ")


def test_all_that_is_wrong_with_channels_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "channels.toml"
    path.write_text('[[channel]]\nname = "a"\nsecond_publisher = "stalled"\nreconnect_seconds = 10\n')
    assert found(monkeypatch, CHANNELS_FILE=str(path)) == []
    path.write_text('[[channel]]\nnaem = "a"\nmax_players = "5"\nsecond_publisher = "both"\n')
    assert found(monkeypatch) == [
        "# ERROR: CHANNELS_FILE: line 2: unknown key; the nearest is name",
        "# ERROR: CHANNELS_FILE: line 3: must be a whole number above 0",
        "# ERROR: CHANNELS_FILE: line 4: second_publisher must be one of refuse, stalled, takeover",
        "# ERROR: CHANNELS_FILE: line 1: name is missing",
    ]


def test_channels_that_no_name_fits_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "channels.toml"
    path.write_text('[[channel]]\nname = "alice"\n')
    assert found(monkeypatch, CHANNELS_FILE=str(path), URL_LAYOUT="app-stream") == [
        "# WARNING: CHANNELS_FILE: line 2: this entry fits no channel: it has one part, and channels are "
        "called APP/NAME (URL_LAYOUT)"
    ]


def test_a_file_of_authorities_without_one_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    settings = {"CALLBACK_URL": "https://x/", "JWT_SECRET": "x", "CALLBACK_CA": str(tmp_path / "ca.pem")}
    (line,) = found(monkeypatch, **settings)
    assert line.startswith(f"# ERROR: CALLBACK_CA: {tmp_path / 'ca.pem'} holds no certificates")
    assert found(monkeypatch, CALLBACK_URL="") == [], "it is not in use"
