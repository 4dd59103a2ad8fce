"""What a call costs through a live handle, and what a look costs: a local disk, warm."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from _measure import Row, folder_argument, in_turn, scratch, table

import modelkeep as mk
from modelkeep.live import Live
from modelkeep.stores import open_store
from modelkeep.stores.wrappers import Recording


def model(inputs: Any) -> Any:
    """The least that can be called a model, so that all that is seen is the handle."""
    return inputs


def used(live: Live[Any], inputs: object) -> object:
    """A call in the block of `use`."""
    with live.use() as bare:
        return bare(inputs)


def moved(live: Live[Any], versions: list[mk.ModelVersion]) -> None:
    """A look that finds another version, and loads and tries it."""
    versions.reverse()
    versions[0].promote("production")
    if not live.check().changed:
        raise RuntimeError("it did not follow")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    folder_argument(parser)
    parser.add_argument("--times", type=int, default=3000)
    options = parser.parse_args()
    inputs = np.zeros(4)
    with scratch(options.folder) as folder:
        place = os.fspath(folder / "registry")
        writer = mk.Registry(place, durable=False)
        versions = [writer.save(model, "churn", serializer="cloudpickle", example=inputs) for _ in range(2)]
        plain = writer.save(model, "plain", serializer="cloudpickle").promote("production")
        versions[0].promote("production")

        store = Recording(open_store(place, durable=False))
        live = mk.Registry(store, trust="cloudpickle").live("churn@production", start=False)
        bare = mk.Registry(place, trust="cloudpickle").live("plain@production", every=3600)
        plain.predict(inputs, trust="cloudpickle")
        works: dict[str, Callable[[], object]] = {
            "the bare object": lambda: model(inputs),
            "live.predict, thread on": lambda: bare.predict(inputs),
            "version.predict": lambda: plain.predict(inputs),
            "with live.use()": lambda: used(bare, inputs),
            "live.predict, inputs checked by a signature": lambda: live.predict(inputs),
            "live.check, nothing new": live.check,
        }
        measured = dict(zip(works, in_turn(list(works.values()), options.times), strict=True))
        (measured["promote and live.check, another version"],) = in_turn(
            [lambda: moved(live, versions)], options.times // 10
        )
        base = measured["the bare object"]
        table("wall, warm", "bare", [Row(name, seconds, base) for name, seconds in measured.items()])

        store.forget()
        live.check()
        print(f"\nrequests of a look that finds nothing new: {dict(store.counts())}")
        bare.close()


if __name__ == "__main__":
    main()
