"""Numbers as a person reads them: "8.3 s", "4.5 Mb/s", "22.05 kHz", "1080p60". Pure."""

from __future__ import annotations

_MINUTE_S, _HOUR_S = 60, 3600


def number(value: float) -> str:
    """Give one decimal below 10, where it says something, and none above."""
    return f"{value:.0f}" if value >= 9.95 else f"{value:.1f}".removesuffix(".0")


def span(seconds: float) -> str:
    """Give a span: in minutes above two of them, in hours above two of those."""
    if seconds >= 2 * _HOUR_S:
        return f"{number(seconds / _HOUR_S)} h"
    if seconds >= 2 * _MINUTE_S:
        return f"{number(seconds / _MINUTE_S)} min"
    return f"{number(seconds)} s"


def rate(bits_per_s: float) -> str:
    """Give a bitrate."""
    if bits_per_s < 999_500:
        return f"{bits_per_s / 1e3:.0f} kb/s"
    return f"{number(bits_per_s / 1e6)} Mb/s"


def rates(low: float, high: float) -> str:
    """Give two bitrates in the unit of the greater one: "0.9 and 7 Mb/s"."""
    if high < 999_500:
        return f"{low / 1e3:.0f} and {rate(high)}"
    return f"{number(low / 1e6)} and {rate(high)}"


def pair(part: float, whole: float) -> tuple[str, str]:
    """Give two counts, with a decimal only where they would look the same without."""
    if round(part) != round(whole):
        return f"{part:.0f}", f"{whole:.0f}"
    return f"{part:.1f}", f"{whole:.1f}"


def kilohertz(hertz: float) -> str:
    """Give a sample rate, exactly."""
    return f"{hertz / 1000:g} kHz"


def percent(share: float) -> str:
    """Give a share, rounded down: what is below a bound is never shown as if it reached it."""
    return f"{int(share * 100 + 1e-6)}%"


def times(count: int) -> str:
    """Give how often: "once", "twice", "3 times"."""
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def picture(shorter_side: int, fps: float | None) -> str:
    """Give a size of the picture as people name it; upright pictures are named by their width."""
    return f"{shorter_side}p{round(fps)}" if fps else f"{shorter_side}p"
