from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf

from modelkeep.errors import TrustError
from modelkeep.integrations.statsmodels import serializer as statsmodels
from modelkeep.registry import Registry
from modelkeep.serializers.port import Serializer
from modelkeep.stores.memory import MemoryStore
from modelkeep.testing.serializers import SerializerContract, load_from_memory, save_in_memory

RNG = np.random.default_rng(7)
X = RNG.normal(size=(500, 3))
Y = X @ [1, 2, 3] + RNG.normal(size=500)
FRAME = pd.DataFrame(X, columns=["a", "b", "c"]).assign(y=Y)


def ols() -> Any:
    return sm.OLS(Y, X).fit()


def formula() -> Any:
    return smf.ols("y ~ a + np.log(b ** 2)", FRAME).fit()


def arima() -> Any:
    return sm.tsa.ARIMA(Y[:60], order=(1, 0, 0)).fit()


class TestStatsmodels(SerializerContract):
    @pytest.fixture
    def serializer(self) -> Serializer:
        return statsmodels

    @pytest.fixture
    def examples(self) -> Sequence[Any]:
        return [ols(), sm.GLM(Y > 0, X, family=sm.families.Binomial()).fit(), formula(), arima()]

    def same(self, a: Any, b: Any) -> bool:
        new = FRAME[:5] if hasattr(a.model, "formula") and a.model.formula else X[:5]
        first, second = (one.forecast(3) if hasattr(one, "forecast") else one.predict(new) for one in (a, b))
        return type(a) is type(b) and np.array_equal(first, second) and np.array_equal(a.params, b.params)


def test_the_training_data_stay_out_and_the_object_as_it_was() -> None:
    result = ols()
    files = save_in_memory(statsmodels, result)
    assert files.size("model.pkl") < X.nbytes / 2
    assert result.model.exog is not None
    assert result.resid.shape == (500,)
    found = load_from_memory(statsmodels, files)
    assert (found.model.exog, found.model.endog) == (None, None)
    assert "R-squared" in str(found.summary())


def test_time_series_and_formulas_keep_what_they_predict_from() -> None:
    assert load_from_memory(statsmodels, save_in_memory(statsmodels, arima())).model.endog is not None
    found = load_from_memory(statsmodels, save_in_memory(statsmodels, formula()))
    assert found.predict(FRAME[:5]).notna().all()


def test_a_result_needs_trust() -> None:
    registry = Registry(MemoryStore())
    registry.save(ols(), "fit")
    with pytest.raises(TrustError):
        registry.load("fit")
    assert registry.load("fit", trust="statsmodels").params.shape == (3,)
