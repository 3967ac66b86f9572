from __future__ import annotations

import os
from pathlib import Path

import gevent
import pytest

from rtmpsrv.files import open_regular


def test_a_file_is_opened_also_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"contents")
    (tmp_path / "link").symlink_to("file")
    with open_regular(str(tmp_path / "link")) as file:
        assert file.read() == b"contents"
        assert not os.get_inheritable(file.fileno())


@pytest.mark.parametrize("kind", ["pipe", "link to a pipe", "device"])
def test_what_might_have_to_be_waited_for_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link to a pipe").symlink_to("pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    with gevent.Timeout(5):  # which has descriptors of its own
        before = len(os.listdir("/dev/fd"))
        with pytest.raises(OSError, match="is not a regular file"):
            open_regular(str(tmp_path / kind))
        gevent.sleep(0.01)  # gevent's `os.close` closes what is not a regular file a little later
        assert len(os.listdir("/dev/fd")) == before


def test_what_is_missing_and_a_folder_are_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_regular(str(tmp_path / "nothing"))
    with pytest.raises(IsADirectoryError):
        open_regular(str(tmp_path))
