"""What there is to look at: every view and page, of a registry with a story and of one that is hostile in every field.

A new view is one line in one of the four tables below. Each makes it from what it is shown of: a registry, a model, a
version, or a version of a dataset; the value has ``_repr_html_``, or is a page as text.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pandas as pd

import modelkeep as mk
from injections import PAYLOADS, marked
from modelkeep.datasetversion import Dataset
from modelkeep.errors import InvalidError
from modelkeep.stores.memory import MemoryStore
from modelkeep.version import check_path

OF_REGISTRY: Mapping[str, Callable[[mk.Registry], object]] = {
    "registry": lambda registry: registry,
    "collection": lambda registry: registry.storage.collect(dry_run=True, grace=timedelta(0)),
    "diagnosis": lambda registry: registry.doctor(),
    "lineage of all": lambda registry: registry.lineage(),
}
OF_MODEL: Mapping[str, Callable[[mk.RegisteredModel], object]] = {
    "model": lambda model: model,
    "versions": lambda model: model.versions(),
    "history": lambda model: model.history(),
    "failed runs": lambda model: model.failed_runs(),
    "failed run": lambda model: next(iter(model.failed_runs()), model),
    "table": lambda model: model.compare(),
}
OF_VERSION: Mapping[str, Callable[[mk.ModelVersion], object]] = {
    "version": lambda version: version,
    "lineage": lambda version: version.lineage(),
    "comparison": lambda version: version.compare(1),
    "reasons": lambda version: version.compare(1).why(),
}
OF_FEW: Mapping[str, Callable[[mk.ModelVersion], object]] = {  # of one version in eight, for they are long
    "report": lambda version: version.report().html,
}
OF_DATASET: Mapping[str, Callable[[Dataset], object]] = {
    "dataset": lambda dataset: dataset,
    "datasets": lambda dataset: dataset.versions,
}
NAMES = (*OF_REGISTRY, *OF_MODEL, *OF_VERSION, *OF_FEW, *OF_DATASET)


@attrs.frozen
class Stock:
    """A registry to be looked at, and the model and dataset in it that are shown where one is enough."""

    registry: mk.Registry
    model: str
    dataset: str

    def sight(self, name: str) -> str:
        """What that table makes of one thing, as HTML."""
        if name in OF_REGISTRY:
            return html_of(OF_REGISTRY[name](self.registry))
        if name in OF_MODEL:
            return html_of(OF_MODEL[name](self.registry.model(self.model)))
        if name in OF_VERSION or name in OF_FEW:
            return html_of({**OF_VERSION, **OF_FEW}[name](self.registry.get(self.model)))
        return html_of(OF_DATASET[name](self.registry.dataset(self.dataset)))

    def everything(self) -> Iterator[tuple[str, str]]:
        """What all tables make of all there is, each with what it is of."""
        yield from _all_of(OF_REGISTRY, [self.registry])
        models = self.registry.models()
        yield from _all_of(OF_MODEL, models)
        versions = [version for model in models for version in model.versions()]
        yield from _all_of(OF_VERSION, versions)
        yield from _all_of(OF_FEW, versions[::8])
        opened = map(self.registry.dataset, self.registry.datasets())
        yield from _all_of(OF_DATASET, [version for dataset in opened for version in dataset.versions])


def _all_of(table: Mapping[str, Callable[[Any], object]], things: Sequence[Any]) -> Iterator[tuple[str, str]]:
    for thing in things:
        yield from ((f"{name} of {thing!r}", html_of(make(thing))) for name, make in table.items())


def html_of(shown: object) -> str:
    """The HTML of a value that shows itself, or of a page."""
    made = getattr(shown, "_repr_html_", None)
    return str(shown if made is None else made())


def as_page(html: str, body: str = "<body>") -> str:
    """A page as it is; a view in a page, as a notebook has it."""
    if html.lstrip().lower().startswith("<!doctype"):
        return html
    return f'<!doctype html><html lang="en"><meta charset="utf-8"><title>notebook</title>{body}{html}</body></html>'


# -- a registry with a story -------------------------------------------------------------------------------------------


@attrs.define
class Clock:
    """A clock that stands until it is put on, for a registry and its store."""

    time: datetime = datetime(2026, 3, 2, 8, 12, tzinfo=UTC)

    def now(self) -> datetime:
        """The time."""
        return self.time

    def put_on(self, hours: float) -> None:
        """Let so many hours pass."""
        self.time += timedelta(hours=hours)

    def registry(self, url: str, actor: Callable[[], str]) -> mk.Registry:
        """An empty registry in memory, where this is the time, on no machine of anybody."""
        system = mk.System(now=self.now, actor=actor, host=lambda: "forge")
        return mk.Registry(MemoryStore(url, now=self.now), system=system)


def customers(rows: int) -> pd.DataFrame:
    """Rows with a skewed column, one with gaps, one of few words and one of dates."""
    random = np.random.default_rng(7)
    fees = np.round(random.lognormal(3, 0.6, rows), 2)
    fees[random.random(rows) < 0.08] = np.nan
    return pd.DataFrame(
        {
            "calls": random.poisson(4, rows),
            "fee": fees,
            "plan": random.choice(["basic", "family", "business"], rows, p=[0.6, 0.3, 0.1]),
            "since": pd.Timestamp("2021-01-01") + pd.to_timedelta(random.integers(0, 1800, rows), unit="D"),
            "left": random.random(rows) < 0.2,
        }
    )


def train(customers: pd.DataFrame, *, depth: int, rate: float = 0.1) -> tuple[dict[str, Any], dict[str, float]]:
    """Train nothing much, the better the deeper."""
    return {"w": np.full(len(customers), depth * rate)}, {
        "auc": 0.8 + 0.02 * depth - 0.002 * depth**2,
        "loss": 1 / depth,
    }


def story() -> Stock:
    """Seven versions of a model, two datasets, promotes, a rollback, a delete, later metrics; and another model."""
    names = itertools.cycle(["ada@example.org", "grace@example.org"])
    clock = Clock()
    registry = clock.registry("s3://acme-ml/registry", lambda: next(names))
    for rows in (400, 600):
        registry.save_dataset(customers(rows), "customers", tags={"source": "crm"})
    data = registry.dataset("customers:2")
    tracked = registry.track("churn", metric="auc", bump="minor", tags={"team": "growth"}, notes="deeper trees")(train)
    for depth in range(2, 9):
        tracked(customers(600), depth=depth)
        clock.put_on(31)
        if depth in (3, 5, 6):
            registry.get("churn").promote("production", reason="better on holdout")
    churn = registry.model("churn")
    with suppress(ValueError), registry.run("churn", params={"depth": 9}, data={"train": data}) as run:
        run.log(auc=0.83)
        raise ValueError("column fee: 48 of 600 values are missing")
    clock.put_on(5)
    churn.rollback("production", reason="calibration drift")
    churn.version(7).promote("staging")
    churn.version(2).delete()
    churn.version(7).measure(auc_live=0.887)
    churn.set_title("Churn of private customers")
    registry.policy.set("[retention]\nlast = 4\nlabelled = false")
    registry.save({"w": np.ones(300)}, "lifetime-value", metrics={"rmse": 12.4}, data={"train": data}, label="0.1.0")
    registry.save({"w": np.ones(30)}, "fraud", metrics={"auc": 0.97}).promote("production")
    return Stock(registry, "churn", "customers")


# -- a hostile registry ------------------------------------------------------------------------------------------------

_EACH = 20  # versions of a model: as many as its view shows


def hostile(folder: Path) -> Stock:
    """Every payload in every field that a save takes: in some by name, in those that hold one text by turns."""
    texts = [_text(marked(payload, number)) for number, payload in enumerate(PAYLOADS, 1)]
    turns = itertools.cycle(texts)
    registry = Clock().registry(f"memory://{texts[0]}", lambda: next(turns))
    _full_of(registry, texts, folder)
    for number, text in enumerate(texts):
        _alone(registry, _name(number // _EACH), text)
    for number in range(-(-len(texts) // _EACH)):
        registry.model(_name(number)).set_title(next(text for text in turns if len(text) <= 200))
    registry.policy.set("[retention]\nlast = 1\naliased = false")
    return Stock(registry, _FULL, "rows 0")


_FULL = "<b onclick=window.__ran=1>full<b>"


def _text(payload: str) -> str:
    return payload.encode("utf-8", "replace").decode()


def _name(number: int) -> str:
    """A name that a model can bear, and that would run."""
    return f"<img src=x onerror=window.__ran=1> {number}"


def _full_of(registry: mk.Registry, texts: Sequence[str], folder: Path) -> None:
    """A version with all payloads at once, as names and as values; and datasets with them as columns and values."""
    registry.save(_files(folder, texts), _FULL)
    registry.track(_FULL)(tempt)("</script><img src=x onerror=window.__ran=1>")
    full = registry.save(
        {"w": np.ones(3)},
        _FULL,
        params={text: [text] for text in texts},
        metrics=dict.fromkeys(texts, 0.5),
        tags={text: text for text in texts},
        notes="\n".join(texts),
        data={text: np.ones((3, 1)) for text in texts},
        example=pd.DataFrame({text: [1.0] for text in texts}),
        allow_secret_like=texts,
        parent=registry.get(_FULL),
    )
    given = {"params": {text: text for text in texts}, "tags": {text: text for text in texts}}
    with suppress(ValueError), registry.run(_FULL, notes="\n".join(texts), allow_secret_like=texts, **given) as run:
        run.metrics.update(dict.fromkeys(texts, 0.5))
        raise ValueError("\n".join(texts))
    full.promote("production", reason="\n".join(texts))
    full.describe("\n".join(texts))
    full.measure(**dict.fromkeys(texts, 0.25))
    full.tag(**{f"later {text}": text for text in texts})
    for number in range(2):
        half = texts[number::2]
        registry.save_dataset(
            pd.DataFrame({text: [text] * 8 for text in half}), f"rows {number}", notes="\n".join(half)
        )


def _files(folder: Path, texts: Sequence[str]) -> Path:
    """A folder with a file for each payload that can name one."""
    for text in texts:
        try:
            (folder / check_path(text.replace("/", "_"))).write_bytes(b"1")
        except (InvalidError, OSError):  # longer than a disk takes, or with what no path of a version has
            continue
    return folder


def _alone(registry: mk.Registry, name: str, text: str) -> None:
    """A version with one payload in each field; some are promoted or deleted, with it as the reason."""
    version = registry.save(
        {"w": np.ones(3)},
        name,
        params={text: text},
        metrics={text: 0.5},
        tags={text: text},
        notes=text,
        data={text: pd.DataFrame({text: [text] * 8})},
        allow_secret_like=[text],
    )
    if version.number % 4 == 1:
        version.promote("production", reason=text)
    elif version.number % 5 == 0:
        version.delete(reason=text)


def tempt(x: str) -> dict[str, Any]:
    """Is a payload itself: </pre></code><script>window.__ran=1</script><img src=x onerror=window.__ran=1>."""
    return {"w": np.ones(len(x))}
