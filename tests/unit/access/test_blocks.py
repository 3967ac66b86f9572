from __future__ import annotations

from rtmpsrv.access.blocks import MAX_BLOCKS, Blocks


def test_a_channel_is_closed_for_so_long() -> None:
    blocks = Blocks()
    assert blocks.left_s("news", 0.0) == 0
    blocks.add("news", 10, 100.0)
    assert [blocks.left_s("news", now) for now in (100.0, 109.5, 110.0)] == [10, 0.5, 0]
    assert blocks.describe() == {"blocked": 0}


def test_the_last_word_counts() -> None:
    blocks = Blocks()
    blocks.add("news", 10, 100.0)
    blocks.add("news", 50, 101.0)
    assert blocks.left_s("news", 101.0) == 50
    blocks.add("news", 5, 102.0)
    assert blocks.left_s("news", 102.0) == 5
    blocks.add("news", 0, 103.0)
    blocks.add("other", 0, 103.0)
    assert blocks.left_s("news", 103.0) == 0
    assert blocks.describe() == {"blocked": 0}


def test_there_is_room_where_nothing_is_pushed_out() -> None:
    blocks = Blocks()
    for number in range(MAX_BLOCKS - 1):
        blocks.add(str(number), 1000, 0.0)
    assert blocks.has_room("more", 0.0)
    blocks.add("short", 1, 0.0)
    assert not blocks.has_room("more", 0.0)
    assert blocks.has_room("17", 0.0), "it is closed already"
    assert blocks.describe() == {"blocked": MAX_BLOCKS}
    assert blocks.has_room("more", 1.0), "one is over"
    blocks.add("more", 1000, 1.0)
    assert blocks.left_s("0", 1.0) == 999


def test_what_is_over_makes_room_and_then_the_oldest() -> None:
    blocks = Blocks()
    blocks.add("short", 1, 0.0)
    blocks.add("first", 1000, 0.0)
    blocks.add("last", 1000, 2.0)
    assert blocks.describe() == {"blocked": 2}
    assert list(blocks.left(3.0).items()) == [("first", 997.0), ("last", 999.0)]
    assert blocks.left(1000.0) == {"last": 2.0}
    for number in range(MAX_BLOCKS - 2):
        blocks.add(str(number), 1000, 2.0)
    assert blocks.left_s("first", 2.0) == 998
    blocks.add("one more", 1000, 2.0)
    assert blocks.left_s("first", 2.0) == 0
    assert blocks.left_s("last", 2.0) == 1000
    assert blocks.describe() == {"blocked": MAX_BLOCKS}
