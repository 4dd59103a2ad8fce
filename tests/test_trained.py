"""The registries that other tests ask questions of: their story is as their tables tell it."""

from __future__ import annotations

import pytest

import modelkeep as mk

digits = pytest.importorskip("trained.digits", reason="needs scikit-learn and pandas")
nets = pytest.importorskip("trained.nets", reason="needs torch")


def test_ten_versions_of_digits_were_trained_by_the_functions_and_on_the_data_of_the_story(
    digits_registry: mk.Registry,
) -> None:
    versions = list(digits_registry.model(digits.NAME).versions())[::-1]
    assert [version.number for version in versions] == list(digits.STORY)
    for version, (_, data, function) in zip(versions, digits.STORY.values(), strict=True):
        assert version.code is not None
        assert version.code.function is not None
        assert version.code.function.name.endswith(function)
        assert version.data["train"].same_as(digits_registry.dataset(f"{digits.DATA}:{data}").facts)


def test_the_bad_rows_made_bad_models_and_the_sound_ones_good_models(digits_registry: mk.Registry) -> None:
    accuracy = {v.number: v.metrics["accuracy"] for v in digits_registry.model(digits.NAME).versions()}
    assert max(accuracy, key=lambda number: accuracy[number]) in digits.BEST
    assert max(accuracy[7], accuracy[8]) < min(accuracy[number] for number in (3, 4, 5, 6, 9, 10))
    assert accuracy[1] < accuracy[2] < accuracy[3]


def test_each_fine_tune_has_its_parent_and_the_tensors_of_the_story(nets_registry: mk.Registry) -> None:
    versions = list(nets_registry.model(nets.NAME).versions())[::-1]
    assert [[str(one) for one in version.parents] for version in versions] == [
        ["encoder:1"],
        *[[f"net:{n}"] for n in range(1, 5)],
    ]
    assert set(versions[0].tensors) == {*nets.HEAD, *nets.BODY}
    assert set(versions[4].tensors) == {*nets.HEAD, *nets.BODY, "middle.bias", "middle.weight"}
