"""Views and pages in a real browser: they fit, can be read, ask nobody for anything, and run nothing that others wrote.

``MODELKEEP_IMAGES=1 python -m pytest -n 0 tests/test_in_browser.py`` draws the images of the documentation anew.
"""

from __future__ import annotations

import itertools
import os
import struct
from io import BytesIO
from pathlib import Path

import pytest

import sights
from browser import Browser, Scheme
from injections import PAYLOADS, marked
from modelkeep.markup import code, page, readable, tag, view
from sights import NAMES, Stock, as_page

IMAGES = Path(__file__).parent.parent / "docs" / "images"
DRAWN = {  # pixels
    "registry": 860,
    "model": 860,
    "version": 860,
    "dataset": 1080,
    "lineage": 640,
    "comparison": 860,
    "report": 860,
}
HEAVIEST = 60_000  # bytes of an image
HIGHEST = 1_600  # pixels of it; of a report that is the beginning
READABLE = 4.5  # contrast of text, by WCAG 2.2, AA
SCHEMES: tuple[Scheme, ...] = ("light", "dark")


@pytest.fixture(scope="module", params=["story", "hostile"])
def stock(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Stock:
    """A registry to look at: one as people have it, and one full of payloads."""
    return sights.story() if request.param == "story" else sights.hostile(tmp_path_factory.mktemp("files"))


# -- views and pages as they are seen ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_what_is_shown_fits_can_be_read_and_asks_nobody(browser: Browser, stock: Stock, name: str) -> None:
    seen = browser.look(as_page(stock.sight(name)))
    seen.touch()
    for width, scheme in itertools.product((1280, 400), SCHEMES):
        seen.turn(width, scheme)
        assert seen.overflow <= 0, f"at {width}"
        contrasts = seen.contrasts()
        assert len(contrasts) > 5
        assert [(ratio, text) for ratio, text in contrasts if ratio < READABLE] == [], scheme
    assert seen.requests == []
    assert seen.complaints == []


ROLES = ("ink", "soft", "good", "bad", "accent")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("role", ROLES)
def test_each_role_can_be_read_on_the_ground_in_a_badge_and_in_a_frame(
    browser: Browser, role: str, scheme: Scheme
) -> None:
    word = tag("a", role, href="#x") if role == "accent" else tag("span", role, class_=role)
    badge = tag("span", role, class_=f"badge {role}")
    framed = tag("pre", tag("span", role, class_=role))
    seen = browser.look(page("roles", word, badge, framed), scheme=scheme)
    assert len(seen.contrasts()) == 3
    assert min(ratio for ratio, _ in seen.contrasts()) >= READABLE


def test_the_measure_of_contrast_knows_black_on_white_and_grey_on_grey(browser: Browser) -> None:
    seen = browser.look(
        '<body><p style="color:#000">black</p><div style="background:#888"><b style="color:#999">grey</b></div></body>'
    )
    (black, _), (grey, _) = seen.contrasts()
    assert black == pytest.approx(21)
    assert grey == pytest.approx(1.24, abs=0.02)


def test_the_measure_of_width_sees_what_sticks_out(browser: Browser) -> None:
    assert browser.look('<p style="width:900px">x</p>', width=400).overflow > 400


@pytest.mark.parametrize(("light", "system", "bright"), [("true", "dark", True), ("false", "light", False)])
def test_in_jupyterlab_a_view_has_the_theme_of_jupyterlab_and_not_of_the_system(
    browser: Browser, light: str, system: Scheme, *, bright: bool
) -> None:
    html = as_page(view(tag("p", "x"), code("y")), f'<body data-jp-theme-light="{light}">')
    seen = browser.look(html, scheme=system)
    ground = seen.page.evaluate("getComputedStyle(document.querySelector('.mk')).backgroundColor")
    assert ground == ("rgb(255, 255, 255)" if bright else "rgb(13, 17, 23)")
    assert min(ratio for ratio, _ in seen.contrasts()) >= READABLE


def test_a_view_changes_nothing_around_it(browser: Browser) -> None:
    around = '<table id="t"><tr><td>x</td></tr></table><p id="p" class="bad">y</p><code id="c">z</code>'
    look = "['t', 'p', 'c'].map((id) => JSON.stringify(getComputedStyle(document.getElementById(id))))"
    alone = browser.look(as_page(around)).page.evaluate(look)
    beside = browser.look(as_page(around + view(tag("p", "x")))).page.evaluate(look)
    assert alone == beside


# -- payloads ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stock", ["hostile"], indirect=True)
def test_payloads_in_every_field_run_nothing_and_ask_for_nothing(browser: Browser, stock: Stock) -> None:
    shown = dict(stock.everything())
    pages = [html for html in shown.values() if html.startswith("<!doctype")]
    views = [html for html in shown.values() if not html.startswith("<!doctype")]
    for html in (*pages, as_page("".join(views))):
        seen = browser.look(html)
        seen.touch()
        assert seen.ran == 0
        assert seen.requests == []
        assert seen.complaints == []
        assert seen.odd() == []
        assert len(seen.page.frames) == 1
    assert len(views) > len(PAYLOADS)


@pytest.mark.parametrize("stock", ["hostile"], indirect=True)
def test_every_payload_is_seen_as_the_text_that_it_is(browser: Browser, stock: Stock) -> None:
    views = "".join(html for _, html in stock.everything() if not html.startswith("<!doctype"))
    said = browser.look(as_page(views)).page.evaluate("document.body.textContent")
    payloads = [readable(marked(payload, number)) for number, payload in enumerate(PAYLOADS, 1)]
    assert [payload for payload in payloads if payload not in said] == []


def test_the_same_payloads_run_where_they_are_not_escaped(browser: Browser) -> None:
    ran = asked = odd = 0
    for payload in PAYLOADS[::8]:
        seen = browser.look(f"<!doctype html><body><p>{payload}</p></body>")
        ran += seen.ran > 0
        asked += len(seen.requests) > 0
        odd += len(seen.odd()) > 0
    assert ran >= 4
    assert asked >= 1
    assert odd >= 4


# -- images of the documentation ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("stock", ["story"], indirect=True)
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", DRAWN)
def test_the_documentation_has_a_small_image_of_it(browser: Browser, stock: Stock, name: str, scheme: Scheme) -> None:
    file = IMAGES / f"{name}-{scheme}.png"
    if os.environ.get("MODELKEEP_IMAGES"):
        seen = browser.look(as_page(stock.sight(name)), width=DRAWN[name], scheme=scheme)
        IMAGES.mkdir(exist_ok=True)
        file.write_bytes(small(seen.page.locator(".mk").screenshot(), HIGHEST))
    image = file.read_bytes()
    assert image[:8] == b"\x89PNG\r\n\x1a\n"
    assert len(image) <= HEAVIEST
    width, height = struct.unpack(">II", image[16:24])
    assert width >= 600
    assert height > 100


def small(image: bytes, highest: int) -> bytes:
    """The beginning of the image, in 64 colours."""
    pillow = pytest.importorskip("PIL.Image")
    out, whole = BytesIO(), pillow.open(BytesIO(image)).convert("RGB")
    whole.crop((0, 0, whole.width, min(whole.height, highest))).quantize(64, dither=pillow.Dither.NONE).save(
        out, "PNG", optimize=True
    )
    return out.getvalue()
