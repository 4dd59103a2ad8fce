from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from modelkeep.errors import SerializerError, TrustError
from modelkeep.integrations.faiss import serializer as indexes
from modelkeep.registry import Registry
from modelkeep.serializers.port import Serializer
from modelkeep.stores.memory import MemoryStore
from modelkeep.testing.serializers import MemoryFiles, SerializerContract, load_from_memory, save_in_memory

X = np.random.default_rng(7).normal(size=(200, 8)).astype("f4")
BITS = np.random.default_rng(7).integers(0, 256, (50, 4), dtype="u1")


def built(factory: str) -> Any:
    index = faiss.index_factory(8, factory)
    index.train(X)
    index.add(X)
    return index


def binary() -> Any:
    index = faiss.IndexBinaryFlat(32)
    index.add(BITS)
    return index


class TestFaiss(SerializerContract):
    @pytest.fixture
    def serializer(self) -> Serializer:
        return indexes

    @pytest.fixture
    def examples(self) -> Sequence[Any]:
        return [built("Flat"), built("IVF4,Flat"), built("HNSW8"), binary()]

    def same(self, a: Any, b: Any) -> bool:
        asked = BITS[:5] if isinstance(a, faiss.IndexBinary) else X[:5]
        # faiss gives an IndexFlatL2 for an IndexFlat of that metric
        pairs = zip(a.search(asked, 3), b.search(asked, 3), strict=True)
        return isinstance(b, type(a)) and all(np.array_equal(first, second) for first, second in pairs)


def test_the_framework_alone_opens_what_is_exported(tmp_path: Path) -> None:
    index = built("IVF4,Flat")
    indexes.export(save_in_memory(indexes, index), tmp_path)
    found = faiss.read_index(str(tmp_path / "index.faiss"))
    assert np.array_equal(found.search(X[:5], 3)[1], index.search(X[:5], 3)[1])


def test_an_index_needs_trust_since_its_reader_is_not_safe_for_strangers() -> None:
    registry = Registry(MemoryStore())
    registry.save(built("Flat"), "index")
    with pytest.raises(TrustError):
        registry.load("index")
    assert registry.load("index", trust="faiss").ntotal == 200


@pytest.mark.parametrize("raw", [b"", b"IxF2", b"garbage" * 100])
def test_garbage_is_refused(raw: bytes) -> None:
    with pytest.raises(SerializerError, match=r"index\.faiss cannot be read"):
        load_from_memory(indexes, MemoryFiles({"index.faiss": raw}))
