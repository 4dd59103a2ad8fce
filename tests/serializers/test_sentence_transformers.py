from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as tr
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from tokenizers import Tokenizer, models, pre_tokenizers

from modelkeep._trust import Tier, tier_of
from modelkeep.integrations.sentence_transformers import serializer as sentences
from modelkeep.serializers.port import Serializer
from modelkeep.testing.serializers import SerializerContract, save_in_memory

TEXTS = ["one two", "three"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("base")
    words = Tokenizer(models.WordLevel({"[UNK]": 0, "one": 1, "two": 2, "three": 3, "[PAD]": 4}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tr.PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]", pad_token="[PAD]").save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = tr.BertConfig(vocab_size=5, max_position_embeddings=16, pad_token_id=4, **sizes)
    tr.BertModel(config).save_pretrained(folder)
    return SentenceTransformer(modules=[Transformer(str(folder)), Pooling(8)], device="cpu")


class TestSentenceTransformers(SerializerContract):
    @pytest.fixture
    def serializer(self) -> Serializer:
        return sentences

    @pytest.fixture
    def examples(self, model: Any) -> Sequence[Any]:
        return [model]

    def same(self, a: Any, b: Any) -> bool:
        return type(a) is type(b) and np.array_equal(a.encode(TEXTS), b.encode(TEXTS))


def test_it_is_code_and_the_framework_alone_opens_what_is_exported(model: Any, tmp_path: Path) -> None:
    files = save_in_memory(sentences, model)
    assert tier_of(sentences.form(files, None)) is Tier.CODE
    sentences.export(files, tmp_path)
    assert np.array_equal(SentenceTransformer(str(tmp_path), device="cpu").encode(TEXTS), model.encode(TEXTS))
