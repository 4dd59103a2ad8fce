from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from modelkeep.errors import SerializerError
from modelkeep.integrations.torch import serializer as modules
from modelkeep.serializers.port import Serializer
from modelkeep.testing.serializers import SerializerContract, load_from_memory, save_in_memory


class Net(nn.Module):  # type: ignore[misc]  # torch is not followed
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        self.head = nn.Linear(4, 7, bias=False)
        self.head.weight = self.embed.weight
        self.frozen = nn.Linear(4, 4, dtype=torch.bfloat16).requires_grad_(requires_grad=False)
        self.norm = nn.BatchNorm1d(4)
        self.register_buffer("scale", torch.ones(3))
        self.register_buffer("cache", torch.full((2,), 5.0), persistent=False)


class Extra(nn.Module):  # type: ignore[misc]
    def __init__(self, extra: Any) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.extra = extra

    def get_extra_state(self) -> Any:
        return self.extra

    def set_extra_state(self, state: Any) -> None:
        self.extra = state


def came_back(module: Any, into: Any = None) -> Any:
    return load_from_memory(modules, save_in_memory(modules, module), into)


class TestTorch(SerializerContract):
    @pytest.fixture
    def serializer(self) -> Serializer:
        return modules

    @pytest.fixture
    def examples(self) -> Sequence[Any]:
        return [Net(), Net().eval(), nn.Sequential(nn.Linear(2, 3), nn.ReLU()), nn.ReLU(), nn.LSTM(2, 3)]

    def same(self, a: Any, b: Any) -> bool:
        first, second = a.state_dict(), b.state_dict()
        return (
            (repr(a), a.training, list(first)) == (repr(b), b.training, list(second))
            and all(first[name].dtype == second[name].dtype for name in first)
            and all(torch.equal(first[name], second[name]) for name in first)
        )


def test_a_module_comes_back_with_all_that_belongs_to_it() -> None:
    net = Net().eval()
    found = came_back(net)
    assert found.head.weight is found.embed.weight
    assert {name: type(value) for name, value in found.named_parameters()} == {
        name: nn.Parameter for name, _ in net.named_parameters()
    }
    assert [value.requires_grad for value in found.parameters()] == [value.requires_grad for value in net.parameters()]
    assert [name for name, _ in found.named_buffers()] == [name for name, _ in net.named_buffers()]
    assert found.cache.tolist() == [5.0, 5.0]
    assert "cache" not in found.state_dict()
    assert (found.training, found.norm.training) == (False, False)


def test_a_module_that_came_back_can_be_trained() -> None:
    found = came_back(nn.Linear(2, 1))
    optimizer = torch.optim.SGD(found.parameters(), lr=1.0)
    before = found.weight.detach().clone()
    found(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    assert not torch.equal(before, found.weight)


def test_tensors_are_stored_once_as_safetensors() -> None:
    net = nn.Linear(500, 500)
    files = save_in_memory(modules, net)
    (state,) = [name for name in files.names() if name.endswith(".safetensors")]
    assert files.size("module.pkl") < 10_000
    read = safetensors.torch.load(bytes(files.read(state)))
    assert torch.equal(read["weight"], net.weight)
    assert set(read) == {"weight", "bias"}


def test_attributes_of_parameters_are_kept() -> None:
    net = nn.Linear(2, 2)
    net.weight.no_decay = True
    assert came_back(net).weight.no_decay is True


def test_a_module_is_filled_without_its_class() -> None:
    net, other = Net(), Net().eval()
    found = came_back(net, other)
    assert found is other
    assert not other.training
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in other.state_dict().items())


def test_the_form_tells_state_from_code() -> None:
    files = save_in_memory(modules, nn.ReLU())
    assert (modules.form(files, None), modules.form(files, nn.ReLU())) == ("torch:module", "torch:state")


@pytest.mark.parametrize("target", [
    nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4)), nn.Sequential(nn.Linear(2, 3)),
    nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 3), nn.Linear(3, 3)),
], ids=["shape", "fewer", "more"])  # fmt: skip
def test_a_module_that_does_not_fit_is_left_as_it_was(target: nn.Module) -> None:
    before = {name: value.clone() for name, value in target.state_dict().items()}
    with pytest.raises(SerializerError, match=r"(?s)does not fit this Sequential: .*[12]\.(weight|bias)"):
        came_back(nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 3)), target)
    assert {name: torch.equal(value, target.state_dict()[name]) for name, value in before.items()} == dict.fromkeys(
        before, True
    )


@pytest.mark.parametrize(
    "extra", [{"steps": (1, 2)}, torch.ones(2), "text", np.arange(3)], ids=["tree", "tensor", "text", "array"]
)
def test_extra_state_comes_back_both_ways(extra: Any) -> None:
    files = save_in_memory(modules, Extra(extra))
    filled = Extra(None)
    load_from_memory(modules, files, filled)
    assert repr(filled.extra) == repr(load_from_memory(modules, files).extra) == repr(extra)


def test_extra_state_that_is_no_data_is_missed_only_where_no_code_may_run() -> None:
    files = save_in_memory(modules, Extra({1, 2}))
    assert load_from_memory(modules, files).extra == {1, 2}
    with pytest.raises(SerializerError, match="_extra_state"):
        load_from_memory(modules, files, Extra(None))


@pytest.mark.parametrize("net", [nn.LazyLinear(2), nn.Linear(2, 2, device="meta")], ids=["lazy", "meta"])
def test_a_module_without_values_is_refused(net: nn.Module) -> None:
    with pytest.raises(SerializerError, match=r"weight.*has no values"):
        save_in_memory(modules, net)


def test_a_module_that_cannot_be_pickled_is_refused() -> None:
    net = nn.Linear(2, 2)
    net.stream = (number for number in range(3))
    with pytest.raises(SerializerError, match="Linear cannot be pickled"):
        save_in_memory(modules, net)


def test_only_modules_are_taken() -> None:
    taken = [modules.accepts(obj) for obj in (nn.ReLU(), torch.ones(2), nn.ReLU().state_dict(), object())]
    assert taken == [True, False, False, False]
