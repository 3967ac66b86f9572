from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rtmpsrv.workers.slices import Slice, plan

SESSIONS = st.lists(st.sampled_from([None, "a", "b", "c", "d"]))


def test_who_has_no_channel_goes_last_and_channels_stay_whole() -> None:
    sessions = [(1, "a"), (2, None), (3, "b"), (4, "a"), (5, None), (6, None)]
    assert plan(sessions, 2) == [Slice([1, 4], ["a"]), Slice([3], ["b"]), Slice([2, 5]), Slice([6])]


def test_small_channels_share_a_slice_and_a_large_one_has_its_own() -> None:
    large = [(number, "large") for number in range(5)]
    assert plan([(10, "a"), (11, "b"), *large, (12, "c"), (13, "d")], 3) == [
        Slice([0, 1, 2, 3, 4], ["large"]),  # first: when it fails nothing is lost
        Slice([10, 11, 12], ["a", "b", "c"]),
        Slice([13], ["d"]),
    ]


def test_channels_alone_come_last_and_few_at_once() -> None:
    assert plan([(1, "a"), (2, None)], 2, ["c", "d", "e"]) == [
        Slice([1], ["a"]),
        Slice([2]),
        Slice([], ["c", "d"]),
        Slice([], ["e"]),
    ]


def test_nobody_makes_no_slice() -> None:
    assert plan([]) == []


@given(SESSIONS, st.integers(1, 4))
def test_each_goes_once_with_its_channel(channels: list[str | None], most: int) -> None:
    slices = plan(enumerate(channels), most)
    assert sorted(one for part in slices for one in part.sessions) == list(range(len(channels)))
    names = [name for part in slices for name in part.channels]
    assert len(names) == len(set(names))
    for part in slices:
        assert part.sessions
        assert {channels[one] for one in part.sessions} - {None} == set(part.channels)
        assert len(part.sessions) <= most or len(part.channels) == 1
