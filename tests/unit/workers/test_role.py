"""What a worker is told."""

from __future__ import annotations

from rtmpsrv.workers.role import VARIABLE, Role, take_role


def test_a_role_survives_the_environment_and_is_taken_away() -> None:
    role = Role(7, 3, 4, [(5, "rtmp"), (6, "rtmps")], succeeds=8, manager=True)
    environ = {VARIABLE: role.to_text(), "HOME": "/"}
    assert take_role(environ) == role
    assert environ == {"HOME": "/"}
    assert role.descriptors == [3, 4, 5, 6]


def test_most_processes_have_none() -> None:
    assert take_role({}) is None
