"""A browser that looks at pages: Debian's Chromium without a window, driven by playwright, and counting.

It loads pages from ``file://``, as people open what was mailed to them. It is closed after each module: playwright
keeps an event loop in the thread of the tests while it is open.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import attrs
import pytest

Scheme = Literal["light", "dark"]

_QUIET = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
# Counts each time that something sets the mark of `injections`, in any frame.
_COUNT = """(() => {
  let ran = 0;
  Object.defineProperty(window, "__ran", { get: () => ran, set: () => { ran += 1; } });
})()"""
# What a reader might do: point at everything, open it and click it. A link to a page is not followed.
_TOUCH = """() => {
  document.addEventListener("click", (event) => {
    const link = event.target.closest && event.target.closest("a[href]");
    if (link && /^(https?|file):$/.test(link.protocol)) event.preventDefault();
  }, true);
  for (const one of document.querySelectorAll("details")) one.open = true;
  for (const one of document.querySelectorAll("body *")) {
    for (const kind of ["mouseover", "mouseenter", "pointerenter", "focus"]) one.dispatchEvent(new Event(kind));
    const click = new MouseEvent("click", { bubbles: true, cancelable: true });
    if (one.matches("a, button, svg *")) one.dispatchEvent(click);
  }
}"""
_ODD = """() => [...document.querySelectorAll("*")].filter((one) =>
  ["script", "iframe", "object", "embed", "base", "form", "link"].includes(one.localName) ||
  [...one.attributes].some((attribute) => attribute.name.startsWith("on") || attribute.name === "style")
).map((one) => one.outerHTML.slice(0, 200))"""
# The contrast of each text against what lies behind it, by WCAG 2.2: [ratio, text] for each.
_CONTRASTS = """() => {
  const parse = (text) => text.match(/[0-9.]+/g).map(Number);
  const light = (rgb) => {
    const [r, g, b] = rgb.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (one) => {
    for (let at = one; at; at = at.parentElement) {
      const [r, g, b, a = 1] = parse(getComputedStyle(at).backgroundColor);
      if (a === 1) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const one of document.querySelectorAll("body *")) {
    const text = [...one.childNodes].filter((n) => n.nodeType === 3).map((n) => n.data).join("").trim();
    if (!text || !one.checkVisibility() || one.localName === "title") continue;
    const style = getComputedStyle(one);
    const ink = parse(one.localName === "text" ? style.fill : style.color).slice(0, 3);
    const [a, b] = [light(ink), light(behind(one))].sort((x, y) => y - x);
    found.push([(a + 0.05) / (b + 0.05), text.slice(0, 60)]);
  }
  return found;
}"""


@attrs.define(slots=False)  # playwright leaves a mark on what a method that it calls belongs to
class Seen:
    """What a page did.

    Args:
        page: still open, as playwright has it.
        address: of the page.
        requests: addresses that it asked for, itself left out.
        complaints: what the browser wrote to its console as a warning or an error, and pages that opened.
    """

    page: Any
    address: str
    requests: list[str] = attrs.field(factory=list)
    complaints: list[str] = attrs.field(factory=list)

    def listen(self) -> None:
        """Note what the page does from here on."""
        self.page.on("request", self._note_request)
        self.page.on("console", self._note_console)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("popup", lambda opened: self.complaints.append(f"popup {opened.url}"))
        self.page.add_init_script(_COUNT)

    def _note_request(self, asked: Any) -> None:
        if asked.url != self.address:
            self.requests.append(asked.url)

    def _note_console(self, said: Any) -> None:
        if said.type in ("error", "warning"):
            self.complaints.append(said.text)

    def turn(self, width: int, scheme: Scheme) -> None:
        """Show it so wide, to a reader who likes it light or dark."""
        self.page.set_viewport_size({"width": width, "height": 800})
        self.page.emulate_media(color_scheme=scheme)

    @property
    def ran(self) -> int:
        """How often a payload ran, in all frames."""
        return sum(int(frame.evaluate("window.__ran")) for frame in self.page.frames)

    @property
    def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))

    def touch(self) -> None:
        """Point at everything, open it and click it."""
        self.page.evaluate(_TOUCH)
        self.page.wait_for_timeout(20)  # events of animations and loads come later

    def odd(self) -> list[str]:
        """Elements that could run, load or style something."""
        return list(self.page.evaluate(_ODD))

    def contrasts(self) -> list[tuple[float, str]]:
        """The contrast of each text that is seen."""
        return [(ratio, text) for ratio, text in self.page.evaluate(_CONTRASTS)]


@attrs.frozen
class Browser:
    """Looks at pages. Made by the fixture `browser`."""

    _window: Any
    _folder: Path
    _numbers: Iterator[int] = attrs.field(factory=itertools.count)

    def look(self, html: str, *, width: int = 1280, scheme: Scheme = "light") -> Seen:
        """Open *html* from a file, in a page of its own; the one before is closed."""
        file = self._folder / f"{next(self._numbers)}.html"
        file.write_text(html, encoding="utf-8", errors="surrogatepass")
        for before in self._window.pages:
            before.close()
        seen = Seen(self._window.new_page(), file.as_uri())
        seen.listen()
        seen.turn(width, scheme)
        seen.page.goto(seen.address)
        return seen


def chromium() -> str | None:
    """Where Debian's Chromium lies, if it does."""
    return shutil.which("chromium", path="/usr/bin")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser without a window."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
    found = chromium()
    if found is None:
        pytest.skip("Chromium is not there: apt-get install --no-install-recommends chromium")
    with sync_api.sync_playwright() as playwright:
        driven = playwright.chromium.launch(executable_path=found, args=list(_QUIET))
        yield Browser(driven.new_context(), tmp_path_factory.mktemp("pages"))
        driven.close()
