"""Overlap: exact where rows are at hand, within its bounds from sketches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from modelkeep.capture.frames import describe, overlap_of
from modelkeep.capture.frames.sketching import overlap
from modelkeep.dataset import SKETCH


def frame(rows: Any) -> Any:
    return pd.DataFrame({"id": rows, "word": [f"row {row}" for row in rows]})


def test_frames_at_hand_are_compared_row_by_row() -> None:
    found = overlap_of(frame(range(100)), pl.from_pandas(frame(range(90, 130))))
    assert found is not None
    assert (found.share, found.exact) == (0.25, True)
    assert str(found) == "25.0 %"


def test_an_index_of_row_numbers_hides_no_overlap() -> None:
    train, test = frame(range(50)), frame(range(40, 60))
    test.index = pd.Index(np.random.default_rng(0).permutation(1000)[:20])
    found = overlap_of(train, test)
    assert found is not None
    assert found.share == 0.5
    told = overlap(describe(train).sketch, describe(test).sketch)
    assert told == found


def test_dtypes_and_the_order_of_columns_hide_no_overlap() -> None:
    train = pd.DataFrame({"a": [1, 2, 3], "b": [0.5, 1.5, None]})
    test = pd.DataFrame({"b": [0.5, None], "a": [1.0, 3.0]})
    assert overlap(describe(train).sketch, describe(test).sketch) == overlap_of(train, test)
    found = overlap_of(train, test)
    assert found is not None
    assert found.share == 1.0


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_sketches_hold_their_bounds_in_most_draws(share: float) -> None:
    rows, held = 20_000, 0
    for turn in range(40):
        start = turn * 1_000_003
        train = np.arange(start, start + rows)
        test = np.arange(start + int(rows * (1 - share)), start + int(rows * (1 - share)) + rows)
        found = overlap(describe(pd.DataFrame({"x": train})).sketch, describe(pd.DataFrame({"x": test})).sketch)
        assert found is not None
        assert not found.exact
        assert found.high - found.low < 0.21
        held += found.low <= share <= found.high
    assert held >= 34  # 38 are to be expected of bounds for 19 of 20


def test_a_small_part_of_a_large_set_is_noticed() -> None:
    train = pd.DataFrame({"x": np.arange(200_000)})
    found = overlap(
        describe(train).sketch, describe(train.sample(20_000, random_state=1).reset_index(drop=True)).sketch
    )
    assert found is not None
    assert found.share == 1.0
    assert found.low > 0.8


def test_arrays_and_sparse_matrices_have_sketches() -> None:
    sp = pytest.importorskip("scipy.sparse")
    values = np.random.default_rng(0).integers(0, 3, (4000, 12)) * 1.0
    half = values[2000:]
    for made in (np.asarray, sp.csr_array):
        found = overlap(describe(made(values)).sketch, describe(made(half)).sketch)
        assert found is not None
        assert found.share == 1.0
        less = overlap(describe(made(half)).sketch, describe(made(values)).sketch)
        assert less is not None
        assert less.low < 0.6


def test_repeated_rows_count_once_and_few_rows_are_exact() -> None:
    one, other = describe(frame([1, 1, 1, 2])), describe(frame([1, 5, 5]))
    assert one.sketch is not None
    assert len(one.sketch.hashes) == 2
    found = overlap(one.sketch, other.sketch)
    assert found is not None
    assert (found.share, found.exact) == (0.5, True)


def test_other_columns_cannot_be_compared() -> None:
    one, other = describe(pd.DataFrame({"x": [1]})), describe(pd.DataFrame({"y": [1]}))
    assert overlap(one.sketch, other.sketch) is None
    assert overlap_of(pd.DataFrame({"x": [1]}), pd.DataFrame({"y": [1]})) is None
    assert overlap_of(one, describe(np.zeros(0))) is None


def test_a_sketch_has_the_least_of_the_hashes_however_the_rows_are_cut() -> None:
    rows = np.random.default_rng(3).permutation(2_500_000)
    whole = describe(pd.DataFrame({"x": rows}), profile=False).sketch
    assert whole is not None
    assert len(whole.hashes) == SKETCH
    assert describe(pd.DataFrame({"x": np.sort(rows)}), profile=False).sketch == whole
