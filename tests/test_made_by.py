"""What made a version is asked of the version; a record that a stranger wrote is refused, and named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import modelkeep as mk
from modelkeep.errors import IntegrityError, InvalidValueError
from modelkeep.facts import Facts, Options, serializer_for
from modelkeep.stores.memory import MemoryStore

WEIGHTS = {"w": np.ones(3)}


def made_by(made: dict[str, Any]) -> mk.ModelVersion:
    """A version with a record as a stranger may write it."""
    registry = mk.Registry(MemoryStore())
    serializer = serializer_for(WEIGHTS, None, registry._home.granted)
    return registry._save(WEIGHTS, "churn", Facts(made=made), Options(), serializer)


def test_a_plain_save_tells_nothing_of_code_environment_and_session() -> None:
    version = mk.Registry(MemoryStore()).save(WEIGHTS, "churn")
    assert (version.code, version.environment, version.session, dict(version.data)) == (None, None, None, {})


def test_a_save_with_data_tells_of_it_by_role_and_keeps_no_row() -> None:
    registry = mk.Registry(MemoryStore())
    rows = np.arange(20.0).reshape(10, 2)
    sales = registry.save_dataset(rows, "sales")
    version = registry.save(WEIGHTS, "churn", data={"train": rows, "test": "sales:1", "again": sales})
    assert {role: facts.rows for role, facts in version.data.items()} == {"train": 10, "test": 10, "again": 10}
    assert version.data["train"].fingerprint == version.data["test"].fingerprint == sales.fingerprint
    assert [one.get("dataset") for one in version.record.made["data"]] == [None, "sales:1", "sales:1"]
    assert version.record.made["data"][1]["overlap"][0]["share"] == 1.0
    assert registry.models_using("sales:1") == [version]


def test_what_is_no_data_is_refused_and_nothing_is_saved() -> None:
    registry = mk.Registry(MemoryStore())
    with pytest.raises(InvalidValueError, match="is no data"):
        registry.save(WEIGHTS, "churn", data={"train": object()})
    assert registry.models() == []


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("code", {"code": {"commit": "no commit"}}),
        ("environment", {"environment": {"python": 3}}),
        ("session", {"session": {"began": "yesterday"}}),
        ("session", {"session": {}}),
        ("data", {"data": [{"kind": "frame", "fingerprint": 7}]}),
    ],
)
def test_a_record_of_another_form_is_an_error_that_names_version_and_word(name: str, made: dict[str, Any]) -> None:
    version = made_by(made)
    with pytest.raises(IntegrityError, match=rf"what churn:1 says of its {name} is of another form"):
        getattr(version, name)
    assert version.load()["w"].tolist() == [1, 1, 1]
