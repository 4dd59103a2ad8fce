"""The ways in: what is done with each kind of input, in every public entry that it can come in by."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs

import modelkeep as mk
from hostile.forging import MODEL, PREFIX, objects_of, sound, store_of, weights
from hostile.inputs import Hostile
from hostile.packed import saved
from hostile.stored import Objects
from modelkeep.stores import open_store
from modelkeep.stores.local import LocalStore
from modelkeep.stores.memory import MemoryStore
from modelkeep.version import Parent

Door = tuple[str, Callable[..., object]]


@attrs.define
class Scene:
    """Where inputs are let in.

    Args:
        inside: everything may be done below it.
        canary: a folder beside it that nobody has any business with.
    """

    inside: Path
    canary: Path
    made: int = 0

    def fresh(self) -> Path:
        """A path below which there is nothing yet."""
        self.made += 1
        return self.inside / f"at-{self.made}"


def doors(hostile: Hostile, scene: Scene) -> Iterator[Door]:  # noqa: C901, PLR0912  a table of kinds reads best whole
    """Every door that this input can come in by."""
    match hostile.kind:
        case "text" if isinstance(hostile.value, str):
            yield from of_argument(hostile.value, scene)
        case "name" | "value":
            yield from of_argument(hostile.value, scene)
        case "token":
            yield from of_token(hostile.value)
        case "policy":
            yield from of_policy(hostile.value)
        case "command":
            yield from of_command(hostile.value, scene)
        case "archive":
            yield from of_archive(hostile.value, scene)
        case "tree":
            serializer, files = hostile.value
            yield from of_files(saved(files, serializer), scene)
        case "folder":
            yield from of_folder(hostile.value, scene)
        case "cache":
            yield from of_cache(hostile.value, scene)
        case "url":
            yield from of_url(hostile.value)
        case "file name":
            objects = hostile.value()
            yield from of_files(objects, scene)
            yield from of_links(objects, scene)
        case "manifest" | "piece" | "record" | "pack":
            objects = hostile.value()
            yield from of_files(objects, scene)
            yield from of_registry(objects, scene, few=True)
        case _:
            yield from of_registry(hostile.value(), scene)


# -- arguments -----------------------------------------------------------------------------------------------------


def of_argument(value: Any, scene: Scene) -> Iterator[Door]:  # noqa: PLR0915  a list of doors reads best whole
    """A text, or whatever else, where an argument belongs."""
    objects = sound()

    def there() -> mk.Registry:
        return mk.Registry(store_of(objects))

    registry, other = there(), there()
    version, model = registry.get(f"{MODEL}:3"), registry.model(MODEL)
    small = weights(9)
    yield "save(name)", lambda: registry.save(small, value)
    yield "save(label)", lambda: registry.save(small, MODEL, label=value)
    yield "save(bump)", lambda: registry.save(small, MODEL, bump=value)
    yield "save(notes)", lambda: registry.save(small, MODEL, notes=value)
    yield "save(serializer)", lambda: registry.save(small, MODEL, serializer=value)
    yield "save(parent)", lambda: registry.save(small, MODEL, parent=value)
    yield "save(params)", lambda: registry.save(small, MODEL, params=value)
    yield "save(params=value)", lambda: registry.save(small, MODEL, params={"a": value})
    yield "save(params=nested)", lambda: registry.save(small, MODEL, params={"a": [{"b": (value,)}]})
    yield "save(metrics)", lambda: registry.save(small, MODEL, metrics=value)
    yield "save(metrics=value)", lambda: registry.save(small, MODEL, metrics={"a": value})
    yield "save(tags)", lambda: registry.save(small, MODEL, tags=value)
    yield "save(tags=value)", lambda: registry.save(small, MODEL, tags={"a": value})
    yield "save(wait)", lambda: registry.save(small, MODEL, wait=value)
    if isinstance(value, str):
        yield "save(params=key)", lambda: registry.save(small, MODEL, params={value: object()})
        yield "save(params=kept)", lambda: registry.save(small, MODEL, params={value: 1}).to_dict()
        yield "save(metrics=key)", lambda: registry.save(small, MODEL, metrics={value: "x"})
        yield "save(tags=key)", lambda: registry.save(small, MODEL, tags={value: "x" * 2000})
        yield "save(tree)", lambda: registry.save({value: small["w"], "x": [1, {value: small["b"]}]}, MODEL).load()
        yield "tag(key)", lambda: version.tag(**{value: "x"})
        yield "measure(key)", lambda: version.measure(**{value: 1.0})
        yield "Parent(name)", lambda: registry.save(small, MODEL, parent=Parent(value, 1, "0" * 64))
        yield "Parent(identity)", lambda: registry.save(small, MODEL, parent=Parent(MODEL, 1, value))
        yield from of_reference(value, registry)
    for way in (registry.load, registry.get):
        yield f"{way.__name__}(ref)", lambda way=way: way(value)
    yield "Parent(number)", lambda: registry.save(small, MODEL, parent=Parent(MODEL, value, "0" * 64))
    yield "ModelRef(number)", lambda: registry.get(mk.ModelRef(MODEL, value))
    yield "ModelRef(name)", lambda: registry.get(mk.ModelRef(value, 1))
    yield "model(name)", lambda: registry.model(value).versions()
    yield "model.version", lambda: model.version(value)
    yield "model.at(alias)", lambda: model.at(value, "2026-03-01")
    yield "model.at(when)", lambda: model.at("production", value)
    yield "rollback(alias)", lambda: model.rollback(value)
    yield "rollback(expect)", lambda: model.rollback("production", expect=value)
    yield "unset", lambda: model.unset(value)
    yield "set_title", lambda: model.set_title(value)
    yield "model.describe", lambda: model.describe(value)
    yield "promote(alias)", lambda: version.promote(value)
    yield "promote(expect)", lambda: version.promote("staging", expect=value)
    yield "promote(reason)", lambda: version.promote("staging", reason=value)
    yield "hold(reason)", lambda: version.hold(reason=value).unhold(reason=value)
    yield "set_label(label)", lambda: registry.get(f"{MODEL}:1").set_label(value)
    yield "set_label(bump)", lambda: registry.get(f"{MODEL}:1").set_label(bump=value)
    yield "tag(value)", lambda: version.tag(a=value)
    yield "measure(value)", lambda: version.measure(a=value)
    yield "describe", lambda: version.describe(value)
    yield "open(path)", lambda: version.open(value)
    yield "tensors[name]", lambda: version.tensors[value]
    yield "verify=", lambda: version.load(verify=value)
    yield "load(trust)", lambda: version.load(trust=value)
    yield "settle", lambda: registry.settle(value)
    yield "seal", lambda: registry.storage.seal(value)
    yield "compact(name)", lambda: registry.storage.compact(value)
    yield "compact(newest)", lambda: registry.storage.compact(MODEL, newest=value)
    yield "compact(rollbacks)", lambda: registry.storage.compact(MODEL, rollbacks=value)
    yield "collect(name)", lambda: registry.storage.collect(value, dry_run=True)
    yield "collect(grace)", lambda: registry.storage.collect(MODEL, dry_run=True, grace=value)
    yield "policy.set", lambda: registry.policy.set(value)
    yield "policy.retention", lambda: registry.policy.retention(value)
    yield "push(name)", lambda: registry.push(value, to=other)
    yield "pull(name)", lambda: registry.pull(value, source=other)
    yield "restore(reason)", lambda: registry.get(f"{MODEL}:1").delete(reason=value)
    yield "check(alias)", lambda: version.check(value)
    yield "review.request", lambda: version.review.request(value)
    yield "review.request(name)", lambda: version.review.request([value])
    yield "review.approve(reason)", lambda: version.review.approve(reason=value)
    yield "review.comment", lambda: version.review.comment(value)
    yield "history", lambda: [str(event) for event in model.history()]
    yield "versions", lambda: [v.to_dict() for v in model.versions(deleted=True)]
    yield "erase(reason)", lambda: there().get(f"{MODEL}:1").erase(value)
    yield from of_place(value, version, registry, scene)


def of_reference(value: str, registry: mk.Registry) -> Iterator[Door]:
    """A text as each part of a reference."""
    for shape in (
        "churn:{}",
        "churn:^{}",
        "churn@{}",
        "churn#{}",
        "churn~{}:1",
        "churn:1/{}",
        "{}:1",
        "{}@production",
        "{}#abcd",
    ):
        yield f"get({shape})", lambda shape=shape: registry.get(shape.replace("{}", value))


def of_place(value: Any, version: mk.ModelVersion, registry: mk.Registry, scene: Scene) -> Iterator[Door]:
    """A text as a folder or file on this disk, always below a folder of the scene."""
    before = scene.fresh()
    before.mkdir()
    (before / "m.bin").write_bytes(b"x")

    def there(act: Callable[[Any], object]) -> Callable[[], object]:
        def acted() -> object:
            was = Path.cwd()
            os.chdir(before)
            try:
                return act(value)
            finally:
                os.chdir(was)

        return acted

    if isinstance(value, (str, Path)) and _leads_out(str(value), before):
        return  # the user may name any place: that is no escape
    yield "export(folder)", there(version.export)
    yield "load(into)", there(lambda v: version.load(into=v))
    yield "adopt(pattern)", there(lambda v: registry.adopt(v, "adopted"))
    if isinstance(value, str):
        yield "save(Path)", there(lambda v: registry.save(Path(v), "a file"))
        yield "Registry(folder)", there(lambda v: mk.Registry(v, cache=False, durable=False).save(weights(), "m"))
        yield "Registry(cache)", there(lambda v: mk.Registry(Far(sound()), cache=v).load(MODEL))
    else:
        yield "Registry(url)", there(lambda v: mk.Registry(v, cache=False).models())
        yield "Registry(storage_options)", lambda: mk.Registry("memory://x", storage_options=value).models()


def _leads_out(text: str, folder: Path) -> bool:
    if "\0" in text or "://" in text:
        return "://" in text
    try:
        whole = os.path.abspath(os.path.join(folder, os.path.expanduser(text)))  # noqa: PTH100, PTH111, PTH118  not past links
    except ValueError:
        return False
    return not whole.startswith(f"{folder}/") and whole != str(folder)


def of_token(value: str) -> Iterator[Door]:
    """A token."""
    registry = mk.Registry(store_of(sound()))
    yield "settle", lambda: registry.settle(value)
    yield "settle in an empty place", lambda: mk.Registry(MemoryStore()).settle(value)


def of_policy(value: str) -> Iterator[Door]:
    """The text of a policy."""
    registry = mk.Registry(store_of(sound()))
    yield "policy.set", lambda: registry.policy.set(value)
    yield "policy.retention", lambda: registry.policy.retention(MODEL)
    yield "collect", lambda: registry.storage.collect(dry_run=True, grace=timedelta(days=1))


def of_url(value: str) -> Iterator[Door]:
    """A URL; opening one reads and writes nothing."""
    yield "Registry(url)", lambda: repr(mk.Registry(value, cache=False))
    yield "open_store", lambda: open_store(value)
    yield (
        "push(to)",
        lambda: mk.Registry(store_of(sound())).push(MODEL, to=value) if value.startswith("memory:") else None,
    )


# -- what lies in a registry ---------------------------------------------------------------------------------------


class Far(MemoryStore):
    """A store that lies elsewhere, so that a cache is kept of it."""

    remote = True

    def __init__(self, objects: Objects) -> None:
        super().__init__("memory://far")
        self._objects = store_of(objects)._objects


def of_registry(objects: Objects, scene: Scene, *, few: bool = False) -> Iterator[Door]:
    """A registry in which those objects lie: every way to read it, and to write to it."""

    def there() -> mk.Registry:
        return mk.Registry(store_of(objects))

    yield "load", lambda: there().load(MODEL)
    yield "load by alias", lambda: there().load(f"{MODEL}@production")
    yield "versions", lambda: [row.to_dict() for row in there().model(MODEL).versions(deleted=True)]
    yield "verify", lambda: [str(one) for one in there().storage.verify().findings]
    yield "push", lambda: there().push(MODEL, to=mk.Registry(MemoryStore()))
    yield "compact", there().storage.compact
    yield "save", lambda: there().save(weights(9), MODEL, reuse=True)
    if few:
        return
    yield "load by digest", lambda: there().load(f"{MODEL}#0000")
    yield "load by range", lambda: there().load(f"{MODEL}:^1")
    yield "get", lambda: _all_facts(there().get(MODEL))
    yield "facts", lambda: _all_facts(there().get(f"{MODEL}:1"))
    yield "models", lambda: [one.title for one in there().models()]
    yield "history", lambda: [f"{event} {event.text}" for event in there().model(MODEL).history()]
    yield "check", lambda: str(there().get(f"{MODEL}@production").check("production"))
    yield "opinions", lambda: str(there().get(f"{MODEL}@production").review.opinions())
    yield "at", lambda: there().model(MODEL).at("production", "2030-01-01")
    yield "usage", lambda: there().storage.usage().to_dict()
    yield "collect", lambda: there().storage.collect(grace=timedelta(0)).to_dict()
    yield "policy", lambda: (there().policy.text, there().policy.retention(MODEL))
    yield "pull", lambda: mk.Registry(MemoryStore()).pull(MODEL, source=there())
    yield "rollback", lambda: there().model(MODEL).rollback("production")
    yield "promote", lambda: there().get(f"{MODEL}:1").promote("staging", reason="r")
    yield "settle", lambda: there().settle(f"{PREFIX}versions/9/{'0' * 32}")
    yield "doctor", lambda: there().doctor()
    yield "erase", lambda: there().get(f"{MODEL}:1").erase("request")
    yield "through a cache", lambda: mk.Registry(Far(objects), cache=scene.inside / "cache").load(MODEL)
    yield "log", lambda: _shown(["log", MODEL], objects, scene)
    yield "verify as a command", lambda: _shown(["verify"], objects, scene)


def _all_facts(version: mk.ModelVersion) -> object:
    model = version._line
    return (
        version.to_dict(),
        version.tags,
        version.measured,
        version.description,
        version.aliases,
        version.held,
        version.created,
        version.notes,
        version.parents,
        version.files,
        str(version),
        repr(version.record),
        model,
    )


def of_files(objects: Objects, scene: Scene) -> Iterator[Door]:
    """A registry whose newest version has files that nobody should trust."""
    local = scene.fresh()
    for key, raw in objects.items():
        path = local / key
        if len(os.fsencode(str(path))) < 4000 and "\0" not in key:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(raw)
    for name, store in (("memory", store_of(objects)), ("disk", LocalStore(local, durable=False))):
        registry = mk.Registry(store)
        yield f"{name} load", lambda registry=registry: registry.load(MODEL)
        yield f"{name} load lazily", lambda registry=registry: registry.load(MODEL, verify="lazy")
        yield f"{name} into", lambda registry=registry: registry.load(MODEL, into=scene.fresh())
        yield f"{name} export", lambda registry=registry: registry.get(MODEL).export(scene.fresh())
        yield f"{name} tensors", lambda registry=registry: [t.shape for t in registry.get(MODEL).tensors.values()]
        yield f"{name} facts", lambda registry=registry: _all_facts(registry.get(MODEL))
        yield f"{name} open", lambda registry=registry: _read(registry.get(MODEL))
        yield f"{name} verify", lambda registry=registry: registry.get(MODEL).verify()
        yield f"{name} mapped", lambda registry=registry: registry.get(MODEL).mapped
    yield "module", lambda: mk.Registry(store_of(objects)).load(MODEL, into=Module())


class Module:
    """What takes a state, as modules of torch do."""

    def load_state_dict(self, state: object) -> None:
        """Take it."""

    def state_dict(self) -> dict[str, object]:
        """Nothing."""
        return {}


def _read(version: mk.ModelVersion) -> None:
    for file in version.files:
        with version.open(file.path) as stream:
            while stream.read(1 << 20):
                pass


def of_links(objects: Objects, scene: Scene) -> Iterator[Door]:
    """The same into folders in which links stand already."""
    for name, target in (
        ("link", "."),
        ("link", "bait"),
        ("deep/link", "."),
        ("W.bin", "bait"),
        ("d", "."),
        ("x", "."),
    ):
        folder = scene.fresh()
        (folder / name).parent.mkdir(parents=True)
        (folder / name).symlink_to(scene.canary / target)
        yield f"into beside {name} -> {target}", lambda f=folder: mk.Registry(store_of(objects)).load(MODEL, into=f)


# -- files to be saved ---------------------------------------------------------------------------------------------


def of_archive(raw: bytes, scene: Scene) -> Iterator[Door]:
    """A file: saved, adopted, looked into, loaded."""
    file = scene.fresh()
    file.write_bytes(raw)
    store = MemoryStore()
    registry = mk.Registry(store)
    yield "save", lambda: registry.save(file, MODEL)
    yield "adopt", lambda: registry.adopt(str(file), MODEL)
    yield "facts", lambda: _all_facts(registry.get(MODEL))
    yield "compact", lambda: registry.storage.compact(MODEL)
    yield "verify", registry.storage.verify
    yield from of_files(objects_of(store), scene)


def of_folder(make: Callable[[Path, Path], object], scene: Scene) -> Iterator[Door]:
    """A folder: saved and adopted."""
    folder = scene.fresh()
    folder.mkdir()
    make(folder, scene.canary)
    registry = mk.Registry(MemoryStore())
    yield "save", lambda: registry.save(folder, MODEL)
    yield "save later", lambda: registry.save(folder, MODEL, wait=False).result()
    if not any(
        path.is_symlink() for path in folder.iterdir()
    ):  # a link that the pattern names is what the user asked for
        yield "adopt", lambda: registry.adopt(folder / "*", "adopted")
    yield "adopt the folder", lambda: registry.adopt(folder, "whole")
    yield "load", lambda: registry.load(MODEL, into=scene.fresh())
    yield "clear", lambda: shutil.rmtree(folder, ignore_errors=True)


# -- the cache and the command -------------------------------------------------------------------------------------


def of_cache(spoil: Callable[[Path, Path], object], scene: Scene) -> Iterator[Door]:
    """A cache folder that others altered."""
    place = scene.fresh()
    mk.Registry(Far(sound()), cache=place).load(MODEL)
    spoil(place, scene.canary)

    def there() -> mk.Registry:
        return mk.Registry(Far(sound()), cache=place)

    yield "load", lambda: there().load(MODEL)
    yield "versions", lambda: list(there().model(MODEL).versions())
    yield "save", lambda: there().save(weights(8), MODEL)
    yield "list", lambda: _shown(["cache", "list"], sound(), scene, cache=place)
    yield "list as JSON", lambda: _shown(["cache", "list", "--json"], sound(), scene, cache=place)
    yield "clear", lambda: _shown(["cache", "clear"], sound(), scene, cache=place)


def of_command(arguments: list[str], scene: Scene) -> Iterator[Door]:
    """Arguments of the command."""
    yield "modelkeep", lambda: _shown(arguments, sound(), scene)


class RawCharacterError(Exception):
    """A command showed a character that a terminal obeys."""


def _shown(arguments: list[str], objects: Objects, scene: Scene, *, cache: Path | None = None) -> str:
    """What a command shows; nothing of it may move a terminal's cursor or turn its text around."""
    from modelkeep.cli import cli
    from modelkeep.exits import Exit

    url = f"memory://{scene.fresh().name}"
    found = open_store(url)
    assert isinstance(found, MemoryStore)
    found._objects.update(store_of(objects)._objects)
    shown = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace", write_through=True)
    was = {name: os.environ.get(name) for name in ("MODELKEEP_REGISTRY", "MODELKEEP_CACHE")}
    os.environ.update(MODELKEEP_REGISTRY=url, MODELKEEP_CACHE=str(cache or scene.inside / "cache"))
    try:
        with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown):
            cli.main(args=arguments, prog_name="modelkeep")
    except SystemExit as end:
        if end.code == Exit.UNEXPECTED:
            raise end.__context__ or end from None
    finally:
        for name, text in was.items():
            os.environ.pop(name) if text is None else os.environ.update({name: text})
        found._objects.clear()
    text = shown.buffer.getvalue().decode()
    odd = sorted({ascii(char) for char in text if not char.isprintable() and char != "\n"})
    if odd:
        raise RawCharacterError(f"{odd[:5]} in {text[:200]!a}")
    return str(text)
