"""The ways by which a file comes to be loaded: adopted, stored under the name of a serializer, or read straight."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np

import modelkeep as mk
from hostile.forging import MODEL, forge, objects_of, store_of
from modelkeep._publish import Draft, publish
from modelkeep.manifest import parse_record
from modelkeep.sink import SaveSink
from modelkeep.stores.memory import MemoryStore
from security.attack import Attack

READER = "modelkeep.pickles"  # the restricted unpickler, where there is one
Way = tuple[str, Callable[[], object]]


def reader() -> Callable[[bytes], object] | None:
    """What reads a pickle under restrictions, if this release has it."""
    if importlib.util.find_spec(READER) is None:
        return None
    loads: Callable[[bytes], object] = importlib.import_module(READER).loads
    return loads


def stored(files: Mapping[str, bytes], serializer: Any, number: Any = 1) -> MemoryStore:
    """A registry whose newest version has these files, said to be of this serializer in this layout."""
    store = MemoryStore()
    registry = mk.Registry(store)
    registry.save({"w": np.arange(3)}, MODEL)
    record = parse_record(forge().manifest(3).record)
    record = attrs.evolve(record, serializer=serializer, serializer_format=number)
    with SaveSink() as sink:
        for path, raw in files.items():
            sink.put(path, raw)
        publish(registry._existing(MODEL), Draft(sources=sink.sources(), record=record))
    return store_of(objects_of(store))


def _adopted(path: Path, *, trust: bool) -> object:
    registry = mk.Registry(MemoryStore())
    registry.adopt(path, MODEL)
    return registry.load(MODEL, trust=trust)


def _loaded(store: MemoryStore, *, trust: bool) -> object:
    return mk.Registry(store).load(MODEL, trust=trust)


def ways_in(attack: Attack, folder: Path, *, trust: bool = False) -> Iterator[Way]:
    """Every way in for this attack; what is made before, is made while the next way is asked for.

    Args:
        attack: what is let in.
        folder: where its file may lie.
        trust: whether the caller grants it, which only shows that the attack is one.
    """
    if attack.files is not None:
        held = stored(attack.files(), attack.serializer, attack.format)
        yield "stored", lambda: _loaded(held, trust=trust)
        return
    raw = attack.bytes()
    path = folder / f"model{attack.suffix}"
    path.write_bytes(raw)
    yield "adopted", lambda: _adopted(path, trust=trust)
    if attack.kind in ("inert", "file") or trust:  # no pickles; and one way is enough to see a payload run
        return
    pickled = stored({"model.pkl": raw}, "sklearn")
    yield "stored", lambda: _loaded(pickled, trust=trust)
    loads = reader()
    if loads is not None:
        yield "straight", lambda: loads(raw)
