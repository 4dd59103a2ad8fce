from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, OneCycleLR, ReduceLROnPlateau

from modelkeep._trust import Tier, tier_of
from modelkeep.errors import IntegrityError, SerializerError
from modelkeep.integrations.torch import serializer as modules
from modelkeep.serializers.discovery import for_object
from modelkeep.serializers.port import Serializer
from modelkeep.testing.serializers import MemoryFiles, SerializerContract, load_from_memory, save_in_memory

SCRIPTED = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # it is on its way out


def net() -> Any:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 1))


def stepped(kind: Any = Adam, **settings: Any) -> Any:
    module = net()
    optimizer = kind(module.parameters(), lr=0.1, **settings)
    for _ in range(3):
        module(torch.ones(1, 3)).sum().backward()
        optimizer.step()
    return optimizer


def same_state(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return bool(torch.equal(a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same_state(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same_state, a, b))
    return bool(a == b)


class TestOptimizers(SerializerContract):
    @pytest.fixture
    def serializer(self) -> Serializer:
        return modules

    @pytest.fixture
    def examples(self) -> Sequence[Any]:
        return [stepped(), stepped(SGD, momentum=0.9), CosineAnnealingLR(stepped(), 10), ReduceLROnPlateau(stepped())]

    def same(self, a: Any, b: Any) -> bool:
        first, second = (x if isinstance(x, dict) else x.state_dict() for x in (a, b))
        return same_state(first, second)


def test_an_optimizer_is_filled_and_goes_on_where_it_stopped() -> None:
    saved, other = stepped(), Adam(net().parameters(), lr=0.5)
    files = save_in_memory(modules, saved)
    assert tier_of(modules.form(files, other)) is tier_of(modules.form(files, None)) is Tier.DATA
    assert load_from_memory(modules, files, other) is other
    assert same_state(other.state_dict(), saved.state_dict())
    assert other.param_groups[0]["lr"] == 0.1


def test_a_scheduler_is_filled() -> None:
    saved, other = OneCycleLR(stepped(SGD), 1.0, 10), OneCycleLR(stepped(SGD), 1.0, 10)
    saved.optimizer.step()
    saved.step()
    assert load_from_memory(modules, save_in_memory(modules, saved), other).last_epoch == saved.last_epoch == 1


@pytest.mark.parametrize(("target", "why"), [
    (stepped(SGD), "holds the state of a 'Adam', and into= is a SGD"),
    (Adam(nn.Linear(3, 2).parameters()), "parameter group that doesn't match"),
    (Adam([*nn.Linear(2, 3).parameters(), *nn.Linear(2, 1).parameters()]), r"exp_avg of parameter 0 is \(2, 3\), not"),
    (net(), "into= is a Sequential"),
], ids=["kind", "count", "shapes", "module"])  # fmt: skip
def test_what_does_not_fit_is_refused_and_left_as_it_was(target: Any, why: str) -> None:
    before = repr(target.state_dict())
    with pytest.raises(SerializerError, match=why):
        load_from_memory(modules, save_in_memory(modules, stepped()), target)
    assert repr(target.state_dict()) == before


def test_a_state_sets_no_names_that_a_scheduler_does_not_have() -> None:
    saved = CosineAnnealingLR(stepped(), 10)
    saved.step_ = saved.anything = 1
    with pytest.raises(SerializerError, match="it has no \\[\"'anything'\""):
        load_from_memory(modules, save_in_memory(modules, saved), CosineAnnealingLR(stepped(), 10))


def test_a_schedule_by_a_function_keeps_its_numbers_alone() -> None:
    other = LambdaLR(stepped(), lambda epoch: 0.5**epoch)
    saved = LambdaLR(stepped(), lambda epoch: 0.5**epoch)
    saved.optimizer.step()
    saved.step()
    assert load_from_memory(modules, save_in_memory(modules, saved), other).last_epoch == 1


def test_a_damaged_state_is_an_integrity_error() -> None:
    files = save_in_memory(modules, stepped())
    content = {name: bytes(files.read(name)) for name in files.names()}
    for name, raw in (("wrapper.json", b"{}"), ("tree.json", b"{}"), ("tree.json", b'{"$list": []}')):
        with pytest.raises(IntegrityError):
            load_from_memory(modules, MemoryFiles({**content, name: raw}), stepped())


def test_tied_and_noncontiguous_parameters_come_back_as_they_were() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 3))
    module[0].weight = nn.Parameter(torch.arange(12.0).reshape(3, 4).t())
    module[1].bias = module[0].bias = nn.Parameter(torch.ones(8)[::2][:3])
    assert not module[0].weight.is_contiguous()
    found = load_from_memory(modules, save_in_memory(modules, module))
    assert torch.equal(found[0].weight, module[0].weight)
    assert found[0].bias is found[1].bias
    filled = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 3))
    filled[1].bias = filled[0].bias = nn.Parameter(torch.zeros(3))
    assert torch.equal(load_from_memory(modules, save_in_memory(modules, module), filled)[0].weight, module[0].weight)


def test_an_exported_program_is_an_archive_of_torch_and_code() -> None:
    program = torch.export.export(net().eval(), (torch.ones(2, 3),))
    assert for_object(program).name == "torch"
    files = save_in_memory(modules, program)
    assert files.names() == ("model.pt2",)
    assert modules.form(files, None) == "torch:exported"
    assert tier_of("torch:exported") is tier_of("torch:script") is Tier.CODE
    found = load_from_memory(modules, files)
    assert torch.equal(found.module()(torch.ones(2, 3)), program.module()(torch.ones(2, 3)))


@SCRIPTED
def test_torchscript_comes_back() -> None:
    script = torch.jit.script(net().eval())
    files = save_in_memory(modules, script)
    assert (files.names(), modules.form(files, None)) == (("model.pt",), "torch:script")
    assert torch.equal(load_from_memory(modules, files)(torch.ones(2, 3)), script(torch.ones(2, 3)))
    with pytest.raises(SerializerError, match="leave out into="):
        load_from_memory(modules, files, net())


@pytest.mark.parametrize("path", ["model.pt", "model.pt2"])
@SCRIPTED
def test_an_archive_that_is_none_is_refused(path: str) -> None:
    with pytest.raises(SerializerError, match=f"{path} cannot be read by torch"):
        load_from_memory(modules, MemoryFiles({path: b"PK garbage"}))
