from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from skorch import NeuralNetRegressor

from modelkeep._trust import Tier, tier_of
from modelkeep.errors import SerializerError
from modelkeep.integrations.skorch import serializer as nets
from modelkeep.serializers.discovery import for_object
from modelkeep.serializers.port import Serializer
from modelkeep.testing.serializers import SerializerContract, load_from_memory, save_in_memory
from serializers.families import TARGET, X, layers, skorch_net, untrained_skorch_net


class TestSkorch(SerializerContract):
    @pytest.fixture
    def serializer(self) -> Serializer:
        return nets

    @pytest.fixture
    def examples(self) -> Sequence[Any]:
        return [skorch_net()]

    def same(self, a: Any, b: Any) -> bool:
        return (
            np.array_equal(a.predict(X), b.predict(X))
            and a.get_params(deep=False).keys() == b.get_params(deep=False).keys()
            and a.history == b.history
        )


def test_it_is_found_before_scikit_learn() -> None:
    assert for_object(skorch_net()).name == "skorch"


def test_weights_are_data_and_the_net_is_code() -> None:
    files = save_in_memory(nets, skorch_net())
    assert [tier_of(nets.form(files, into)) for into in (None, untrained_skorch_net())] == [Tier.CODE, Tier.DATA]
    assert files.size("module.pkl") < 20_000


def test_a_net_that_came_back_can_be_trained_on() -> None:
    found = load_from_memory(nets, save_in_memory(nets, skorch_net()))
    before = found.module_[0].weight.detach().clone()
    found.partial_fit(X, TARGET[:, None])
    assert not torch.equal(before, found.module_[0].weight)


def test_weights_fill_a_net_that_was_never_trained() -> None:
    net, other = skorch_net(), untrained_skorch_net()
    assert load_from_memory(nets, save_in_memory(nets, net), other) is other
    assert np.array_equal(net.predict(X), other.predict(X))


def test_a_net_of_another_shape_is_refused() -> None:
    other = NeuralNetRegressor(torch.nn.Linear, module__in_features=3, module__out_features=2)
    with pytest.raises(SerializerError, match="does not fit this Linear"):
        load_from_memory(nets, save_in_memory(nets, skorch_net()), other)


def test_a_net_that_was_never_initialized_comes_back() -> None:
    found = load_from_memory(nets, save_in_memory(nets, NeuralNetRegressor(layers, max_epochs=3)))
    assert (found.max_epochs, found.module) == (3, layers)
