"""Reading native files that a stranger may have written: what frameworks raise at them leaves as one of our errors."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from modelkeep.errors import IntegrityError, ModelkeepError, SerializerError
from modelkeep.serializers.port import Files
from modelkeep.values import MAX_VALUES, values_in

_PANIC = "PanicException"  # what Rust raises by pyo3 is no Exception


@contextmanager
def reading(path: str, how: str = "") -> Iterator[None]:
    """Whatever a framework raises in the block leaves as a `SerializerError`.

    Args:
        path: what is read.
        how: more about that, such as ``by xgboost``.

    Example:
        >>> with reading("matrix.npz"):
        ...     raise ValueError("no magic")
        Traceback (most recent call last):
        modelkeep.errors.SerializerError: matrix.npz cannot be read: ValueError: no magic; ...
    """
    try:
        yield
    except ModelkeepError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != _PANIC:
            raise
        raise SerializerError(
            f"{path} cannot be read{how and ' '}{how}: {type(error).__name__}: {str(error)[:500]}; run `modelkeep "
            "verify`, or take the files with load(ref, into=folder) or version.export(folder)",
            path=path,
        ) from error


@contextmanager
def on_disk(files: Files) -> Iterator[Path]:
    """All files in a temporary folder, for readers that want paths; it is gone after the block."""
    with tempfile.TemporaryDirectory(prefix="modelkeep-") as folder:
        files.extract(Path(folder))
        yield Path(folder)


def read_json(files: Files, path: str) -> Any:
    """What a JSON file of ours holds.

    Raises:
        IntegrityError: it is not there, too large, or no JSON.
    """
    if path not in files.names():
        raise IntegrityError(f"the version has no {path}; run `modelkeep verify`", path=path)
    raw = bytes(files.read(path))
    if values_in(raw) > MAX_VALUES:
        raise IntegrityError(f"{path} has more than {MAX_VALUES} values; run `modelkeep verify`", path=path)
    try:
        return json.loads(str(raw, "utf-8"))
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"{path} is damaged ({error!r}); run `modelkeep verify`", path=path) from error
