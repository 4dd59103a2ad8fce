"""What is raised while a stranger's file is read: which of it leaves as an error of ours, and what comes through."""

from __future__ import annotations

import pytest
from polars.exceptions import PanicException

from modelkeep.errors import IntegrityError, ModelkeepError, SerializerError, TrustError
from modelkeep.serializers.strangers import read_json, reading
from modelkeep.testing.serializers import MemoryFiles


def raised_within(error: BaseException) -> BaseException:
    with pytest.raises(BaseException) as caught, reading("model.ubj", "by xgboost"):  # noqa: PT011  any at all
        raise error
    return caught.value


def test_what_a_framework_raises_leaves_as_an_error_that_names_the_file_and_the_way_out() -> None:
    found = raised_within(ValueError("no magic " * 200))
    assert isinstance(found, SerializerError)
    assert str(found).startswith("model.ubj cannot be read by xgboost: ValueError: no magic")
    assert str(found).endswith("load(ref, into=folder) or version.export(folder)")
    assert len(str(found)) < 700


def test_a_panic_of_rust_leaves_as_an_error_too_though_it_is_no_exception() -> None:
    panic = PanicException("index out of bounds")
    assert not isinstance(panic, Exception)
    assert isinstance(raised_within(panic), SerializerError)


@pytest.mark.parametrize("error", [IntegrityError("damaged"), TrustError("no trust")], ids=["damage", "trust"])
def test_an_error_of_ours_stays_what_it_is(error: ModelkeepError) -> None:
    assert raised_within(error) is error


class StopError(BaseException):
    """What ends a task from outside, as `asyncio.CancelledError` does."""


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1), StopError()], ids=["ctrl-c", "exit", "stop"])
def test_what_is_to_end_the_work_comes_through(error: BaseException) -> None:
    assert raised_within(error) is error


@pytest.mark.parametrize("raw", [b"", b"{", b'{"a": "\xff"}', '{"a": 1}'.encode("utf-16"), b"[" * 100_000])
def test_what_is_no_json_in_utf_8_is_damage(raw: bytes) -> None:
    with pytest.raises(IntegrityError, match=r"facts\.json is damaged"):
        read_json(MemoryFiles({"facts.json": raw}), "facts.json")
