"""Arrays, tensors and sparse matrices: strides, byte order and formats do not show; values, shapes and dtypes do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from modelkeep.capture.frames import can_describe, describe

NUMBERS = (
    hnp.integer_dtypes(endianness="<") | hnp.floating_dtypes(endianness="<", sizes=(32, 64)) | hnp.boolean_dtypes()
)


def of(obj: Any) -> str:
    facts = describe(obj)
    assert facts.fingerprint is not None, facts.notes
    return facts.fingerprint


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(NUMBERS, hnp.array_shapes(max_dims=3, max_side=5)))
def test_strides_order_and_byte_order_do_not_show(array: Any) -> None:
    seen = of(array)
    assert of(np.asfortranarray(array)) == seen
    assert of(np.repeat(array, 2, axis=0)[::2]) == seen
    assert of(array.astype(array.dtype.newbyteorder(">"))) == seen
    assert of(array.reshape(1, *array.shape)) != seen


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.int16, hnp.array_shapes(max_dims=2, max_side=6), elements=st.integers(0, 2)), st.data())
def test_one_value_shows(array: Any, data: st.DataObject) -> None:
    place = tuple(data.draw(st.integers(0, size - 1)) for size in array.shape)
    changed = array.copy()
    changed[place] += 1
    assert of(changed) != of(array)
    assert of(array.astype("i4")) != of(array)


def test_zeros_are_one_zero_and_nans_one_nan() -> None:
    odd = np.array([0x7FF8000000000001, 0xFFF8000000000000], "u8").view("f8")
    assert of(np.array([-0.0, *odd])) == of(np.array([0.0, np.nan, np.nan]))
    assert of(np.array([0.0, np.nan])) != of(np.array([0.0, 0.0]))


def test_a_tensor_is_its_array() -> None:
    torch = pytest.importorskip("torch")
    values = np.random.default_rng(0).normal(size=(7, 3)).astype("f4")
    tensor = torch.from_numpy(values.copy())
    assert of(tensor) == of(values)
    assert of(tensor.t().contiguous().t()) == of(values)
    assert of(tensor.requires_grad_()) == of(values)
    half = tensor.detach().to(torch.bfloat16)
    assert of(half) != of(half.float())
    assert describe(half).schema.dtype == "bfloat16"  # type: ignore[union-attr]
    assert describe(tensor.detach().to_sparse()).notes[0].startswith("unknown: a tensor of the layout")


def test_arrays_of_text_moments_and_objects_have_a_fingerprint() -> None:
    assert of(np.array(["a", "bc"])) != of(np.array(["ab", "c"]))
    assert of(np.array(["2026-01-01", "NaT"], "M8[s]")) == of(np.array(["2026-01-01", "NaT"], "M8[ns]"))
    assert of(np.array([1, "x", None], object)) != of(np.array([1, "y", None], object))
    assert describe(np.array([object()])).notes[0].startswith("unknown: holds values of builtins.object")
    assert of(np.array(3.0)) != of(np.array([3.0]))


@settings(max_examples=40, deadline=None)
@given(
    hnp.arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.sampled_from([0.0, 1.5, -2.0]))
)
def test_the_format_of_a_sparse_matrix_does_not_show(dense: Any) -> None:
    made = sp.csr_array(dense)
    seen = of(made)
    assert {of(made.asformat(form)) for form in ("csc", "coo", "lil", "dok", "bsr")} == {seen}
    assert of(sp.csr_matrix(dense)) == seen
    rows, columns = np.nonzero(dense)
    halves = np.repeat(dense[rows, columns] / 2, 2)
    twice = sp.coo_array((halves, (np.repeat(rows, 2), np.repeat(columns, 2))), dense.shape)
    assert of(twice) == seen
    stored = sp.csr_array(np.ones_like(dense))
    stored.data[:] = dense.reshape(-1)  # zeros that are stored
    before = stored.nnz
    assert of(stored) == seen
    changed = dense.copy()
    changed[-1, -1] += 1
    assert of(sp.csr_array(changed)) != seen
    assert stored.nnz == before  # the caller's own stays as it was


def test_lists_and_dicts_of_arrays_are_their_parts_in_order() -> None:
    first, second = np.arange(3), np.arange(4.0)
    assert of([first, second]) != of([second, first])
    assert of((first, second)) == of([first, second])
    assert of({"x": first, "y": second}) != of({"x": first, "z": second})
    assert describe([first, np.array([object()])]).fingerprint is None


def test_what_is_data_is_told_without_looking_inside() -> None:
    assert all(can_describe(one) for one in (np.zeros(3), [np.zeros(3)], {"x": np.zeros(2)}, sp.eye(3)))
    assert not any(can_describe(one) for one in (None, 3, "adam", [], {}, [1, 2], {"depth": 6}, [np.zeros(3), 1], b"x"))
    with pytest.raises(ValueError, match="is no data"):
        describe({"depth": 6})
