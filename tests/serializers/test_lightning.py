from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
import safetensors.torch
import torch

from modelkeep._trust import Tier, tier_of
from modelkeep.errors import SerializerError
from modelkeep.integrations.lightning import serializer as modules
from modelkeep.serializers.discovery import for_object
from modelkeep.serializers.port import Serializer
from modelkeep.testing.serializers import SerializerContract, load_from_memory, save_in_memory
from serializers.lightnet import Light, trained_light


class TestLightning(SerializerContract):
    @pytest.fixture
    def serializer(self) -> Serializer:
        return modules

    @pytest.fixture
    def examples(self) -> Sequence[Any]:
        return [trained_light()]

    def same(self, a: Any, b: Any) -> bool:
        first, second = a.state_dict(), b.state_dict()
        return a.hparams == b.hparams and all(torch.equal(first[name], second[name]) for name in first)


def test_it_is_found_before_torch() -> None:
    assert for_object(Light()).name == "lightning"
    assert [modules.accepts(obj) for obj in (Light(), torch.nn.ReLU())] == [True, False]


def test_weights_are_data_and_the_class_is_code() -> None:
    files = save_in_memory(modules, trained_light())
    assert [tier_of(modules.form(files, into)) for into in (None, Light())] == [Tier.CODE, Tier.DATA]


def test_weights_fill_a_module_and_others_can_read_them() -> None:
    model, other = trained_light(), Light()
    files = save_in_memory(modules, model)
    assert load_from_memory(modules, files, other) is other
    assert torch.equal(other.head.weight, model.head.weight)
    read = safetensors.torch.load(bytes(files.read("model.safetensors")))
    assert torch.equal(read["head.weight"], model.head.weight)
    assert json.loads(files.read("hparams.json")) == {"width": 3, "rate": 0.1}


def test_a_module_of_another_shape_is_refused() -> None:
    with pytest.raises(SerializerError, match=r"(?s)does not fit this Light: .*head.weight"):
        load_from_memory(modules, save_in_memory(modules, trained_light()), Light(width=4))


def test_a_trainer_stays_where_it_is() -> None:
    model = trained_light(keep_trainer=True)
    assert load_from_memory(modules, save_in_memory(modules, model))._trainer is None
    assert model._trainer is not None
