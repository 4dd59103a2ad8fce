from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import spacy
from spacy.training import Example

from modelkeep.errors import SerializerError, TrustError
from modelkeep.integrations.spacy import serializer as pipelines
from modelkeep.registry import Registry
from modelkeep.serializers.port import Serializer
from modelkeep.stores.memory import MemoryStore
from modelkeep.testing.serializers import MemoryFiles, SerializerContract, load_from_memory, save_in_memory

TEXTS = [("a fine day", 1.0), ("no rain again", 0.0)] * 3


def trained() -> Any:
    pipeline = spacy.blank("en")
    model: dict[str, Any] = {
        "@architectures": "spacy.TextCatBOW.v3",
        "exclusive_classes": True,
        "ngram_size": 1,
        "length": 16,
    }
    model["no_output_layer"] = False
    labels = pipeline.add_pipe("textcat", config={"model": model})
    labels.add_label("good")
    labels.add_label("bad")
    pipeline.add_pipe("sentencizer")
    examples = [
        Example.from_dict(pipeline.make_doc(text), {"cats": {"good": good, "bad": 1 - good}}) for text, good in TEXTS
    ]
    optimizer = pipeline.initialize(lambda: examples)
    for _ in range(3):
        pipeline.update(examples, sgd=optimizer)
    return pipeline


class TestSpacy(SerializerContract):
    @pytest.fixture
    def serializer(self) -> Serializer:
        return pipelines

    @pytest.fixture
    def examples(self) -> Sequence[Any]:
        return [trained()]

    def same(self, a: Any, b: Any) -> bool:
        return type(a) is type(b) and a.pipe_names == b.pipe_names and a("a fine rain").cats == b("a fine rain").cats


def test_a_pipeline_needs_trust_and_the_framework_alone_opens_what_is_exported(tmp_path: Path) -> None:
    registry, pipeline = Registry(MemoryStore()), trained()
    registry.save(pipeline, "texts")
    with pytest.raises(TrustError):
        registry.load("texts")
    registry.get("texts").export(tmp_path / "out")
    for found in (registry.load("texts", trust="spacy"), spacy.load(tmp_path / "out")):
        assert found("a fine rain").cats == pipeline("a fine rain").cats


def test_garbage_is_refused() -> None:
    good = save_in_memory(pipelines, trained())
    content = {name: bytes(good.read(name)) for name in good.names()}
    for name in ("config.cfg", "meta.json", "textcat/model"):
        with pytest.raises(SerializerError):
            load_from_memory(pipelines, MemoryFiles(content | {name: b"\x93garbage"}))
