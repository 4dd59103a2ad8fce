"""What a user runs: 40 projects of planted secrets, tracked with all that can be asked for, in one real process.

Everything that modelkeep says meanwhile (names of objects, errors, warnings) goes to one file, all logs to another.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import pickle
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

import modelkeep as mk
from modelkeep.code import Code
from modelkeep.dataset import DatasetFacts
from modelkeep.environment import Environment
from modelkeep.errors import SecretError
from modelkeep.runs import Run
from modelkeep.session import Session
from modelkeep.stores.retries import Retries
from modelkeep.track import last_run
from redaction.planted import Planted, tuning

ROWS = np.arange(40.0).reshape(20, 2)
CAPTURES = ("diff", "sources", "notebook", "lock")
said: list[str] = []


def heard() -> None:
    """All loggers at DEBUG into a file, all warnings into what is said."""
    file = logging.FileHandler("log.txt")
    # botocore logs the headers of each request at DEBUG, and with them key ids and session tokens; it is its own voice
    file.addFilter(lambda record: record.name.partition(".")[0] not in ("botocore", "aiobotocore"))
    logging.basicConfig(handlers=[file], level=logging.DEBUG, force=True)
    logging.captureWarnings(capture=False)
    warnings.simplefilter("always")
    warnings.showwarning = lambda message, *rest: said.append(f"{message!r} {message} {rest!r}")


def refused(planted: Planted, doors: Iterator[Callable[[dict[str, Any]], object]]) -> int:
    """How many of the doors refuse the secret as a parameter, with an error that names it."""
    count = 0
    for door in doors:
        try:
            door({str(planted.name): planted.value})
        except SecretError as error:
            said.append(f"{error} {error!r} {error.args} {vars(error)}")
            count += str(planted.name) in str(error)
    return count


def doors(registry: mk.Registry, tracked: Callable[..., Any]) -> Iterator[Callable[[dict[str, Any]], object]]:
    """Each way of giving a parameter to a run."""
    model = {"w": np.ones(2)}
    with registry.run("refused") as run:
        yield lambda given: tracked(ROWS, **given)
        yield lambda given: registry.run("refused", params={"deep": [given]})
        yield lambda given: registry.run("refused", params=given)
        yield run.log_params
        yield run.params.update
        yield lambda given: run.save(model, params=given)


def shown(registry: mk.Registry, run: Run) -> Iterator[object]:
    """Every object that a user can hold in the end, of one run."""
    yield from (registry, registry.storage, registry.models(), run, run.params, run.metrics, run.error, run.skipped)
    yield from (run._making.session, run._making.data)  # what a debugger shows
    for version in run.versions:
        line = registry.model(version.name)
        made = version.record.made
        yield from (
            version,
            str(version),
            version.record,
            version.history,
            version.tags,
            version.notes,
            version.parents,
        )
        yield from (line, line.versions(), line.history(), line.aliases, version.load())
        yield from (Session.from_json(made["session"]), Environment.from_json(made["environment"]))
        yield from (Code.from_json(made.get("code", {})), *map(DatasetFacts.from_json, made["data"]))


def trained(registry: mk.Registry, name: str, planted: list[Planted]) -> int:
    """Run a project; gives how many parameters were refused."""
    train = importlib.import_module(f"train_{name}").train
    tracked = registry.track("churn", capture=CAPTURES, stdout=True, metric="auc")(train)
    tracked(ROWS)
    runs = [last_run(tracked)]
    try:
        tracked(ROWS, fail=True)
    except RuntimeError:
        runs.append(last_run(tracked))
    count = sum(refused(one, doors(registry, tracked)) for one in planted)
    with registry.run("by-hand", params={"depth": 6}, data=datasets(planted)) as run:
        registry.load(run.save({"w": np.ones(2)}))
    said.extend(repr(one) for made in (*runs, run) for one in shown(registry, made))
    return count


def datasets(planted: list[Planted]) -> dict[str, Any]:
    """Addresses with credentials, and a frame with secrets in a column, each in many rows."""
    import pandas as pd

    addresses = {
        f"address.{at}": f"http://ada:{one.secret}@127.0.0.1:9/rows.csv?sig={one.secret}"
        for at, one in enumerate(planted)
        if one.secret.isalnum()
    }
    return {"notes": pd.DataFrame({"remark": [one.text for one in planted] * 40}), **addresses}


def with_options(planted: list[Planted]) -> None:
    """Registries that need secrets to be opened: in a file system that takes any option, and where none is."""
    options = {f"{one.name}_{at}": one.secret for at, one in enumerate(planted)}
    registry = mk.Registry("local://" + os.fspath(Path("open").absolute()), storage_options=options, single_writer=True)
    with registry.run("churn", data={"rows": ROWS}) as run:
        run.save({"w": np.ones(2)})
    said.extend(repr(one) for one in shown(registry, run))
    said.append(f"{registry._store!r} {registry.url} {registry.doctor()!r}")
    for work in (lambda: pickle.dumps(registry), *unreachable(planted)):
        try:
            work()
        except Exception as error:  # noqa: BLE001  whatever it says is looked through
            said.append(f"{error} {error!r} {error.args} {vars(error)}")
        else:
            said.append("it went through")


def unreachable(planted: list[Planted]) -> Iterator[Callable[[], object]]:
    """Registries on S3 that cannot be reached; what the client says of it holds what it was given."""
    once = Retries(attempts=1, connect=0.2, answer=0.2)
    for one in planted[::15]:  # each takes a quarter of a second
        login = f"ada:{quote(one.secret, safe='')}@127.0.0.1:9"
        for endpoint in (f"http://{login}", login):
            options = {"key": "k" * 8, "secret": "s" * 8, "endpoint_url": endpoint}
            yield mk.Registry("s3://bucket/x", storage_options=options, retries=once, cache=False).models


def main() -> None:
    """Run every project below the working folder, and write down what was said."""
    heard()
    registry = mk.Registry(os.environ["MODELKEEP_REGISTRY"], cache="cache", durable=False)
    planted = tuning()
    names = sorted(path.name for path in Path("projects").iterdir())
    for name in names:
        sys.path.insert(0, f"projects/{name}")
        at = int(name.rpartition("_")[2])
        count = trained(registry, name, planted[3 * at : 3 * at + 3])
        said.append(f"refused {count}")
    with_options(planted)
    said.append(f"{registry.storage.verify()!r} {registry.doctor()!r} {registry.storage.usage()!r}")
    Path("said.json").write_text(json.dumps(said), encoding="utf-8")


if __name__ == "__main__":
    main()
