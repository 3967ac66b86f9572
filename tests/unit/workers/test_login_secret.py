from __future__ import annotations

from pathlib import Path

import pytest

from rtmpsrv.errors import ConfigError
from rtmpsrv.workers.login_secret import BYTES, NAME, shared


def test_all_workers_of_a_server_have_the_same_and_nobody_else_has_it(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    secret = shared(str(one))
    assert len(secret) == BYTES
    assert shared(str(one)) == secret != shared(str(other))
    assert (one / NAME).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("left", [b"", b"half", b"x" * (BYTES + 1)])
def test_what_is_no_secret_is_replaced(tmp_path: Path, left: bytes) -> None:
    (tmp_path / NAME).write_bytes(left)
    secret = shared(str(tmp_path))
    assert secret != left
    assert (tmp_path / NAME).read_bytes() == secret == shared(str(tmp_path))


def test_a_file_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match=r"RUN_DIR: .*login-secret cannot be used"):
        shared(str(tmp_path))
