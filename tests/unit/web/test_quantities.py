"""Numbers as a person reads them."""

from __future__ import annotations

import pytest

from rtmpsrv.web import quantities as q


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0 s"), (0.25, "0.2 s"), (1.0, "1 s"), (8.333, "8.3 s"), (9.94, "9.9 s"), (9.96, "10 s"),
        (12.4, "12 s"),
        (119.4, "119 s"), (120.0, "2 min"), (150.0, "2.5 min"), (7199.0, "120 min"), (7200.0, "2 h"),
        (4294967.0, "1193 h"),
    ],
)  # fmt: skip
def test_spans_have_one_decimal_below_ten(seconds: float, text: str) -> None:
    assert q.span(seconds) == text


@pytest.mark.parametrize(
    ("bits_per_s", "text"),
    [
        (0.0, "0 kb/s"), (850_400.0, "850 kb/s"), (999_499.0, "999 kb/s"), (999_500.0, "1 Mb/s"),
        (4_480_000.0, "4.5 Mb/s"),
        (14_200_000.0, "14 Mb/s"),
    ],
)  # fmt: skip
def test_bitrates_are_in_the_unit_of_their_size(bits_per_s: float, text: str) -> None:
    assert q.rate(bits_per_s) == text


def test_two_bitrates_have_the_unit_of_the_greater_one() -> None:
    assert q.rates(900_000, 7_000_000) == "0.9 and 7 Mb/s"
    assert q.rates(90_000, 700_000) == "90 and 700 kb/s"


def test_two_counts_have_a_decimal_where_they_would_look_the_same() -> None:
    assert q.pair(41.2, 60.0) == ("41", "60")
    assert q.pair(4.6, 5.0) == ("4.6", "5.0")


def test_sample_rates_are_exact() -> None:
    assert [q.kilohertz(hertz) for hertz in (16_000, 22_050, 11_025)] == ["16 kHz", "22.05 kHz", "11.025 kHz"]


@pytest.mark.parametrize(("share", "text"), [(0.969, "96%"), (0.86, "86%"), (0.29, "29%"), (0.0, "0%")])
def test_a_share_is_never_shown_above_what_it_is(share: float, text: str) -> None:
    assert q.percent(share) == text


def test_few_times_are_words() -> None:
    assert [q.times(count) for count in (1, 2, 3, 17)] == ["once", "twice", "3 times", "17 times"]


def test_pictures_are_named_as_people_do() -> None:
    assert q.picture(1080, 59.94) == "1080p60"
    assert q.picture(720, None) == "720p"
