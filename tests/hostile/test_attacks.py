"""Every attack of the list against the real server, beside a stream that must not notice."""

from __future__ import annotations

import pytest

from .cases import CASES
from .light import LIGHT
from .run import Runner, in_order


def marks(name: str) -> list[pytest.MarkDecorator]:
    """Let light ones run side by side, those that share a server one after the other; all others alone."""
    if name in LIGHT:
        return [pytest.mark.xdist_group(repr(CASES[name].around))]
    return [pytest.mark.alone]


def test_what_is_said_to_be_light_is_on_the_list() -> None:
    assert set(CASES) >= LIGHT


@pytest.mark.parametrize("name", [pytest.param(name, marks=marks(name)) for name in in_order()])
def test_nobody_notices(stands: Runner, name: str) -> None:
    verdict = stands.run(CASES[name])
    assert not verdict.over, f"{CASES[name].says}\n{verdict}"
