"""From a reference to a version, and from a version to its files: the reader's side of the protocol."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import attrs

from modelkeep._line import Line
from modelkeep._origins import remember
from modelkeep._trust import Grant, Trust, admit, refused
from modelkeep.errors import (
    IntegrityError,
    InvalidRefError,
    InvalidValueError,
    MissingObjectError,
    SerializerError,
    TrustError,
    UnknownAliasError,
    UnknownLabelError,
    UnknownVariantError,
    UnknownVersionError,
    shown,
)
from modelkeep.folds import versions
from modelkeep.layout import is_dataset, own_name, pack_key, word_for
from modelkeep.manifest import Manifest, ManifestError, parse_record
from modelkeep.packfiles import PackFiles
from modelkeep.packs import PAGED, missing_pack, read_manifest
from modelkeep.ref import Alias, Caret, Digest, Label, ModelRef
from modelkeep.serializers.port import Serializer
from modelkeep.splitters import extents
from modelkeep.targets import check_free, make_folder
from modelkeep.version import Parent, Place, Record

T = TypeVar("T")
_ZIP = b"PK\x03\x04"
Verify = Literal["now", "lazy"]  # when the bytes of a load are checked


@attrs.frozen
class Found:
    """A version that a reference means: number, identity, and where its manifest lay when last heard of.

    Or, with a *kind*, a variant of it; or a draft, by its id, which has no number.
    """

    number: int
    identity: str
    at: Place
    kind: str | None = None
    draft: str | None = None

    @property
    def is_apart(self) -> bool:
        """Whether it is no version, and has packs of its own alone."""
        return self.kind is not None or self.draft is not None

    def ref(self, name: str) -> str:
        """What always means it."""
        if self.draft is not None:
            return f"{name}~{self.draft}"
        return f"{name}:{self.number}" + (f"/{self.kind}" if self.kind else "")


def find(line: Line, ref: ModelRef) -> Found:
    """The version, or the variant of one, that *ref* means.

    By alias one GET when warm, and `versions` is not read unless for a variant that is not known; otherwise two.

    Raises:
        UnknownModelError, UnknownVersionError, UnknownAliasError, UnknownLabelError, UnknownVariantError, DeletedError:
            there is none.
        InvalidRefError: the reference is of a kind that is reserved, or a digest fits several versions.
    """
    if ref.branch:
        raise InvalidRefError(
            f"{ref} is reserved for drafts, which are no versions; runs that failed are in "
            f"registry.model({line.name!r}).failed_runs()",
            text=str(ref),
        )
    selector = ref.selector
    found = _by_alias(line, selector.name) if isinstance(selector, Alias) else _by_number(line, selector)
    return found if ref.variant is None else _variant(line, found.number, ref.variant)


def _variant(line: Line, number: int, kind: str) -> Found:
    known = line.versions.state.lines.get(number)
    if known is None or kind not in known.variants:
        line.read()
        known = line.line(number)
    if kind not in known.variants:
        raise UnknownVariantError(
            f"{line.name}:{number} has no variant {kind!r}; it has {', '.join(sorted(known.variants)) or 'none'}",
            name=line.name,
            number=number,
            variant=kind,
        )
    return found_variant(known, kind)


def found_variant(known: versions.Line, kind: str) -> Found:
    """A variant that a version has; it never moves."""
    made = known.variants[kind].made
    return Found(made.number, made.identity, made.at, kind)


def found_draft(known: versions.DraftLine) -> Found:
    """A draft; it never moves."""
    return Found(0, known.made.identity, known.made.at, draft=known.made.id)


def _by_number(line: Line, selector: object) -> Found:
    with line.versions.lock:  # no other thread folds on while this one looks through the versions
        line.read()
        if not line.versions.state.is_open and line.versions.state.began:  # it was open, and is not
            _warn_closed(line)
        number = _number(line, selector)
        line.check_alive(number)
        known = line.line(number)
        return Found(number, known.made.identity, known.at)


def _warn_closed(line: Line) -> None:
    what = f"{word_for(line.name)} {own_name(line.name)!r}"
    warnings.warn(f"the {what} was closed; it takes no more versions", stacklevel=5)


def _by_alias(line: Line, alias: str) -> Found:
    line.releases.refresh()
    holder = line.releases.state.holder(alias)
    if holder is None:
        line.read()
        known = ", ".join(sorted(line.releases.state.stacks)) or "none"
        raise UnknownAliasError(
            f"{own_name(line.name)!r} has no alias {alias!r}; it has {known}. Set it with "
            f"registry.{'dataset' if is_dataset(line.name) else 'get'}('{own_name(line.name)}:N').promote({alias!r})",
            name=own_name(line.name),
            alias=alias,
        )
    if line.versions.head and not line.versions.state.is_open:  # as far as this process has read
        _warn_closed(line)
    return Found(holder.number, holder.identity, holder.at)


def _number(line: Line, selector: object) -> int:
    match selector:
        case int():
            return line.line(selector).made.number
        case Label():
            return _by_label(line, selector)
        case Caret():
            return _in_range(line, selector)
        case Digest(prefix=prefix):
            return _by_digest(line, prefix)
    return latest(line)


def latest(line: Line) -> int:
    """The highest number that is not deleted, as far as read.

    Raises:
        UnknownVersionError: all are deleted, or there is none yet.
    """
    if not line.versions.state.began:  # all that was ever begun was cancelled
        raise line.unknown()
    if not line.versions.state.lines:
        raise _unsaved(line)
    gone = line.releases.state.deleted
    for number in reversed(line.versions.state.lines):
        if number not in gone:
            return number
    raise UnknownVersionError(f"all versions of {line.name!r} are deleted; restore one", name=line.name)


def _unsaved(line: Line) -> UnknownVersionError:
    """The error for a model of which every run failed so far."""
    failed = len(line.drafts())
    seen = f"; {failed} failed, see registry.model({line.name!r}).failed_runs()" if failed else ""
    return UnknownVersionError(f"{line.name!r} has no version yet: no run has saved one{seen}", name=line.name)


def _by_label(line: Line, label: Label) -> int:
    number = line.versions.state.labels.get(str(label))
    if number is None:
        raise UnknownLabelError(
            f"no version of {line.name!r} has the label {label}; it has {_labels(line)}",
            name=line.name,
            label=str(label),
        )
    return number


def _in_range(line: Line, caret: Caret) -> int:
    gone = line.releases.state.deleted
    fitting = [
        (label, number)
        for text, number in line.versions.state.labels.items()
        if number not in gone and (label := Label.parse(text)) in caret
    ]
    if not fitting:
        raise UnknownLabelError(
            f"no label of {line.name!r} lies in {caret}; it has {_labels(line)}",
            name=line.name,
            label=str(caret),
        )
    return max(fitting)[1]


def _labels(line: Line) -> str:
    labels = sorted(map(Label.parse, line.versions.state.labels))
    return ", ".join(map(str, labels[-5:])) or "none"


def _by_digest(line: Line, prefix: str) -> int:
    lines = line.versions.state.lines
    named = [number for number, known in lines.items() if known.made.identity.startswith(prefix)]
    if len(named) > 1:
        raise InvalidRefError(
            f"{line.name}#{prefix} fits versions {', '.join(map(str, named))}; give more digits",
            digest=prefix,
        )
    if named:
        return named[0]
    gone = line.releases.state.deleted
    alike = {known.made.content for known in lines.values() if known.made.content.startswith(prefix)}
    if len(alike) > 1:
        raise InvalidRefError(
            f"{line.name}#{prefix} fits the content of several versions; give more digits", digest=prefix
        )
    equal = [number for number, known in lines.items() if known.made.content in alike and number not in gone]
    if not equal:
        raise UnknownVersionError(f"no version of {line.name!r} has a digest that begins with {prefix}", digest=prefix)
    return equal[-1]


# -- the files ---------------------------------------------------------------------------------------------------


def open_files(line: Line, found: Found, *, lazy: bool = False) -> tuple[PackFiles, Record]:
    """The files and the record of a version. One request for a small version.

    *lazy* leaves what is mapped unchecked.

    A pack that is missing means "look again": the version may have been moved or purged since.

    Raises:
        DeletedError: the version was purged.
        IntegrityError: the bytes are not those of the version; names the object.
    """
    while True:
        try:
            manifest, last = read_manifest(line.home.store, line.name, found.at)
        except MissingObjectError as error:
            found = look_again(line, found, error)
            continue
        _check_identity(line, manifest, found)
        try:
            record = parse_record(manifest.record)
        except ManifestError as error:
            raise IntegrityError(f"{found.ref(line.name)}: {error}; upgrade modelkeep") from None
        if not found.is_apart:  # saves share what is remembered, and with what lies apart nobody shares anything
            line.recent.remember(found.at, manifest)
        registry = line.home.id()
        kept = line.home.pack_cache(registry) if registry else None
        return PackFiles(line.home.store, line.name, manifest, last, kept, lazy), record


def is_mapped(files: PackFiles) -> bool:
    """Whether loading maps all tensors of 64 KiB and more, and there are any."""
    large = {path: _tensors(files, path) for path in files.names()}
    return any(large.values()) and all(files.maps(path, spans) for path, spans in large.items())


def _tensors(files: PackFiles, path: str) -> list[tuple[int, int]]:
    with files.open(path) as stream:
        if stream.read(len(_ZIP)) == _ZIP:
            return []  # what is in archives is read, and not mapped
        found = extents(stream, files.size(path))
    return [(extent.start, extent.stop) for extent in found if extent.tensor and extent.stop - extent.start >= PAGED]


def look_again(line: Line, found: Found, error: MissingObjectError) -> Found:
    """Where the version lies now, after one of its packs was missing.

    Raises:
        DeletedError: it was purged; a draft was dropped.
        IntegrityError: it should still lie there; names the object.
    """
    line.read()
    packs, at = _place_now(line, found)
    if error.key in {pack_key(line.name, pack) for pack in packs}:  # *found* may be newer than what was read
        raise missing_pack(error.key) from None
    return attrs.evolve(found, at=at)


def _place_now(line: Line, found: Found) -> tuple[tuple[str, ...], Place]:
    """The packs that it needs, and where its manifest lies, as far as read; an error if it is gone."""
    if found.draft is not None:
        return line.draft(found.draft).made.packs, found.at
    if found.number in line.releases.state.purged:
        line.check_alive(found.number)
    known = line.line(found.number)
    return (known.own, known.at) if found.kind is None else (known.variants[found.kind].made.packs, found.at)


def _check_identity(line: Line, manifest: Manifest, found: Found) -> None:
    if manifest.identity(found.number if found.draft is None else found.draft) != found.identity:
        raise IntegrityError(
            f"the manifest in pack {found.at.pack} is not that of {found.ref(line.name)}; "
            "bring the object back from a backup, and run `modelkeep verify`",
            key=pack_key(line.name, found.at.pack),
        )


def load(
    line: Line, found: Found, *, into: object, trust: Trust, verify: Verify = "now", serializer: str | None = None
) -> object:
    """Give back the object of a version; see `Registry.load`."""
    ref, granted = found.ref(line.name), line.home.granted | Grant.of(trust)

    def opened(files: PackFiles, record: Record) -> object:
        named = serializer or record.serializer
        own, layout = files.without(record.parts), 0 if serializer else record.serializer_format
        trusted = granted.allows(named, found.identity)
        if record.made:
            from modelkeep.surroundings import warn_once

            warn_once(found.identity, record.made, record.packages)
        return _admitted(line, own, named, layout, ref, trusted=trusted, into=into).obj

    lazy = is_lazy(verify)
    if isinstance(into, (str, os.PathLike)):
        return _extract(line, found, Path(into))
    return with_files(line, found, opened, lazy=lazy)


def is_lazy(verify: Verify) -> bool:
    """Whether what is mapped is left unchecked.

    Raises:
        InvalidValueError: *verify* is another word.
    """
    if verify not in ("now", "lazy"):
        raise InvalidValueError(f"verify={shown(verify)} is neither 'now' nor 'lazy'", key="verify")
    return verify == "lazy"


@attrs.frozen
class Loaded:
    """An object that came through the gate, and the serializer that gave it."""

    serializer: Serializer
    obj: Any


def _admitted(
    line: Line, files: PackFiles, named: str, layout: int, ref: str, *, trusted: bool, into: object = None
) -> Loaded:
    """What the serializer *named* makes of *files*, if the gate lets it: the one way from files to an object."""
    from modelkeep.serializers.discovery import by_name

    chosen = by_name(named, lambda _: trusted)
    if layout > chosen.format:
        raise SerializerError(
            f"{ref} was written in layout {layout} of {named!r}, and this release reads up to {chosen.format}; "
            "upgrade, or take the files with load(ref, into=folder)",
            name=named,
        )
    form = chosen.form(files, into)
    if form.partition(":")[0] != named:  # else it could let itself in under the tier of another
        raise SerializerError(
            f"the serializer {named!r} reports the form {form!r}, which is not its own; ask for {named!r} or "
            f"'{named}:…' from whoever wrote it",
            name=named,
            form=form,
        )
    admit(form, ref, granted=trusted)
    if line.home.scan is not None:
        from modelkeep._veto import check_stored

        check_stored(line.home.scan, files, form, ref)
    try:
        return Loaded(chosen, chosen.load(attrs.evolve(files, trusted=trusted), form, into))
    except TrustError as error:
        raise refused(ref, form, str(error)) from error


def load_together(
    line: Line, found: Found, wanted: Sequence[str | None], *, trust: Trust, lazy: bool = False
) -> list[Loaded | None]:
    """Parts of a version by name, and the model for None, opened once; None for a part that it does not have.

    Each goes through the gate by itself, as what its own serializer wrote.
    """
    ref, granted = found.ref(line.name), line.home.granted | Grant.of(trust)

    def one(files: PackFiles, record: Record, part: str | None) -> Loaded | None:
        wrote = record if part is None else record.parts.get(part)
        if wrote is None:
            return None
        if part is None:
            own, said = files.without(record.parts), ref
        else:
            own, said = part_files(files, part, ref), f"{part!r} of {ref}"
        trusted = granted.allows(wrote.serializer, found.identity)
        return _admitted(line, own, wrote.serializer, wrote.serializer_format, said, trusted=trusted)

    return with_files(line, found, lambda files, record: [one(files, record, part) for part in wanted], lazy=lazy)


def part_files(files: PackFiles, part: str, ref: str) -> PackFiles:
    """The files of a part alone.

    Raises:
        IntegrityError: there are none, although the record names it.
    """
    inside = files.within(part)
    if not inside.names():
        raise IntegrityError(f"the record of {ref} names a part {part!r}, and no file lies in that folder", part=part)
    return inside


def load_found(line: Line, found: Found, *, into: object, trust: Trust, verify: Verify, as_: type = object) -> object:
    """Load a version and remember where the object came from."""
    loaded = load(line, found, into=into, trust=trust, verify=verify)
    if not isinstance(loaded, as_):
        raise SerializerError(
            f"{found.ref(line.name)} holds a {type(loaded).__module__}.{type(loaded).__qualname__}, and no "
            f"{as_.__module__}.{as_.__qualname__}; load it without as_=, or with its own class",
            type=type(loaded).__qualname__,
        )
    # what is made from a variant was made from its version
    own = found.identity if found.kind is None else line.line(found.number).made.identity
    remember(loaded, Parent(line.name, found.number, own))
    return loaded


def export(line: Line, found: Found, folder: Path) -> Path:
    """Write the native files of a version below *folder*, those of parts in folders of their own."""
    from modelkeep.serializers.discovery import by_name

    done: set[str] = set()  # each once, also where the version is moved meanwhile and all begins again

    def export_one(files: PackFiles, serializer: str, target: Path) -> None:
        if str(target) not in done:
            make_folder(target)
            by_name(serializer, line.home.granted.allows).export(files, target)
            done.add(str(target))

    def written(files: PackFiles, record: Record) -> Path:
        export_one(files.without(record.parts), record.serializer, folder)
        for name, part in record.parts.items():
            export_one(part_files(files, name, f"{line.name}:{found.number}"), part.serializer, folder / name)
        return folder

    return with_files(line, found, written)


def with_files(line: Line, found: Found, use: Callable[[PackFiles, Record], T], *, lazy: bool = False) -> T:
    """Open a version and *use* it, again from the start where it was moved meanwhile."""
    while True:
        try:
            return use(*open_files(line, found, lazy=lazy))
        except MissingObjectError as error:
            found = look_again(line, found, error)


def _extract(line: Line, found: Found, folder: Path) -> Path:
    """Write the files of a version below *folder*; none that is there is touched.

    Raises:
        InvalidValueError: a file is there already, or *folder* cannot be one.
    """

    def written(files: PackFiles, _: Record) -> Path:
        for path in files.names():
            check_free(folder / path)
        make_folder(folder)
        files.extract(folder)
        return folder

    return with_files(line, found, written)
