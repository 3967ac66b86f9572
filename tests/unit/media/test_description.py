from __future__ import annotations

import pytest

from rtmpsrv.errors import RemoteProtocolError
from rtmpsrv.media.description import MAX_PIXELS, checked_size, rate


def test_a_size_at_the_limit_and_beyond() -> None:
    assert checked_size(MAX_PIXELS, 1) == (MAX_PIXELS, 1)
    for width, height in ((MAX_PIXELS + 1, 1), (1, MAX_PIXELS + 1), (0, 1), (1, 0), (-16, 16)):
        with pytest.raises(RemoteProtocolError, match="a picture of"):
            checked_size(width, height)


def test_pictures_per_second() -> None:
    assert rate(60000, 1001) == 59.94
    assert rate(1000, 1) == 1000.0
    for time_scale, ticks in ((1001, 1), (0, 1), (1, 0), (0, 0)):
        assert rate(time_scale, ticks) is None
