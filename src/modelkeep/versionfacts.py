"""What one version is: the facts of its entry and its record, and what people said of it since."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from modelkeep import _resolve
from modelkeep._line import Line
from modelkeep.errors import MissingObjectError
from modelkeep.folds import versions
from modelkeep.loadable import Loadable
from modelkeep.packfiles import PackFiles
from modelkeep.tensors import Readers, Tensors
from modelkeep.values import mapping_from_json
from modelkeep.version import Parent

T = TypeVar("T")


class VersionFacts(Loadable):
    """What `ModelVersion` tells, without what it does."""

    _known: versions.Line

    def __init__(self, line: Line, number: int) -> None:
        super().__init__(line, line.line(number))
        self._by_name: Tensors | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self}"

    def __str__(self) -> str:
        return f"{self.ref} ({self.label})" if self.label else self.ref

    # -- facts -----------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The name of the model."""
        return self._line.name

    @property
    def number(self) -> int:
        """The number within the model: 1, 2, 3 and so on."""
        return self._known.made.number

    @property
    def ref(self) -> str:
        """The reference that always means this version: ``churn:7``."""
        return f"{self.name}:{self.number}"

    @property
    def label(self) -> str | None:
        """The semantic version, if it has one."""
        return self._line.versions.state.lines[self.number].label

    @property
    def params(self) -> dict[str, Any]:
        """The parameters given at the save. A read of the manifest if they and the metrics are over 16 KiB."""
        kept = self._known.made.params
        return dict(self.record.params) if kept is None else mapping_from_json(kept)

    @property
    def metrics(self) -> dict[str, Any]:
        """The metrics given at the save; `measured` has what came later.

        A read of the manifest if they and the parameters are over 16 KiB.
        """
        kept = self._known.made.metrics
        return dict(self.record.metrics) if kept is None else mapping_from_json(kept)

    @property
    def tensors(self) -> Tensors:
        """The tensors, by name, each read by itself. One request, once, and one for each file with tensors."""
        if self._by_name is None:
            self._by_name = Tensors(self.ref, self._with_opened(self._readers), self._readers_again)
        return self._by_name

    def _readers(self, files: PackFiles) -> Readers:
        from modelkeep.serializers.discovery import by_name

        own = files.without(self.record.parts)
        return by_name(self.record.serializer, self._line.home.granted.allows).tensors(own)

    def _readers_again(self, error: MissingObjectError) -> Readers:
        return self._readers(self._files_again(error))

    def _with_opened(self, use: Callable[[PackFiles], T]) -> T:
        """*use* the files, again from the start where they were moved meanwhile."""
        try:
            return use(self._opened[0])
        except MissingObjectError as error:
            return use(self._files_again(error))

    def _files_again(self, error: MissingObjectError) -> PackFiles:
        """The files where they lie now, after an object of them was missing."""
        _resolve.look_again(self._line, self._found(), error)
        self.__dict__.pop("_opened", None)
        return self._opened[0]

    @property
    def mapped(self) -> bool:
        """Whether `load` maps the tensors (of 64 KiB and more) from the disk, and copies none of them.

        False also where there are none. Reads the headers of the files.
        """
        return self._with_opened(lambda files: _resolve.is_mapped(files.without(self.record.parts)))

    @property
    def notes(self) -> str:
        """The notes given at the save. One request, once."""
        return self.record.notes

    @property
    def parents(self) -> tuple[Parent, ...]:
        """The versions that it was made from. One request, once."""
        return self.record.parents

    @property
    def deleted(self) -> bool:
        """Whether it is deleted. One GET."""
        self._line.releases.refresh()
        return self.number in self._line.releases.state.deleted

    @property
    def held(self) -> bool:
        """Whether it is held, so that nothing purges it. One GET."""
        self._line.releases.refresh()
        return self.number in self._line.releases.state.held

    @property
    def aliases(self) -> tuple[str, ...]:
        """The aliases under which it stands. One GET."""
        self._line.releases.refresh()
        return self._line.releases.state.aliases_of(self.number)

    @property
    def tags(self) -> dict[str, str]:
        """Tags given at the save and since. One GET when warm."""
        self._line.notes.refresh()
        later = self._line.notes.state.tags.get(self.number, {})
        return {name: text for name, text in {**self.record.tags, **later}.items() if text is not None}

    @property
    def measured(self) -> dict[str, Any]:
        """Metrics that came after the save. One GET when warm."""
        self._line.notes.refresh()
        return mapping_from_json(self._line.notes.state.measured.get(self.number, {}))

    @property
    def description(self) -> str | None:
        """The description, if there is one and it was not erased. Two GETs when warm."""
        self._line.notes.refresh()
        said = self._line.notes.state.descriptions.get(self.number)
        return self._line.text(said) if said else None

    def _found(self) -> _resolve.Found:
        return _resolve.Found(self.number, self.digest, self._line.versions.state.lines[self.number].at)
