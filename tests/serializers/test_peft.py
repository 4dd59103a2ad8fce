from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers as tr

from modelkeep._trust import Tier, tier_of
from modelkeep.errors import SerializerError, TrustError
from modelkeep.integrations.peft import serializer as adapters
from modelkeep.registry import Registry
from modelkeep.stores.memory import MemoryStore
from modelkeep.testing.serializers import MemoryFiles, load_from_memory, save_in_memory

# peft 0.21 asks for it by its old name
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
IDS = torch.arange(5)[None]


def base(width: int = 8) -> Any:
    torch.manual_seed(0)
    ends = {"bos_token_id": 0, "eos_token_id": 0}
    return tr.GPT2LMHeadModel(tr.GPT2Config(vocab_size=20, n_embd=width, n_layer=1, n_head=2, n_positions=16, **ends))


def tuned(**options: Any) -> Any:
    settings = {"r": 2, "target_modules": ["c_attn"], "fan_in_fan_out": True, "task_type": "CAUSAL_LM", **options}
    model = peft.get_peft_model(base(), peft.LoraConfig(**settings))
    optimizer = torch.optim.SGD([one for one in model.parameters() if one.requires_grad], lr=1.0)
    for _ in range(3):
        optimizer.zero_grad()
        model(IDS, labels=IDS).loss.backward()
        optimizer.step()
    return model.eval()


def logits(model: Any) -> Any:
    with torch.no_grad():
        return model(IDS).logits


def test_an_adapter_comes_back_into_its_base_without_trust_and_without_the_base_in_the_files() -> None:
    model, registry = tuned(), Registry(MemoryStore())
    registry.save(base(), "base")
    registry.save(model, "adapter", parent="base:1")
    found = registry.load("adapter", into=registry.load("base"))
    assert torch.equal(logits(found), logits(model))
    assert not torch.equal(logits(found), logits(base().eval()))
    assert sorted(registry.get("adapter").tensors) == sorted(peft.get_peft_model_state_dict(model))


def test_saving_leaves_the_model_trainable() -> None:
    model = tuned()
    before = logits(model)
    save_in_memory(adapters, model)
    assert model.peft_config["default"].inference_mode is False
    assert torch.equal(before, logits(model))


@pytest.mark.parametrize(
    "into", [None, object(), torch.nn.Linear(1, 1), base(width=16)], ids=["none", "object", "other", "size"]
)
def test_a_base_that_does_not_fit_is_refused(into: Any) -> None:
    with pytest.raises(SerializerError):
        load_from_memory(adapters, save_in_memory(adapters, tuned()), into)


def test_the_framework_alone_opens_what_is_exported(tmp_path: Path) -> None:
    model = tuned()
    adapters.export(save_in_memory(adapters, model), tmp_path)
    found = peft.PeftModel.from_pretrained(base(), tmp_path).eval()
    assert torch.equal(logits(found), logits(model))


def changed(**parts: Any) -> MemoryFiles:
    files = save_in_memory(adapters, tuned())
    content = {name: bytes(files.read(name)) for name in files.names()}
    config = json.loads(content["adapter_config.json"]) | parts
    return MemoryFiles(content | {"adapter_config.json": json.dumps(config).encode()})


@pytest.mark.parametrize("parts", [
    {"megatron_config": {}, "megatron_core": "antigravity"}, {"peft_type": "IA3"}, {"init_lora_weights": "eva"},
    {"target_modules": "(a+)+$"}, {"task_type": "../x"}, {"loftq_config": {"a": 1}}, {"unknown": 1}, {"r": "2"},
    {"modules_to_save": ["/etc/passwd"]}, {"corda_config": {"cache_file": "/etc/passwd"}}, {"target_modules": [["a"]]},
])  # fmt: skip
def test_a_configuration_that_names_something_else_needs_trust(parts: dict[str, Any]) -> None:
    assert adapters.form(changed(), base()) == "peft:lora"
    assert tier_of(adapters.form(changed(**parts), base())) is Tier.CODE


def test_other_adapters_need_trust() -> None:
    settings = {"target_modules": ["c_attn"], "feedforward_modules": [], "fan_in_fan_out": True}
    config = peft.IA3Config(task_type="CAUSAL_LM", **settings)
    model = peft.get_peft_model(base(), config)
    registry = Registry(MemoryStore())
    registry.save(model.eval(), "adapter")
    with pytest.raises(TrustError):
        registry.load("adapter", into=base())
    found = registry.load("adapter", into=base(), trust="peft").eval()
    assert torch.equal(logits(found), logits(model))
