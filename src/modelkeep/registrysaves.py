"""How a registry saves: what the caller said and what made the model become a draft, and that a version."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from datetime import timedelta
from functools import partial
from typing import Any

import attrs

from modelkeep._publish import Draft, RunAs, publish
from modelkeep.arguments import ABSENT, as_names, check_label
from modelkeep.beside import Beside, Gathered, gathered, gathered_curves
from modelkeep.errors import InvalidValueError, shown
from modelkeep.facts import Facts, Options, serializer_for
from modelkeep.failedrun import FailedRun
from modelkeep.given import Given, parents_of
from modelkeep.modelversion import ModelVersion
from modelkeep.progress import Progress, reporter
from modelkeep.ref import check_model_name
from modelkeep.registryplace import RegistryPlace
from modelkeep.saving import PendingSave
from modelkeep.serializers.port import Serializer
from modelkeep.system import format_time

LIFE = timedelta(days=30)  # of a failed run: one that nobody looked into by then, after a holiday, nobody will


class RegistrySaves(RegistryPlace):
    """The work of `Registry.save`, and of what saves by itself: runs, adopted files, datasets."""

    def _save_made(
        self, model: object, name: str, given: Given, made: Mapping[str, Any], history: Mapping[str, Any]
    ) -> ModelVersion:
        """A save with what made the model, and its curves; for runs."""
        version = self._save_given(model, name, given, True, made, history)
        assert isinstance(version, ModelVersion)  # noqa: S101  for the type checker: it waits
        return version

    def _keep_failed(
        self, name: str, draft: str, given: Given, made: Mapping[str, Any], history: Mapping[str, Any]
    ) -> FailedRun:
        """Keep a run that failed, with its record and its curves. Two writes when warm."""
        facts = self._facts(None, given, made)
        with gathered_curves(history, self._home.granted) as files:
            record = facts.record_alone(self._system, **files.said)
            kept = RunAs(draft, format_time(self._system.now() + LIFE))
            self._home.prepare()
            line = self._existing(name)
            publish(line, Draft(sources=files.sources, record=record, run=kept))
        return FailedRun(line, draft)

    def _save_given(
        self,
        model: object,
        name: str,
        given: Given,
        wait: bool,
        made: Mapping[str, Any] | None = None,
        history: Mapping[str, Any] | None = None,
    ) -> ModelVersion | PendingSave:
        check_model_name(name)
        if not isinstance(wait, bool):
            raise InvalidValueError(f"wait is {shown(wait)}; give True or False", key="wait")
        label, bump = given.get("label"), given.get("bump")
        facts = self._facts(model, given, made or {})
        options = Options(check_label(label, bump), bump, given.get("reuse", False))
        beside = Beside(
            preprocess=given.get("preprocess"),
            example=given.get("example"),
            signature=given.get("signature"),
            golden=given.get("golden"),
            history=history,
        )
        writer = serializer_for(model, given.get("serializer"), self._home.granted)
        save = self._save if wait else self._save_later
        return save(model, name, facts, options, writer, given.get("progress"), beside)

    def _facts(self, model: object, given: Given, made: Mapping[str, Any]) -> Facts:
        params, metrics, tags = given.get("params"), given.get("metrics"), given.get("tags")
        return Facts(
            params={} if params is None else params,
            metrics={} if metrics is None else metrics,
            tags={} if tags is None else tags,
            notes=given.get("notes", ""),
            parents=parents_of(model, given.get("parent", ABSENT), self.get),
            allowed=as_names(given.get("allow_secret_like", ()), "allow_secret_like"),
            made=self._with_data(made, given.get("data")),
        )

    def _with_data(self, made: Mapping[str, Any], data: object) -> Mapping[str, Any]:
        if data is None:
            return made
        from modelkeep.datasets import data_facts, opened

        return {**made, "data": [*made.get("data", []), *data_facts(data, partial(opened, self._existing))]}

    def _save(
        self,
        model: object,
        name: str,
        facts: Facts,
        options: Options,
        serializer: Serializer,
        progress: Progress = None,
        beside: Beside = Beside(),  # noqa: B008  a value that nobody can change
    ) -> ModelVersion:
        with gathered(model, serializer, beside, self._home.granted) as files:
            draft = self._draft(model, files, facts, options, serializer)
            shown = reporter(progress, files.size())
            self._saves.wait(name)  # numbers are given in the order of the calls
            return self._publish(name, draft, shown)

    def _save_later(
        self,
        model: object,
        name: str,
        facts: Facts,
        options: Options,
        serializer: Serializer,
        progress: Progress,
        beside: Beside,
    ) -> PendingSave:
        with ExitStack() as until:
            files = until.enter_context(gathered(model, serializer, beside, self._home.granted))
            files.snapshot()
            draft = self._draft(model, files, facts.copied(), options, serializer)
            # unasked, there is no bar among what the training prints meanwhile
            shown = reporter(False if progress is None else progress, files.size())
            return self._saves.add(name, partial(self._publish, name, draft, shown), until)

    def _draft(self, model: object, files: Gathered, facts: Facts, options: Options, serializer: Serializer) -> Draft:
        record = facts.record(model, serializer, self._system, **files.said)
        return Draft(sources=files.sources, record=record, **attrs.asdict(options))

    def _publish(self, name: str, draft: Draft, shown: AbstractContextManager[Callable[[int], None]]) -> ModelVersion:
        self._home.prepare()
        line = self._existing(name)
        with shown as advance:
            number = publish(line, attrs.evolve(draft, progress=advance))
        return ModelVersion(line, number)
