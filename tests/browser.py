"""Debian's Chromium, driven through Selenium: watched for errors, and asked how a page looks; not a test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from tests.media_files import system_tool

PATIENCE_S = 60.0  # a busy machine: encoders of other tests may run beside
LEAST_CONTRAST = 4.5  # WCAG 2, level AA, for text of any size
WIDE = (1280, 860)
NARROW = (360, 740)
# As root, in containers and on machines without a display; and with nothing of its own to tell anybody.
ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
    "--force-color-profile=srgb",
    "--hide-scrollbars",
)
CONTROLS = {
    "button",
    "link",
    "textbox",
    "searchbox",
    "combobox",
    "checkbox",
    "grid",
    "dialog",
    "listbox",
    "img",
}

Found = TypeVar("Found")

# Each visible text with its colour, and the grounds behind it from the innermost outwards.
_TEXTS = """
const found = [];
const look = (element, color, text) => {
  const grounds = [];
  for (let one = element; one; one = one.parentElement) {
    grounds.push(getComputedStyle(one).backgroundColor);
    if (one.tagName === "DIALOG") break;
  }
  found.push([text, color, grounds]);
};
for (const element of document.body.querySelectorAll("*")) {
  if (element.disabled || !element.checkVisibility({ visibilityProperty: true, opacityProperty: true })) {
    continue;
  }
  if (element.closest(".unseen, .skip, noscript, svg, option")) continue;
  const style = getComputedStyle(element);
  if (element.placeholder && !element.value) {
    look(element, getComputedStyle(element, "::placeholder").color, element.placeholder);
  }
  const texts = [...element.childNodes].filter((one) => one.nodeType === 3);
  const own = texts.map((one) => one.data).join("").trim();
  if (own) look(element, style.color, own);
  const before = getComputedStyle(element, "::before");
  if (/[a-z]/i.test(before.content) && before.content !== "none") look(element, before.color, before.content);
}
return found;
"""


class Browser:
    """One window. Use as a context; leaving it ends the browser, and fails if its console has an error."""

    def __init__(self, size: tuple[int, int] = WIDE, *, dark: bool = False) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = system_tool("chromium")
        for argument in ARGUMENTS:
            options.add_argument(argument)
        options.accept_insecure_certs = True  # that tests have made
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(system_tool("chromedriver")))
        self.expected: list[str] = []  # pieces of errors that a test provokes
        self.resize(size)
        self.scheme(dark=dark)

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        errors = self.errors() if kind is None else []
        self.driver.quit()
        assert errors == []

    @contextmanager
    def for_a_test(self) -> Iterator[None]:
        """Be wide and light in the beginning; fail at the end if the console has an error."""
        self.resize(WIDE)
        self.scheme(dark=False)
        self.expected = []
        yield
        errors = self.errors()
        self.driver.get("about:blank")
        self.errors()
        assert errors == []

    def errors(self) -> list[str]:
        """Return what the console holds: what the policy forbade, scripts that failed, what was not found."""
        lines = [str(line["message"]) for line in self.driver.get_log("browser")]  # type: ignore[no-untyped-call]
        return [line for line in lines if not any(piece in line for piece in self.expected)]

    def resize(self, size: tuple[int, int]) -> None:
        """Give the window this size, as that of a phone where it is narrow."""
        width, height = size
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def scheme(self, *, dark: bool) -> None:
        """Let the reader prefer dark or light."""
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})

    def run(self, script: str, *arguments: object) -> Any:
        """Run a script in the page and return what it returns."""
        return self.driver.execute_script(script, *arguments)

    def one(self, selector: str) -> WebElement:
        """Return the first element there is."""
        return self.driver.find_element("css selector", selector)

    def texts(self, selector: str) -> list[str]:
        """Return the texts of all such elements that are visible, from the top down."""
        return list(
            self.run(
                "return [...document.querySelectorAll(arguments[0])].filter((one) => one.checkVisibility())"
                ".map((one) => [one.getBoundingClientRect().top, one.textContent.replaceAll('\\u00a0', ' ')])"
                ".sort((a, b) => a[0] - b[0]).map((one) => one[1])",
                selector,
            )
        )

    def until(self, seen: Callable[[], Found], timeout_s: float = PATIENCE_S) -> Found:
        """Wait until this is true, and return it. Blocks up to `timeout_s`."""
        return WebDriverWait(self.driver, timeout_s, poll_frequency=0.05).until(lambda _: seen())

    def shows(self, selector: str, *pieces: str) -> str:
        """Wait until such an element has all these pieces in its text, and return the text."""

        def seen() -> str:
            for text in self.texts(selector):
                if all(piece in text for piece in pieces):
                    return text or " "
            return ""

        return self.until(seen)

    def scroll(self, selector: str) -> None:
        """Bring the first such element into the window: rows below it are not made."""
        self.run("document.querySelector(arguments[0]).scrollIntoView()", selector)

    def press(self, *keys: str) -> None:
        """Press keys, one after the other, wherever the focus is."""
        for key in keys:
            ActionChains(self.driver).send_keys(key).perform()

    def focused(self) -> str:
        """Return what has the focus: its id, or its role, or its name."""
        return str(
            self.run(
                "const one = document.activeElement; return one.id || one.getAttribute('role') || one.tagName"
            )
        )

    def too_faint(self) -> list[str]:
        """Return each visible text whose contrast with what is behind it is too small."""
        found = []
        for text, color, grounds in self.run(_TEXTS):
            behind = (255.0, 255.0, 255.0, 1.0)
            for ground in reversed(grounds):
                behind = _over(_color(ground), behind)
            contrast = _contrast(_over(_color(color), behind), behind)
            if contrast < LEAST_CONTRAST:
                found.append(f"{text[:40]!r} {color} on {behind}: {contrast:.2f}")
        return found

    def nameless(self) -> list[str]:
        """Return each control that has no name for those who cannot see it."""
        tree = self.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})
        return [
            str(node["role"]["value"])
            for node in tree["nodes"]
            if not node.get("ignored")
            and node.get("role", {}).get("value", "").lower() in CONTROLS
            and not node.get("name", {}).get("value", "").strip()
        ]

    def cut_off(self, selector: str) -> list[str]:
        """Return the texts of such elements that are clipped, or reach beyond the window."""
        return list(
            self.run(
                "return [...document.querySelectorAll(arguments[0])].filter((one) => one.checkVisibility())"
                ".filter((one) => one.getBoundingClientRect().right > document.documentElement.clientWidth"
                " || one.scrollHeight > one.clientHeight + 1 || one.scrollWidth > one.clientWidth + 1)"
                ".map((one) => one.textContent)",
                selector,
            )
        )

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than its window, which a phone's would grow to."""
        return int(
            self.run("const page = document.documentElement; return page.scrollWidth - page.clientWidth")
        )


Color = tuple[float, float, float, float]


def _color(text: str) -> Color:
    """Read `rgb(1, 2, 3)` or `rgba(1, 2, 3, 0.5)`."""
    numbers = [float(one) for one in text[text.index("(") + 1 : -1].split(",")]
    red, green, blue, alpha = numbers if len(numbers) == 4 else [*numbers, 1.0]
    return red, green, blue, alpha


def _over(above: Color, below: Color) -> Color:
    alpha = above[3]
    red, green, blue = (
        one * alpha + other * (1 - alpha) for one, other in zip(above[:3], below[:3], strict=True)
    )
    return red, green, blue, 1.0


def _contrast(one: Color, other: Color) -> float:
    """Return WCAG's contrast of two colours, 1 to 21."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(color: Color) -> float:
    linear = [
        one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4
        for one in (part / 255 for part in color[:3])
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
