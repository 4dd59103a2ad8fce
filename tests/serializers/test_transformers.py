from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as tr
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, trainers

from modelkeep._trust import Tier, tier_of
from modelkeep.errors import ModelkeepError, SerializerError
from modelkeep.integrations.tokenizers import serializer as tokenizers
from modelkeep.integrations.transformers import serializer as transformers
from modelkeep.serializers.discovery import for_object
from modelkeep.serializers.port import Serializer
from modelkeep.testing.serializers import MemoryFiles, SerializerContract, load_from_memory, save_in_memory

IDS = torch.arange(5)[None]


def bert() -> Any:
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    labels = {0: "no / never", 1: "yes"}
    config = tr.BertConfig(vocab_size=20, max_position_embeddings=16, id2label=labels, pad_token_id=0, **sizes)
    return tr.BertForSequenceClassification(config).eval()


def gpt2() -> Any:
    torch.manual_seed(0)
    ends = {"bos_token_id": 0, "eos_token_id": 0}
    config = tr.GPT2Config(vocab_size=20, n_embd=8, n_layer=1, n_head=2, n_positions=16, **ends)
    return tr.GPT2LMHeadModel(config).eval()


def words() -> Any:
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(["one two three", "two three four"], trainers.BpeTrainer(special_tokens=["[UNK]"]))
    return tokenizer


def fast() -> Any:
    end = AddedToken("[END]", lstrip=True)
    return tr.PreTrainedTokenizerFast(tokenizer_object=words(), unk_token="[UNK]", eos_token=end, model_max_length=7)


class TestTransformers(SerializerContract):
    @pytest.fixture
    def serializer(self) -> Serializer:
        return transformers

    @pytest.fixture
    def examples(self) -> Sequence[Any]:
        return [bert(), gpt2(), bert().to(torch.bfloat16), fast()]

    def same(self, a: Any, b: Any) -> bool:
        if isinstance(a, tr.PreTrainedTokenizerBase):
            return type(a) is type(b) and a("one two [END]") == b("one two [END]") and a.eos_token_id == b.eos_token_id
        with torch.no_grad():
            equal = torch.equal(a(IDS).logits, b(IDS).logits)
        return equal and type(a) is type(b) and a.dtype == b.dtype and a.config.id2label == b.config.id2label


class TestTokenizers(SerializerContract):
    @pytest.fixture
    def serializer(self) -> Serializer:
        return tokenizers

    @pytest.fixture
    def examples(self) -> Sequence[Any]:
        return [words()]

    def same(self, a: Any, b: Any) -> bool:
        return bool(a.to_str() == b.to_str() and a.encode("one two").ids == b.encode("one two").ids)


def test_models_and_tokenizers_of_the_common_kind_are_data_and_tied_weights_are_tied_again() -> None:
    forms = {"transformers:model": (bert(), gpt2()), "transformers:tokenizer": (fast(),)}
    for obj, form in ((obj, form) for form, objects in forms.items() for obj in objects):
        assert for_object(obj) is transformers
        assert transformers.form(save_in_memory(transformers, obj), None) == form
        assert tier_of(form) is Tier.DATA
    found = load_from_memory(transformers, save_in_memory(transformers, gpt2()))
    assert found.lm_head.weight is found.transformer.wte.weight
    assert found.generation_config.eos_token_id == 0


def test_a_class_of_ones_own_is_left_to_torch() -> None:
    class Own(tr.BertModel):  # type: ignore[misc]
        pass

    assert for_object(Own(bert().config)).name == "torch"


def test_the_framework_alone_opens_what_is_exported(tmp_path: Path) -> None:
    transformers.export(save_in_memory(transformers, bert()), tmp_path)
    found = tr.AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    assert torch.equal(found(IDS).logits, bert()(IDS).logits)
    tokenizers.export(save_in_memory(tokenizers, words()), tmp_path / "words")
    assert Tokenizer.from_file(str(tmp_path / "words" / "tokenizer.json")).encode("one").ids


def changed(obj: Any, path: str, more: dict[str, bytes] | None = None, **parts: Any) -> MemoryFiles:
    files = save_in_memory(transformers, obj)
    content = {name: bytes(files.read(name)) for name in files.names()} | (more or {})
    content[path] = json.dumps(json.loads(content[path]) | parts).encode()
    return MemoryFiles(content)


HOSTILE: dict[str, dict[str, Any]] = {
    "code": {"auto_map": {"AutoModel": "evil.Model"}},
    "another class": {"architectures": ["os.system"]},
    "a function": {"architectures": ["pipeline"]},
    "a class of another type": {"architectures": ["GPT2LMHeadModel"]},
    "two classes": {"architectures": ["BertModel", "BertModel"]},
    "a type that nobody reviewed": {"model_type": "rag"},
    "no type": {"model_type": None},
    "a kernel": {"attn_implementation": "evil/kernel"},
    "a kernel, as kept": {"_attn_implementation": "sdpa"},
    "experts": {"experts_implementation": "evil/kernel"},
    "other weights": {"transformers_weights": "../../pytorch_model.bin"},
    "another model": {"backbone": "resnet", "use_pretrained_backbone": True},
    "a base": {"base_model_name_or_path": "evil"},
    "quantization": {"quantization_config": {"quant_method": "gptq"}},
    "a path": {"hidden_act": "/etc/passwd"},
    "an address": {"hidden_act": "http://localhost:1/x"},
    "a repository": {"summary_type": "evil/model"},
    "a path in a list": {"extra": ["../x"]},
    "a dict": {"extra": {"a": 1}},
    "a path in a table": {"rope_scaling": {"type": "../x"}},
    "a part of the class": {"__class__": "x"},
    "a dtype": {"dtype": "load"},
}


@pytest.mark.parametrize("parts", HOSTILE.values(), ids=HOSTILE)
def test_a_configuration_that_names_something_else_needs_trust(parts: dict[str, Any]) -> None:
    assert transformers.form(changed(bert(), "config.json"), None) == "transformers:model"
    assert tier_of(transformers.form(changed(bert(), "config.json", **parts), None)) is Tier.CODE


@pytest.mark.parametrize("name", [
    "modeling_bert.py", "pytorch_model.bin", "adapter_config.json", "model.gguf", "sub/config.json", "kernel.so",
    "chat_template.jinja", "model.safetensors.py", "xmodel.safetensors",
])  # fmt: skip
def test_a_file_that_does_not_belong_there_needs_trust(name: str) -> None:
    for obj, path in ((bert(), "config.json"), (fast(), "tokenizer_config.json")):
        assert tier_of(transformers.form(changed(obj, path, more={name: b"x"}), None)) is Tier.CODE


@pytest.mark.parametrize("parts", [
    {"tokenizer_class": "os.system"}, {"tokenizer_class": "BertTokenizer"}, {"auto_map": {"AutoTokenizer": ["a", "b"]}},
    {"chat_template": "{{ 1 }}"}, {"vocab_file": "/etc/passwd"}, {"__class__": 1},
])  # fmt: skip
def test_a_tokenizer_that_names_something_else_needs_trust(parts: dict[str, Any]) -> None:
    assert tier_of(transformers.form(changed(fast(), "tokenizer_config.json", **parts), None)) is Tier.CODE


def test_transformers_opens_no_file_of_a_data_model(monkeypatch: pytest.MonkeyPatch) -> None:
    files = save_in_memory(transformers, gpt2())

    def opened(*_: object, **__: object) -> None:
        pytest.fail("a file was looked for")

    for name in ("cached_file", "safe_open", "load_state_dict"):
        monkeypatch.setattr(f"transformers.modeling_utils.{name}", opened)
    monkeypatch.setattr(MemoryFiles, "extract", opened)
    assert load_from_memory(transformers, files).config.n_layer == 1


@pytest.mark.parametrize(
    "parts", [{"hidden_size": 16}, {"num_hidden_layers": 2}, {"hidden_act": "eval"}, {"vocab_size": -1}]
)
def test_weights_that_do_not_fit_the_configuration_are_refused(parts: dict[str, Any]) -> None:
    with pytest.raises(ModelkeepError):
        load_from_memory(transformers, changed(bert(), "config.json", **parts))


DEEP = b'{"normalizer":' + b'{"type":"Sequence","normalizers":[' * 5000 + b"]}" * 5000 + b"}"


@pytest.mark.parametrize("raw", [b"", b"{}", b"3", b"\xff", DEEP, b'{"version":"1.0","model":{"type":"os.system"}}'])
def test_garbage_is_no_tokenizer(raw: bytes) -> None:
    with pytest.raises(SerializerError, match=r"tokenizer\.json cannot be read"):
        load_from_memory(tokenizers, MemoryFiles({"tokenizer.json": raw}))


def test_a_part_written_in_python_is_refused() -> None:
    class Own:
        def normalize(self, text: Any) -> None:
            pass

    from tokenizers.normalizers import Normalizer

    tokenizer = words()
    tokenizer.normalizer = Normalizer.custom(Own())
    with pytest.raises(SerializerError, match="written in Python"):
        save_in_memory(tokenizers, tokenizer)
