from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gensim.models import Doc2Vec, FastText, KeyedVectors, Word2Vec
from gensim.models.doc2vec import TaggedDocument

from modelkeep.errors import ModelkeepError, SerializerError, TrustError
from modelkeep.integrations.gensim import serializer as gensim
from modelkeep.integrations.tree import serializer as tree
from modelkeep.registry import Registry
from modelkeep.serializers.port import Serializer
from modelkeep.stores.memory import MemoryStore
from modelkeep.testing.serializers import SerializerContract, load_from_memory, save_in_memory

TEXTS = [["one", "two", "three"], ["two", "three", "four"], ["one", "four"]] * 5
SMALL: dict[str, Any] = {"vector_size": 8, "min_count": 1, "epochs": 2, "workers": 1, "seed": 1}
WORDS = Word2Vec(TEXTS, **SMALL)


class TestGensim(SerializerContract):
    @pytest.fixture
    def serializer(self) -> Serializer:
        return gensim

    @pytest.fixture
    def examples(self) -> Sequence[Any]:
        documents = [TaggedDocument(text, [at]) for at, text in enumerate(TEXTS)]
        return [WORDS.wv, WORDS, Doc2Vec(documents, **SMALL), FastText(TEXTS, bucket=50, **SMALL)]

    def same(self, a: Any, b: Any) -> bool:
        first, second = (getattr(one, "wv", one) for one in (a, b))
        return (
            type(a) is type(b)
            and first.index_to_key == second.index_to_key
            and first.most_similar("one") == second.most_similar("one")
            and first.get_vecattr("one", "count") == second.get_vecattr("one", "count")
        )


def test_vectors_are_data_and_models_need_trust() -> None:
    registry = Registry(MemoryStore())
    registry.save(WORDS.wv, "vectors")
    registry.save(WORDS, "words")
    assert np.array_equal(registry.load("vectors")["two"], WORDS.wv["two"])
    with pytest.raises(TrustError):
        registry.load("words")
    assert np.array_equal(registry.load("words", trust="gensim").wv["two"], WORDS.wv["two"])


def test_loaded_vectors_can_be_added_to() -> None:
    found = load_from_memory(gensim, save_in_memory(gensim, WORDS.wv))
    found.add_vectors(["five"], np.ones((1, 8), "f4"))
    assert found["five"].tolist() == [1] * 8


def test_the_framework_alone_opens_what_is_exported(tmp_path: Path) -> None:
    gensim.export(save_in_memory(gensim, WORDS.wv), tmp_path)
    found = KeyedVectors.load_word2vec_format(str(tmp_path / "vectors.bin"), binary=True)
    assert found.index_to_key == WORDS.wv.index_to_key
    assert np.array_equal(found.vectors, WORDS.wv.vectors)


def test_words_that_word2vec_cannot_write_are_kept_and_not_exported(tmp_path: Path) -> None:
    vectors = KeyedVectors(2)
    vectors.add_vectors(["new york", 7], np.eye(2, dtype="f4"))
    files = save_in_memory(gensim, vectors)
    assert load_from_memory(gensim, files)["new york"].tolist() == [1, 0]
    with pytest.raises(SerializerError, match="words with spaces"):
        gensim.export(files, tmp_path)


GOOD: dict[str, Any] = {"vectors": np.eye(2, dtype="f4"), "keys": ["a", "b"], "attributes": {"count": np.ones(2, int)}}


@pytest.mark.parametrize("parts", [
    GOOD | {"keys": ["a"]}, GOOD | {"keys": ["a", None]}, GOOD | {"vectors": np.zeros(2)}, GOOD | {"vectors": 3},
    GOOD | {"attributes": {"count": np.ones(3)}}, GOOD | {"attributes": {"__class__": "x"}}, GOOD | {"attributes": 3},
    {"vectors": np.eye(2)}, [np.eye(2)], GOOD | {"vectors": np.array([["a", "b"]] * 2)},
])  # fmt: skip
def test_parts_that_do_not_fit_are_refused(parts: Any) -> None:
    assert load_from_memory(gensim, save_in_memory(tree, GOOD)).index_to_key == ["a", "b"]
    with pytest.raises(ModelkeepError):
        load_from_memory(gensim, save_in_memory(tree, parts))
