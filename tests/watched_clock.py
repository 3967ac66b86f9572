"""What a browser shows of `tests/clock_publisher.py`, and how late; not a test."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tests.browser import Browser
from tests.clock_publisher import BITS

WRAP = float(2**BITS)  # ms: that many fit

# Each picture that is shown, with the time it carries.
_WATCH = """
const video = document.getElementById("video");
const canvas = document.createElement("canvas");
canvas.width = 320;
canvas.height = 8;
const drawing = canvas.getContext("2d", { willReadFrequently: true });
window.shown = [];
window.stalls = 0;
video.addEventListener("waiting", () => {
  if (!video.seeking) window.stalls += 1;
});
const look = (now, frame) => {
  drawing.drawImage(video, 0, 0, video.videoWidth, 8, 0, 0, 320, 8);
  const row = drawing.getImageData(0, 4, 320, 1).data;
  let time = 0;
  for (let bit = 0; bit < 40; bit += 1) time = time * 2 + (row[(bit * 8 + 4) * 4] > 128 ? 1 : 0);
  window.shown.push([performance.timeOrigin + performance.now(), time, frame.mediaTime]);
  video.requestVideoFrameCallback(look);
};
video.requestVideoFrameCallback(look);
"""


@dataclass(frozen=True, slots=True)
class Shown:
    """One picture as it was shown."""

    at: float  # ms of the clock, when it was on the screen
    made: float  # ms of the clock, when its publisher made it
    media_s: float

    @property
    def late_ms(self) -> float:
        """How much later it was shown than made."""
        return (self.at - self.made + WRAP / 2) % WRAP - WRAP / 2


def watch(browser: Browser) -> None:
    """Note every picture from now on."""
    browser.run(_WATCH)


def shown(browser: Browser) -> list[Shown]:
    """Return the pictures so far."""
    return [Shown(*one) for one in browser.run("return window.shown")]


def opened_at(browser: Browser) -> float:
    """Return when the page was opened, in ms of the clock."""
    return float(browser.run("return performance.timeOrigin"))


def stalls(browser: Browser) -> int:
    """Return how often there was nothing to show."""
    return int(browser.run("return window.stalls"))


def percentile(values: list[float], part: float) -> float:
    """Return the value that this part of all does not exceed."""
    return sorted(values)[math.ceil(part * len(values)) - 1]
