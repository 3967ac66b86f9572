"""Every attack of the list against the real server, beside a stream that must not notice."""

from __future__ import annotations

import pytest

from .cases import CASES
from .run import Runner, in_order


@pytest.mark.parametrize("name", in_order())
def test_nobody_notices(stands: Runner, name: str) -> None:
    verdict = stands.run(CASES[name])
    assert not verdict.over, f"{CASES[name].says}\n{verdict}"
