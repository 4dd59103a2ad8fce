"""How a registry keeps datasets: lines of versions of their own, beside the models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from modelkeep.layout import dataset_line
from modelkeep.modelversion import ModelVersion
from modelkeep.progress import Progress
from modelkeep.registrysaves import RegistrySaves

if TYPE_CHECKING:
    from modelkeep.datasetline import RegisteredDataset
    from modelkeep.datasetversion import Dataset


class RegistryDatasets(RegistrySaves):
    """What `Registry` does with datasets."""

    def save_dataset(
        self,
        data: object,
        name: str,
        *,
        keep: bool = False,
        tags: Mapping[str, str] | None = None,
        notes: str = "",
        parent: str | Dataset | Iterable[str | Dataset] | None = None,
        label: str | None = None,
        bump: Literal["major", "minor", "patch"] | None = None,
        profile: bool = True,
        storage_options: Mapping[str, Any] | None = None,
        progress: Progress = None,
    ) -> Dataset:
        """Note *data* as the next version of the dataset *name*; with *keep* its bytes, too.

        Equal data gives the newest version of the same *keep* again, and writes nothing. Two writes when warm.

        Args:
            data: a frame, an array, a sparse matrix, a list or dict of arrays, a path, a pattern or a URL of fsspec.
            name: the dataset; made by its first save. Models and datasets may have the same name.
            keep: store the data itself, so that it loads again; without it, facts alone: fingerprint, schema, profile.
            tags: short texts by name.
            notes: any text.
            parent: the datasets that it was made from, versions or references; of whatever name. None is guessed.
            label: a semantic version such as ``1.3.0``; left aside where the version is there already.
            bump: instead, the part of the highest label ever used to raise.
            profile: whether values are counted: nulls, ranges, quantiles, frequent values.
            storage_options: what fsspec takes to open a URL; never kept.
            progress: as for `save`.

        Raises:
            InvalidNameError: no dataset can bear *name*.
            InvalidValueError: *data* is no data, or a tag or note cannot be kept.
            SerializerError: *keep*, and no serializer keeps it; or a column cannot be kept as it is.
            ConflictError: a file or URL changed while it was read.
            NotFoundError: a parent is not there.
            ClosedError: the dataset was closed.
            StoreError, UnsettledError: see `save`.

        Example:
            >>> import modelkeep as mk, pandas as pd
            >>> registry = mk.Registry("memory://save-dataset")
            >>> registry.save_dataset(pd.DataFrame({"x": [1, 2, 3]}), "sales", keep=True)
            Dataset sales:1
            >>> registry.dataset("sales").load()["x"].tolist()
            [1, 2, 3]
        """
        from modelkeep.datasets import Wanted, parents_of, save

        parents = parents_of(parent, self.dataset)
        wanted = Wanted(keep, tags, notes, parents, label, bump, profile, storage_options, progress)
        return save(self._home, partial(self._existing, dataset_line(name)), data, wanted)

    def dataset(self, ref: str | Dataset, *, deleted: bool = False) -> Dataset:
        """The version of a dataset that a reference means. Two GETs when warm.

        Args:
            ref: ``sales`` (latest), ``sales:3``, ``sales:1.3.0``, ``sales:^1.3``, ``sales@golden``, ``sales#b3f1…``.
            deleted: give a version by number, deleted or not.

        Raises:
            NotFoundError: there is no such dataset, version, alias or label.
            InvalidRefError: it is no reference of a dataset.
        """
        from modelkeep.datasets import opened

        return opened(self._existing, ref, deleted=deleted)

    def dataset_line(self, name: str) -> RegisteredDataset:
        """The line of versions of the dataset *name*; reads nothing, and the dataset need not exist yet.

        Raises:
            InvalidNameError: no dataset can bear *name*.
        """
        from modelkeep.datasetline import RegisteredDataset

        line = dataset_line(name)
        return RegisteredDataset(lambda: self._line(line), line, self.url)

    def datasets(self) -> list[str]:
        """The names of all datasets that take saves. One listing.

        Example:
            >>> import modelkeep as mk, numpy as np
            >>> registry = mk.Registry("memory://datasets")
            >>> _ = registry.save_dataset(np.zeros((3, 2)), "sales")
            >>> registry.datasets(), registry.models()
            (['sales'], [])
        """
        from modelkeep.datasets import names

        return names(self._home)

    def models_using(self, data: object) -> list[ModelVersion]:
        """The versions of models that say that they were made from *data*, newest first; none that is deleted.

        Costs one request for each version of each model, several at once; nothing is indexed.

        Args:
            data: a `Dataset`, its reference, or the data itself; equal data counts, under whatever name.

        Raises:
            NotFoundError: there is no such dataset.
        """
        from modelkeep.datasets import using

        return using(self._home, self._existing, data, [model.name for model in self.models()])
