"""Where the processes of a server meet."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest

from rtmpsrv import run_dir
from rtmpsrv.errors import ConfigError


def problem(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        run_dir.prepare(path)
    (text,) = caught.value.problems
    return text


def test_the_setting_wins() -> None:
    assert run_dir.where("/x/y", 1935, {"XDG_RUNTIME_DIR": "/run/user/7"}) == Path("/x/y")


def test_the_default_is_one_for_each_port(tmp_path: Path) -> None:
    xdg = {"XDG_RUNTIME_DIR": "/run/user/7"}
    assert run_dir.where("", 1935, xdg, run=str(tmp_path)) == Path("/run/user/7/rtmpsrv-1935")
    assert run_dir.where("", 1936, {}, run=str(tmp_path)) == tmp_path / "rtmpsrv-1936"
    elsewhere = run_dir.where("", 1935, {}, run=str(tmp_path / "none"))
    assert elsewhere == Path(tempfile.gettempdir()) / f"rtmpsrv-1935-{os.geteuid()}"


def test_it_is_made_for_its_owner_alone_whatever_the_mask_is(tmp_path: Path) -> None:
    mask = os.umask(0o777)
    try:
        made = run_dir.prepare(tmp_path / "run")
    finally:
        os.umask(mask)
    assert made == tmp_path / "run"
    assert stat.S_IMODE(made.stat().st_mode) == 0o700


def test_one_that_is_there_is_taken(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(0o700)
    (tmp_path / "run" / "left").touch()
    assert (run_dir.prepare(tmp_path / "run") / "left").exists()


def test_one_that_is_open_to_others_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run").chmod(0o750)
    assert problem(tmp_path / "run").endswith("/run is open to others: its mode is 0750, not 0700")


def test_one_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run").mkdir(0o700)
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    owner = (tmp_path / "run").stat().st_uid
    assert problem(tmp_path / "run").endswith(f"/run belongs to user {owner}, not to 4711")


def test_a_link_and_a_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir(0o700)
    (tmp_path / "link").symlink_to(tmp_path / "there")
    (tmp_path / "file").touch(0o600)
    for name in ("link", "file"):
        assert problem(tmp_path / name).endswith(f"/{name} is not a directory")


def test_what_cannot_be_made_is_said() -> None:
    assert "cannot be made: No such file or directory" in problem(Path("/none/run"))


def test_a_path_too_long_for_the_address_of_a_socket_is_refused(tmp_path: Path) -> None:
    assert problem(tmp_path / ("x" * 100)).endswith("is longer than 80 bytes")
