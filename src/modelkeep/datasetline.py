"""`RegisteredDataset`: one line of versions of a dataset over time."""

from __future__ import annotations

from modelkeep._line import Line
from modelkeep.datasetversion import Dataset
from modelkeep.namedline import NamedLine


class RegisteredDataset(NamedLine[Dataset]):
    """A named line of datasets. Made by `Registry.dataset_line`; making it reads nothing.

    Example:
        >>> import modelkeep as mk, pandas as pd
        >>> registry = mk.Registry("memory://registereddataset")
        >>> _ = registry.save_dataset(pd.DataFrame({"x": [1, 2, 3]}), "sales").promote("golden")
        >>> sales = registry.dataset_line("sales")
        >>> sales.set_title("All sales since 2020")
        >>> [event.action for event in sales.history()]
        ['open', 'create', 'promote', 'title']
        >>> sales.close()
        >>> registry.datasets(), sales.is_open
        ([], False)
    """

    def _version(self, line: Line, number: int) -> Dataset:
        return Dataset(line, number)
