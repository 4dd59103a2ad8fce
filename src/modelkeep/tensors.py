"""`Tensors`: those of one version by name, each read by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from modelkeep.errors import MissingObjectError, UnknownTensorError, shown

Readers = Mapping[str, Callable[[], Any]]


class Tensors(Mapping[str, Any]):
    """The tensors of a version by name; made by `ModelVersion.tensors`.

    One tensor costs its own bytes: mapped on a local disk, else read in pieces of up to 8 MiB, many at once. Each is
    a new array, of the caller's own, numpy or torch as it was saved. Nothing in the files is run.

    Args:
        ref: the version.
        readers: what gives each tensor.
        again: gives them anew, after an object was missing: the version may have been moved meanwhile.

    Example:
        >>> import modelkeep as mk, numpy as np
        >>> registry = mk.Registry("memory://tensors")
        >>> v = registry.save({"layer.0.weight": np.eye(2), "layer.0.bias": np.zeros(2)}, "churn")
        >>> v.tensors.names()
        ('layer.0.weight', 'layer.0.bias')
        >>> v.tensors["layer.0.bias"]
        array([0., 0.])
    """

    def __init__(self, ref: str, readers: Readers, again: Callable[[MissingObjectError], Readers]) -> None:
        self._ref = ref
        self._readers = dict(readers)
        self._again = again

    def __repr__(self) -> str:
        return f"Tensors of {self._ref}: {len(self)}"

    def __len__(self) -> int:
        return len(self._readers)

    def __iter__(self) -> Iterator[str]:
        return iter(self._readers)

    def __contains__(self, name: object) -> bool:
        return name in self._readers

    def __getitem__(self, name: str) -> Any:
        """Read one tensor.

        Raises:
            UnknownTensorError: there is none of this name; tells some that there are.
            IntegrityError: a byte is wrong; names the object.
        """
        if not isinstance(name, str) or name not in self._readers:
            known = ", ".join(list(self._readers)[:5]) or "none that can be read by themselves"
            raise UnknownTensorError(
                f"{self._ref} has no tensor {shown(name)}; it has {known}{', …' if len(self) > 5 else ''}",  # noqa: PLR2004
                name=name,
            )
        try:
            return self._readers[name]()
        except MissingObjectError as error:
            self._readers = dict(self._again(error))
            return self._readers[name]()

    def names(self) -> tuple[str, ...]:
        """The names, in the order in which the files have them."""
        return tuple(self._readers)
