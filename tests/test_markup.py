"""Markup: whatever comes from outside is shown as text, and a page asks nobody for anything."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelkeep.errors import InvalidValueError
from modelkeep.markup import facts, page, readable, render, table, tag, view
from parsed import Parsed


@given(st.text())
def test_any_text_comes_back_as_that_text_and_adds_no_element(text: str) -> None:
    found = Parsed(render(tag("p", text, title=text)))
    assert found.tags == ["p"]
    assert found.text == readable(text)
    assert dict(found.attributes) == {"title": readable(text)}


@given(st.text())
def test_a_page_holds_any_title_and_text_without_a_script(text: str) -> None:
    found = Parsed(page(text, table([text], [[text, 3]], caption=text), facts({text: text})))
    assert "script" not in found.tags
    assert found.tags.count("title") == 1


@pytest.mark.parametrize("name", ["script", "SCRIPT", "iframe", "style", "a b", "", "p><script", "foreignObject"])
def test_an_element_that_runs_loads_or_styles_is_refused(name: str) -> None:
    with pytest.raises(InvalidValueError, match="has no place in a view"):
        tag(name)


@pytest.mark.parametrize("name", ["onclick", "ONLOAD", "style", "srcdoc", "a b", "x>", "action"])
def test_an_attribute_that_runs_or_styles_is_refused(name: str) -> None:
    with pytest.raises(InvalidValueError, match="has no place in a view"):
        tag("p", **{name: "x"})


@pytest.mark.parametrize(
    "address",
    ["javascript:alert(1)", " https://x", "//x", "data:text/html,x", "file:///etc/passwd", "JaVaScRiPt:x", ""],
)
@pytest.mark.parametrize("where", ["href", "src"])
def test_an_address_that_is_no_page_place_or_image_is_refused(address: str, where: str) -> None:
    with pytest.raises(InvalidValueError, match="is no address"):
        tag("a", **{where: address})


def test_numbers_stand_to_the_right_and_names_to_the_left() -> None:
    html = render(table(["metric", "value"], [["auc", 0.9123456789], ["rows", 12]]))
    assert '<td>auc</td><td class="number">0.912346</td>' in html
    assert '<td class="number">12</td>' in html


def test_what_nobody_knows_is_left_out_of_facts() -> None:
    assert render(facts({"a": None, "b": 0})) == "<dl><dt>b</dt><dd>0</dd></dl>"


def test_the_policy_of_a_page_names_its_one_style_and_allows_nothing_else() -> None:
    html = page("t", tag("p", "x"))
    (style,) = re.findall("<style>(.*?)</style>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    (policy,) = re.findall('Content-Security-Policy" content="(.*?)"', html)
    assert policy.split("; ")[:3] == ["default-src 'none'", "img-src data:", f"style-src 'sha256-{digest}'"]


def test_the_style_touches_nothing_outside_of_views_and_pages() -> None:
    (style,) = re.findall("<style>(.*?)</style>", view("x"), re.DOTALL)
    rules = re.sub(r"/\*.*?\*/", "", style, flags=re.DOTALL)
    selectors = [one.strip() for rule in re.findall(r"([^{}]+)\{", rules) for one in rule.split(",")]
    assert selectors
    assert all(".mk" in one for one in selectors)
