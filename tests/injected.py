"""A version with one text in every field that a save, a promote or a note takes, and in a forged record."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

import modelkeep as mk
from modelkeep.errors import InvalidNameError, InvalidValueError
from modelkeep.ref import check_model_name
from modelkeep.stores.memory import MemoryStore
from modelkeep.system import System
from modelkeep.version import check_path

STEPS = np.arange(3)
DIGEST = "0" * 64


def injected(text: str, folder: Path) -> mk.ModelVersion:
    """The second version of a model, with *text* wherever there may be any; the first is its parent.

    Args:
        text: what is put everywhere.
        folder: an empty one, for the files of the model.
    """
    registry = mk.Registry(MemoryStore(), system=System(actor=lambda: text, host=lambda: text))
    name = legal_name(text)
    parent = registry.save({"w": np.zeros(2)}, name, params={text: 1}, metrics={"auc": 0.5})
    given: Any = {
        "params": {text: text, "nested": {text: [text, (text, float("nan"))]}, "rate": float("inf")},
        "metrics": {text: 0.5, "auc": 0.9, "loss": float("nan")},
        "tags": {(text[:50] or "x"): text[:900], "license": text[:900], "task": text[:900]},
        "notes": text,
        "parent": parent,
        "example": {text: np.array([text, "x"]), "age": np.array([31, 47])},
    }
    version = registry._save_made(files(text, folder), name, given, made(text), curves(text))
    version.describe(text)
    version.measure(**{text: 0.25})
    version.tag(since=text[:900])
    version.promote("production", reason=text)
    parent.promote("production", reason=text)
    registry.model(name).rollback("production", reason=text)
    registry.model(name).describe(text)
    return version


def legal_name(text: str) -> str:
    """*text* as the name of a model, without what no name may have; ``churn`` where little is left."""
    name = "".join(char for char in text if char not in ':@#/~+^\\*"' and char.isprintable()).strip(" .")[:60]
    with suppress(InvalidNameError):
        return check_model_name(name)
    return "churn"


def files(text: str, folder: Path) -> Path:
    """A folder with one file, named as near to *text* as a file can be."""
    name = text.replace("/", "\u2215").strip()[:50]
    try:
        (folder / check_path(name)).write_text(text)
    except (InvalidValueError, OSError):
        (folder / "weights.txt").write_text(text)
    return folder


def curves(text: str) -> dict[str, Any]:
    """The curves of a run, as it hands them to a save."""
    of_one = {"step": STEPS, "value": np.array([0.5, np.nan, 0.25]), "time": STEPS / 2}
    return {f"{kind}/{name}": column for name in (text, f"val {text}", "loss") for kind, column in of_one.items()}


def made(text: str) -> dict[str, Any]:
    """What made a version, as a record says it; whoever may write to the storage may have written it."""
    word = text[:400]
    profile = {"nulls": 1, "of": "length", "minimum": 1, "maximum": 3, "mean": 2, "distinct": 1, "top": [[word, 7]]}
    column = {"type": "string", "dtype": "category", "shape": [None], "categories": [word]}
    function = {"name": word, "source": text, "source_digest": DIGEST, "ast_digest": DIGEST, "calls": {word: DIGEST}}
    return {
        "code": {
            "commit": "a" * 40, "branch": word, "remote": word, "dirty": True, "changed": [word], "diff": text,
            "function": function, "cells": [{"number": 1, "text": text}], "notes": [word],
            "files": [{"path": "train.py", "digest": DIGEST, "text": text}],
        },
        "environment": {
            "python": "3.11.7", "implementation": word, "abi": word, "system": word, "machine": word, "os": word,
            "libc": word, "cuda": word, "distributions": {"numpy": "2.1.0", "torch": "2.4.0+cpu"},
            "loaded": ["numpy"], "unknown": [word],
            "lock": {"name": "uv.lock", "digest": DIGEST, "text": text},
        },
        "session": {
            "began": "2026-03-01T12:00:00Z", "duration_s": 1.5, "function": word, "ci": {"provider": word},
            "hardware": {"cpu": word, "cpus": 2, "gpus": [{"name": word}], "driver": word}, "unknown": [word],
        },
        "data": [{
            "role": word, "kind": "frame", "rows": 7, "columns": 1, "size": 70, "dataset": word,
            "types": {word: word}, "source": {"url": word, "name": word}, "notes": [word],
            "schema": {"type": "object", "properties": {word: column}, "required": [word]}, "profile": {word: profile},
        }],
    }  # fmt: skip
