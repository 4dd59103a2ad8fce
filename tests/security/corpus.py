"""The whole corpus, in a fixed order."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import partial

from modelkeep.serializers.discovery import installed
from security.attack import Attack, Gadget
from security.bombs import bombs
from security.containers import containers
from security.gadgets import standard
from security.gadgets_odd import odd_names, states
from security.gadgets_science import scientific
from security.manifests import manifests
from security.spellings import Spelling, spellings

PLAIN = ("protocol 2", "protocol 3", "protocol 4", "protocol 5", "INST in protocol 0", "OBJ in protocol 4")
KEYS = (  # these are spelled in every way
    "os.system",
    "posix.system",
    "builtins.eval",
    "builtins.exec",
    "subprocess.Popen",
    "runpy.run_path",
    "importlib.import_module",
    "getattr of a module",
    "numpy.testing._private.utils.runstring",
    "joblib.load",
    "torch.storage._load_from_bytes",
    "pickle.loads",
    "functools.partial",
    "operator.attrgetter",
    "builtins.open",
    "BUILD of __setstate__ on an estimator",
    "FunctionTransformer(os.system)",
    "dotted sklearn.base os.system",
)


def gadgets() -> list[Gadget]:
    """All gadgets."""
    return [*standard(), *odd_names(), *states(), *scientific()]


def _spelled(*, product: bool) -> Iterator[Attack]:
    """Every gadget in the plain spellings, some in all; all in all if it shall be the whole product."""
    ways = spellings()
    for gadget in gadgets():
        for way in ways:
            if product or way.name in PLAIN or gadget.name in KEYS:
                yield _attack(gadget, way)


def _attack(gadget: Gadget, way: Spelling) -> Attack:
    told = ("'files:joblib'",) if "joblib." in gadget.name else ()  # what names joblib's reader is its file as a whole
    said = (*gadget.says, *way.says, *told) if gadget.says else ()
    return Attack("gadget", f"{gadget.name} by {way.name}", partial(way.write, gadget.part), says=said)


def plain_keys() -> frozenset[str]:
    """Attacks that are sound pickles of today, and so must be refused for what they name."""
    return frozenset(f"{key} by protocol {number}" for key in KEYS for number in (3, 4, 5))


def corpus(*, product: bool = False) -> list[Attack]:
    """Every attack, each once by kind and name."""
    found: dict[tuple[str, str], Attack] = {}
    for made in (_spelled(product=product), containers(), bombs(), manifests()):
        for attack in made:
            found.setdefault((attack.kind, attack.name), attack)
    return list(found.values())


def possible(attacks: list[Attack]) -> list[Attack]:
    """Those whose serializers are installed."""
    here = {one.name for one in installed()}
    return [attack for attack in attacks if here.issuperset(attack.needs)]


def share(attacks: list[Attack], every: int, seed: int = 7) -> list[Attack]:
    """About one in *every* attacks of each kind, the same ones each time; all of a kind that has few."""
    kinds: dict[str, list[Attack]] = {}
    for attack in attacks:
        kinds.setdefault(attack.kind, []).append(attack)
    chance = random.Random(seed)
    return [
        attack
        for listed in kinds.values()
        for attack in chance.sample(listed, min(len(listed), max(40, len(listed) // every)))
    ]
