"""gensim: word vectors as plain arrays and a vocabulary; everything else by pickle.

`KeyedVectors` are data: a tree of arrays, texts and numbers, nothing of which is run. gensim's own ``.save`` pickles,
and so do models that can be trained on (Word2Vec, Doc2Vec, FastText, LDA, …): code tier.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modelkeep.errors import IntegrityError, SerializerError
from modelkeep.integrations.tree import TREE, TreeSerializer
from modelkeep.serializers.arrays import Reader
from modelkeep.serializers.outofband import PICKLE
from modelkeep.serializers.port import Files, Sink
from modelkeep.serializers.strangers import reading
from modelkeep.serializers.whole import WholeSerializer

_tree = TreeSerializer()


class GensimSerializer(WholeSerializer):
    """See the module."""

    name = "gensim"
    packages = ("gensim", "numpy", "scipy")

    def save(self, obj: Any, sink: Sink) -> None:
        """See `Serializer.save`."""
        if not _is_vectors(obj):
            super().save(obj, sink)
            return
        keys = [key if type(key) is str else int(key) for key in obj.index_to_key]
        _tree.save({"vectors": obj.vectors, "keys": keys, "attributes": dict(obj.expandos)}, sink)

    def form(self, files: Files, into: object | None) -> str:
        """See `Serializer.form`."""
        super().form(files, into)
        if not {TREE, PICKLE} & set(files.names()):
            raise IntegrityError("the version holds neither vectors nor a model of gensim; run `modelkeep verify`")
        return "gensim:vectors" if TREE in files.names() else "gensim:model"

    def load(self, files: Files, form: str, into: object | None) -> object:
        """See `Serializer.load`."""
        if form != "gensim:vectors":
            return super().load(files, form, into)
        parts: Any = _tree.load(files, "tree", None)
        with reading(TREE):
            return _vectors(parts)

    def tensors(self, files: Files) -> dict[str, Reader]:
        """See `Serializer.tensors`: the vectors, and the attributes of words."""
        return dict(_tree.tensors(files)) if TREE in files.names() else {}

    def export(self, files: Files, folder: Path) -> None:
        """See `Serializer.export`: word2vec's format, or one plain pickle."""
        if TREE not in files.names():
            super().export(files, folder)
            return
        vectors: Any = self.load(files, "gensim:vectors", None)
        if any(type(key) is not str or len(key.split()) != 1 for key in vectors.index_to_key):
            raise SerializerError("words with spaces have no place in the format of word2vec; load the vectors instead")
        vectors.save_word2vec_format(str(folder / "vectors.bin"), binary=True)


def _is_vectors(obj: object) -> bool:
    return (type(obj).__module__, type(obj).__name__) == ("gensim.models.keyedvectors", "KeyedVectors")


def _vectors(parts: dict[str, Any]) -> object:
    import numpy as np
    from gensim.models import KeyedVectors

    vectors, keys = parts["vectors"], parts["keys"]
    numbers = isinstance(vectors, np.ndarray) and vectors.dtype.kind == "f" and vectors.ndim == 2  # noqa: PLR2004
    if not numbers or len(keys) != len(vectors) or not all(type(key) in (str, int) for key in keys):
        raise IntegrityError("vectors and words do not fit each other; run `modelkeep verify`")
    found = KeyedVectors(vectors.shape[1], dtype=vectors.dtype)
    found.vectors, found.index_to_key = vectors, list(keys)
    found.key_to_index = {key: at for at, key in enumerate(keys)}
    for name, values in parts["attributes"].items():
        if not isinstance(name, str) or not isinstance(values, np.ndarray) or values.shape[:1] != (len(keys),):
            raise IntegrityError(f"the attribute {name!r} does not fit the words; run `modelkeep verify`")
        found.expandos[name] = values
    return found


serializer = GensimSerializer()
