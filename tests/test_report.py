"""Reports: one page that says what is known, runs nothing and asks nobody, whatever was recorded."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import modelkeep as mk
from injected import curves, injected
from injections import PAYLOADS
from modelkeep.code import SourceFile
from modelkeep.digest import digest
from modelkeep.errors import InvalidValueError
from modelkeep.facts import Facts, Options, serializer_for
from modelkeep.markup import readable, tag
from modelkeep.report import Page
from modelkeep.stores.memory import MemoryStore
from modelkeep.stores.wrappers import Recording
from parsed import Parsed
from trained.digits import STORY

WEIGHTS = {"w": np.ones(3)}
MIB = 1 << 20
RUNS = {"script", "iframe", "object", "embed", "link", "base", "form", "img", "image", "use", "foreignobject"}
MOVE = re.compile(r"(promote|rollback|moved on|rolled back|unset) +(\d*)")


def saved(**given: Any) -> mk.ModelVersion:
    version: mk.ModelVersion = mk.Registry(MemoryStore()).save(WEIGHTS, "churn", **given)
    return version


def forged(made: dict[str, Any]) -> mk.ModelVersion:
    registry = mk.Registry(MemoryStore())
    serializer = serializer_for(WEIGHTS, None, registry._home.granted)
    return registry._save(WEIGHTS, "churn", Facts(made=made), Options(), serializer)


def sections(version: mk.ModelVersion) -> dict[str, str]:
    return Parsed(version.report().html).sections


# -- nothing runs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_text_that_tries_to_run_is_shown_in_every_field_and_runs_nowhere(payload: str, tmp_path: Path) -> None:
    version = injected(payload, tmp_path)
    page = version.report()
    for html in (page.html, page._repr_html_()):
        found = Parsed(html)
        assert set(found.tags) & RUNS == set()
        assert [name for name, _ in found.attributes if name.startswith("on") or name in ("style", "src")] == []
        assert {text[0] for name, text in found.attributes if name == "href" and text} == {"#"}
        shown = " ".join(found.text.split())
        assert shown.count(" ".join(readable(payload).split())) >= 20
    assert page.html.count("<style>") == page.html.count("</style>") == 1
    assert "This cannot be told" not in page.html
    assert re.search("[\x00-\x08\u202a-\u202e\u2066-\u2069]", page.html) is None


def test_a_page_allows_nothing_and_asks_for_nothing() -> None:
    found = Parsed(saved(metrics={"auc": 1}).report().html)
    policy = next(text for name, text in found.attributes if text and text.startswith("default-src"))
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    addresses = [
        text for name, text in found.attributes if name != "xmlns"
    ]  # the name of a language, asked for nowhere
    assert [text for text in addresses if text and re.match(r"https?:|//|data:|javascript:", text)] == []


@pytest.mark.parametrize("payload", PAYLOADS[::9])
def test_a_forged_package_name_is_told_as_what_is_wrong_and_the_rest_is_there(payload: str) -> None:
    version = forged({"environment": {"python": "3.11.7", "distributions": {payload: "1.0"}}})
    found = Parsed(version.report().html)
    assert set(found.tags) & RUNS == set()
    assert "This cannot be told" in found.sections["environment"]
    assert "model.safetensors" in found.sections["files"]


# -- what it says ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [number for number in STORY if number > 1])
def test_what_changed_against_the_parent_is_what_the_story_says(digits_registry: mk.Registry, number: int) -> None:
    told = sections(digits_registry.get(f"digits:{number}"))
    changed = told["what-changed"]
    what = STORY[number][0].partition(":")[0]
    assert f"Against digits:{number - 1}" in changed
    assert ("Data" in changed.split()) == (STORY[number][1] != STORY[number - 1][1])
    assert ("function" in changed.split()) == (what == "code")
    assert "Environment" not in changed.split()
    if what == "params":
        assert "Parameters" in changed.split()
    assert "trained.digits:" + STORY[number][2] in told["code"]
    assert f"digits:{number - 1}" in told["lineage"]


def test_a_report_of_a_trained_version_has_something_in_every_section(own_digits: mk.Registry) -> None:
    version = own_digits.get("digits:6")
    told = sections(version)
    for name, text in {
        "load": 'registry.load("digits:6")', "metrics": "accuracy", "parameters": "trees", "data": "p07",
        "code": "source of the function", "environment": "scikit-learn", "files": "restricted", "aliases": "staging",
    }.items():  # fmt: skip
        assert text in told[name]
    assert "Nothing was recorded" in told["signature-and-example"]
    assert re.search(r"environment\.create", told["environment"])


def test_the_moves_of_aliases_tell_who_came_and_who_went() -> None:
    registry = mk.Registry(MemoryStore())
    first, second = registry.save(WEIGHTS, "churn"), registry.save(WEIGHTS, "churn")
    first.promote("production", reason="the first")
    second.promote("production", reason="it is better")
    registry.model("churn").rollback("production", reason="it is not")
    registry.model("churn").unset("production")
    rows = [" ".join(row) for row in MOVE.findall(sections(first)["aliases"])]
    assert [row.strip() for row in rows] == ["promote", "moved on 2", "rollback 2", "unset"]
    assert "it is better" in sections(first)["aliases"]
    rows = [" ".join(row) for row in MOVE.findall(sections(second)["aliases"])]
    assert [row.strip() for row in rows] == ["promote 1", "rolled back 1"]


def test_curves_of_one_measure_are_in_one_chart_and_metrics_over_versions_in_others() -> None:
    registry = mk.Registry(MemoryStore())
    registry.save(WEIGHTS, "churn", metrics={"auc": 0.8})
    with registry.run("churn") as run:
        for step in range(5):
            run.log(loss=1 / (1 + step), val_loss=2 / (1 + step), lr=0.1)
        version = run.save(WEIGHTS, metrics={"auc": 0.9})
    html = version.report().html
    titles = re.findall("<title>(.*?)</title>", html)
    assert {"auc by version: auc", "loss by step: loss, val_loss", "lr by step: lr"} <= set(titles)


def test_what_is_no_number_is_said_in_words() -> None:
    version = mk.Registry(MemoryStore())._save_made(
        WEIGHTS, "churn", {"metrics": {"loss": math.nan}, "params": {"most": math.inf}}, {}, curves("f1")
    )
    told = sections(version)
    assert "NaN" in told["metrics"]
    assert "infinity" in told["parameters"]


def test_an_example_is_shown_by_column() -> None:
    told = sections(saved(example={"age": np.array([31, 47]), "name": np.array(["Ada", "Bo"])}))
    assert all(word in told["signature-and-example"] for word in ("age", "31", "Ada", "int64"))
    pandas = pytest.importorskip("pandas")
    told = sections(saved(example=pandas.DataFrame({"age": [31, 47], "name": ["Ada", None]})))
    assert all(word in told["signature-and-example"] for word in ("age", "31", "Ada"))


def test_an_example_that_is_damaged_is_told_and_the_rest_is_there(tmp_path: Path) -> None:
    mark = np.arange(4096, 4104)
    version = mk.Registry(tmp_path / "r", durable=False).save(WEIGHTS, "churn", params={"depth": 6}, example=mark)
    (pack,) = (tmp_path / "r").rglob("*.pack")
    whole = pack.read_bytes()
    assert whole.count(mark[:5].tobytes()) == 1
    pack.write_bytes(whole.replace(mark[:5].tobytes(), mark[1:6].tobytes()))
    told = sections(mk.Registry(tmp_path / "r", cache=False).get(version.ref))
    assert "There is an example, which is not shown" in told["signature-and-example"]
    assert "depth" in told["parameters"]


def test_a_parent_that_is_gone_is_told_and_the_rest_is_there() -> None:
    registry = mk.Registry(MemoryStore())
    other = registry.save(WEIGHTS, "base", params={"depth": 1})
    version = registry.save(WEIGHTS, "churn", params={"depth": 2}, parent=other)
    assert "base:1" in sections(version)["what-changed"]
    assert "depth" in sections(version)["what-changed"]
    other.erase("request 17")
    told = sections(version)
    assert "This cannot be told" in told["what-changed"]
    assert "depth" in told["parameters"]


def test_without_a_parent_what_changed_is_told_against_the_newest_version_before_that_is_there() -> None:
    registry = mk.Registry(MemoryStore())
    for depth in (1, 2, 3):
        registry.save(WEIGHTS, "churn", params={"depth": depth})
    registry.get("churn:2").delete()
    changed = sections(registry.get("churn:3"))["what-changed"]
    assert "No parent was named; against churn:1, the version before:" in changed
    assert "depth" in changed
    assert "Nothing was recorded" in sections(registry.get("churn:1"))["what-changed"]
    registry.save(WEIGHTS, "churn", params={"depth": 3})
    same = sections(registry.get("churn:4"))["what-changed"]
    assert "No parent was named; nothing that is known changed against churn:3, the version before." in same


def test_a_picture_of_the_lineage_stands_in_its_section_unless_it_is_left_out(own_digits: mk.Registry) -> None:
    version = own_digits.get("digits:7")
    drawn = Parsed(version.report().html)
    assert {"digits:6", "digits:8", "digits@production"} <= set(drawn.sections["lineage"].split())
    assert "digits@production" not in Parsed(version.report(lineage=False).html).sections["lineage"]


class Far(MemoryStore):
    """As if it lay elsewhere."""

    remote = True


def test_a_registry_on_a_disk_is_not_named_and_a_remote_one_is(tmp_path: Path) -> None:
    version = mk.Registry(tmp_path / "ada").save(WEIGHTS, "churn")
    assert str(tmp_path) not in version.report().html
    assert 'mk.Registry("memory://")' in sections(mk.Registry(Far()).save(WEIGHTS, "churn"))["load"]


def test_a_page_stays_small_whatever_was_recorded() -> None:
    text = "x" * 50_000
    files = [SourceFile(f"f{n}.py", digest(b""), text).to_json() for n in range(30)]
    registry = mk.Registry(MemoryStore())
    params = {f"parameter {n}": text[:2000] for n in range(2000)}
    serializer = serializer_for(WEIGHTS, None, registry._home.granted)
    facts = Facts(params=params, notes=text * 4, made={"code": {"diff": text * 10, "files": files}})
    page = registry._save(WEIGHTS, "churn", facts, Options(), serializer).report()
    assert len(page.html) < MIB
    assert "and 1,700 more" in page.html
    assert "parameter 300<" not in page.html
    assert "characters, not shown" in page.html


def test_a_warm_report_costs_seven_requests_and_its_lineage_four() -> None:
    store = Recording(MemoryStore())
    version = mk.Registry(store).save(WEIGHTS, "churn", metrics={"auc": 1})
    page = version.report()
    store.forget()
    assert version.report() == page
    assert store.counts() == {"get": 9, "list": 2}
    store.forget()
    version.report(lineage=False)
    assert store.counts() == {"get": 7}


# -- the page as a file ------------------------------------------------------------------------------------------------


def test_a_page_is_written_and_never_over_what_is_there_unless_told(tmp_path: Path) -> None:
    page = saved().report()
    path = page.save(tmp_path / "churn.html")
    assert path.read_text("utf-8") == page.html == str(page)
    other = Page("other", tag("p", "other"))
    with pytest.raises(InvalidValueError, match="exists already"):
        other.save(path)
    assert path.read_text("utf-8") == page.html
    assert other.save(str(path), overwrite=True).read_text("utf-8") == other.html
    assert [one.name for one in tmp_path.iterdir()] == ["churn.html"]


@pytest.mark.parametrize("path", ["nowhere/churn.html", "a\x00b", 7, "", "folder"])
def test_a_place_where_no_file_can_be_is_refused(path: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(InvalidValueError, match=r"cannot be written|is no place|exists already"):
        Page("t", tag("p", "x")).save(path)
    assert [one.name for one in tmp_path.iterdir()] == ["folder"]


def test_a_folder_that_is_not_there_is_named_and_no_file_that_nobody_asked_for(tmp_path: Path) -> None:
    place = tmp_path / "nodir"
    with pytest.raises(InvalidValueError) as caught:
        Page("t", tag("p", "x")).save(place / "x.html")
    assert str(caught.value).startswith(f"{place / 'x.html'} cannot be written: make the folder {place} first")
    assert ".tmp" not in str(caught.value)


FULL = """
import resource, sys
from pathlib import Path
from modelkeep.errors import InvalidValueError
from modelkeep.markup import tag
from modelkeep.report import Page
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
try:
    Page("t", tag("p", "x" * 9000)).save(sys.argv[1], overwrite=True)
except InvalidValueError as error:
    print("refused", error)
"""


def test_a_disk_that_is_full_leaves_the_old_page(tmp_path: Path) -> None:
    path = Page("old", tag("p", "old")).save(tmp_path / "churn.html")
    before = path.read_bytes()
    done = subprocess.run([sys.executable, "-c", FULL, path], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("refused")
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["churn.html"]
