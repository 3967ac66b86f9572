"""What one image of the manager leaves to the next."""

from __future__ import annotations

from rtmpsrv.workers.manager_state import VARIABLE, ManagerState, WorkerState, take_state


def test_a_state_survives_the_environment_and_is_taken_away() -> None:
    worker = WorkerState(4711, 2, 7, 8, ready=True, leaving=False)
    state = ManagerState(3, [(5, "rtmp"), (6, "rtmps")], "@notify", [worker])
    environ = {VARIABLE: state.to_text(), "HOME": "/"}
    assert take_state(environ) == state
    assert environ == {"HOME": "/"}
    assert state.descriptors == [3, 5, 6, 7, 8]


def test_the_first_image_has_none() -> None:
    assert take_state({}) is None
