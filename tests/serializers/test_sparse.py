from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from scipy.sparse.linalg import splu

from modelkeep.errors import IntegrityError, SerializerError
from modelkeep.integrations.sparse import serializer as sparse
from modelkeep.serializers.port import Serializer
from modelkeep.testing.serializers import MemoryFiles, SerializerContract, load_from_memory, save_in_memory

DENSE = np.array([[0, 1.5, 0, 0], [2, 0, 0, -0.5], [0, 0, 0, 0], [0, 3, 0, 0]])
FORMATS = ["csr", "csc", "bsr", "coo", "dia", "lil", "dok"]


class TestSparse(SerializerContract):
    @pytest.fixture
    def serializer(self) -> Serializer:
        return sparse

    @pytest.fixture
    def examples(self) -> Sequence[Any]:
        arrays = [scipy.sparse.coo_array(DENSE).asformat(name) for name in FORMATS]
        matrices = [scipy.sparse.coo_matrix(DENSE).asformat(name) for name in FORMATS]
        return [*arrays, *matrices, scipy.sparse.csr_array((0, 3), dtype="i8"), scipy.sparse.coo_array([1, 0, 2])]

    def same(self, a: Any, b: Any) -> bool:
        return (type(a), a.dtype, a.shape) == (type(b), b.dtype, b.shape) and np.array_equal(a.toarray(), b.toarray())


def test_the_framework_alone_opens_what_is_exported(tmp_path: Path) -> None:
    sparse.export(save_in_memory(sparse, scipy.sparse.csr_array(DENSE)), tmp_path)
    assert np.array_equal(scipy.sparse.load_npz(tmp_path / "matrix.npz").toarray(), DENSE)


def test_its_arrays_are_tensors_of_the_version() -> None:
    found = sparse.tensors(save_in_memory(sparse, scipy.sparse.csr_array(DENSE)))
    assert found["data"]().tolist() == [1.5, 2, -0.5, 3]


def test_what_is_no_sparse_matrix_of_numbers_is_left_alone() -> None:
    assert not sparse.accepts(splu(scipy.sparse.csc_array(np.eye(2))))
    matrix = scipy.sparse.csr_array(DENSE)
    matrix.data = matrix.data.astype(object)
    with pytest.raises(SerializerError, match="holds objects"):
        save_in_memory(sparse, matrix)


def npz(**arrays: Any) -> MemoryFiles:
    stream = io.BytesIO()
    content: Any = {name: np.asarray(array) for name, array in arrays.items()}
    np.savez(stream, **content)
    return MemoryFiles({"matrix.npz": stream.getvalue()})


CSR: dict[str, Any] = {"format": b"csr", "shape": [2, 2], "data": [1.0], "indices": [0], "indptr": [0, 1, 1]}
COO: dict[str, Any] = {"format": b"coo", "shape": [2, 2], "data": [1.0], "row": [0], "col": [0]}
DIA: dict[str, Any] = {"format": b"dia", "shape": [2, 2], "data": [[1.0, 1.0]], "offsets": [0]}
HOSTILE = {
    "column outside": CSR | {"indices": [10**9]},
    "negative column": CSR | {"indices": [-1]},
    "rows that run back": CSR | {"indptr": [0, 5, 1]},
    "rows beyond the end": CSR | {"indptr": [0, 1, 10**9]},
    "too few rows": CSR | {"shape": [10**9, 2]},
    "fewer values": CSR | {"data": np.zeros(0)},
    "blocks": CSR | {"format": b"bsr", "data": np.zeros((1, 2, 2)), "indices": [7], "indptr": [0, 1]},
    "coordinate outside": COO | {"row": [5]},
    "negative coordinate": COO | {"col": [-5]},
    "fewer coordinates": COO | {"col": np.zeros(0, int)},
    "diagonal outside": DIA | {"offsets": [10**6]},
    "text": CSR | {"data": ["a"]},
    "objects": CSR | {"data": np.array([print], dtype=object)},
    "format": CSR | {"format": b"os.system"},
    "no indices": {"format": b"csr", "shape": [2, 2]},
}


@pytest.mark.parametrize("arrays", HOSTILE.values(), ids=HOSTILE)
def test_a_matrix_that_points_outside_of_itself_is_refused(arrays: dict[str, Any]) -> None:
    with pytest.raises(SerializerError, match=r"matrix\.npz cannot be read"):
        load_from_memory(sparse, npz(**arrays))


def test_the_forged_ones_differ_from_good_ones_only_where_they_say() -> None:
    for good in (CSR, COO, DIA):
        assert load_from_memory(sparse, npz(**good)).toarray()[0, 0] == 1


def test_an_unknown_format_beside_it_is_refused() -> None:
    good = bytes(npz(**CSR).read("matrix.npz"))
    for odd in (b"dok", b"csr", b"toarray", b"\xff"):
        with pytest.raises((IntegrityError, SerializerError)):
            load_from_memory(sparse, MemoryFiles({"matrix.npz": good, "format.txt": odd}))


@pytest.mark.parametrize("raw", [b"", b"PK\x03\x04", b"garbage" * 100])
def test_garbage_is_refused(raw: bytes) -> None:
    with pytest.raises(SerializerError):
        load_from_memory(sparse, MemoryFiles({"matrix.npz": raw}))
