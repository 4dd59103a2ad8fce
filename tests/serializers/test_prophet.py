from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from prophet import Prophet
from prophet.serialize import model_from_json

from modelkeep.errors import ModelkeepError, SerializerError
from modelkeep.integrations.prophet import serializer as prophet
from modelkeep.serializers.port import Serializer
from modelkeep.testing.serializers import MemoryFiles, SerializerContract, load_from_memory, save_in_memory

# prophet 1.5 fits and reads with keywords that pandas 3.1 is about to drop
pytestmark = [
    pytest.mark.filterwarnings("ignore:The inplace keyword:pandas.errors.Pandas4Warning"),
    pytest.mark.filterwarnings("ignore:The 'convert_dates' keyword:pandas.errors.Pandas4Warning"),
]

DAYS = pd.date_range("2020-01-01", periods=60)
TRAIN = pd.DataFrame({"ds": DAYS, "y": np.sin(np.arange(60) / 7), "extra": np.arange(60) % 5})


@pytest.fixture(scope="module")
def fitted() -> Any:
    model = Prophet(n_changepoints=3, uncertainty_samples=0)
    model.add_regressor("extra")
    model.add_country_holidays("DE")
    return model.fit(TRAIN, seed=1)


class TestProphet(SerializerContract):
    @pytest.fixture
    def serializer(self) -> Serializer:
        return prophet

    @pytest.fixture
    def examples(self, fitted: Any) -> Sequence[Any]:
        return [fitted]

    def same(self, a: Any, b: Any) -> bool:
        return bool((a.predict(TRAIN).yhat - b.predict(TRAIN).yhat).abs().max() <= 1e-9)


def test_the_framework_alone_opens_what_is_exported(fitted: Any, tmp_path: Path) -> None:
    prophet.export(save_in_memory(prophet, fitted), tmp_path)
    found = model_from_json((tmp_path / "model.json").read_text())
    assert np.allclose(found.predict(TRAIN).yhat, fitted.predict(TRAIN).yhat, atol=1e-9)


def test_a_model_that_is_not_fitted_is_refused() -> None:
    with pytest.raises(SerializerError, match="fit it first"):
        save_in_memory(prophet, Prophet())


def changed(model: Any, **parts: Any) -> MemoryFiles:
    told = json.loads(save_in_memory(prophet, model).read("model.json")) | parts
    return MemoryFiles({"model.json": json.dumps(told).encode()})


@pytest.mark.parametrize("name", ["os", "sys", "country_holidays", "HolidayBase", "registry", "", 3, ["DE"]])
def test_a_country_that_names_something_else_is_refused(fitted: Any, name: Any) -> None:
    with pytest.raises(ModelkeepError, match="which is no country"):
        load_from_memory(prophet, changed(fitted, country_holidays=name))


def test_a_country_is_let_in(fitted: Any) -> None:
    for name in ("DE", "US", "Germany", None):
        assert load_from_memory(prophet, changed(fitted, country_holidays=name)).country_holidays == name


def test_tables_are_read_from_text_and_never_from_a_path(fitted: Any, tmp_path: Path) -> None:
    """pandas opens what looks like a path or an address, unless it is given as a stream."""
    secret = tmp_path / "secret.json"
    secret.write_text('{"name":"ds","index":[0],"data":[1]}')
    opened: list[Any] = []
    watching = [True]

    def watch(event: str, args: Any) -> None:
        if watching and (event.startswith(("socket.", "urllib.")) or (event == "open" and args[0] == str(secret))):
            opened.append((event, args))

    sys.addaudithook(watch)
    for attribute in ("changepoints", "history", "holidays", "train_component_cols", "history_dates"):
        for text in (str(secret), f"file://{secret}", "http://localhost:1/x.json"):
            with pytest.raises(SerializerError, match=r"model\.json cannot be read"):
                load_from_memory(prophet, changed(fitted, **{attribute: text}))
    watching.clear()
    assert opened == []


@pytest.mark.parametrize("raw", [b"", b"{}", b"3", b"[]", b"null", b'{"country_holidays": null}', b"[" * 100_000])
def test_garbage_is_refused(raw: bytes) -> None:
    with pytest.raises(ModelkeepError):
        load_from_memory(prophet, MemoryFiles({"model.json": raw}))
