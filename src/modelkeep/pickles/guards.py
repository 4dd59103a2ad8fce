"""What stands in for listed callables while a pickle is built: each looks at the arguments that it really gets.

The scan has seen the same arguments in the stream. These guards are the second line: a difference between the scan and
the machine, or a fact that the stream does not show, such as the shape of an array, ends here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from modelkeep.errors import TrustError
from modelkeep.pickles.names import Name


class Watcher(Protocol):
    """What builds: it has things checked at the end."""

    parts: dict[Any, Name]

    def watch(self, check: str, found: Any) -> Any:
        """Have *found* checked when all is built."""
        ...


Guard = Callable[[Watcher, Name, Any], Callable[..., Any]]
GUARDS: dict[str, Guard] = {}
_MOST_OUTPUTS = 2**20


def _guard(*calls: str) -> Callable[[Guard], Guard]:
    def enter(guard: Guard) -> Guard:
        GUARDS.update(dict.fromkeys(calls, guard))
        return guard

    return enter


def _demand(name: Name, *, fits: bool) -> None:
    if not fits:
        raise TrustError(f"it calls {name} with arguments that are refused", rule="guard", what=str(name))


@_guard("none", "factory", "counter", "queue", "members", "octets", "span", "zone", "digits", "plain", "random", "seed")
def _as_it_is(reader: Watcher, name: Name, real: Any) -> Callable[..., Any]:
    """Callables that take plain values, in the number that the scan has seen, and check them themselves."""

    def call(*arguments: Any) -> Any:
        _demand(name, fits=not any(callable(a) and type(a) is not type for a in arguments))
        return reader.watch(name.check, real(*arguments))

    return call


@_guard("array")
def _array(reader: Watcher, name: Name, real: Any) -> Callable[..., Any]:
    del reader

    def call(cls: Any, shape: Any, letter: Any) -> Any:
        import numpy as np

        _demand(name, fits=cls is np.ndarray and shape == (0,) and letter == b"b")
        return real(cls, shape, letter)

    return call


@_guard("masked")
def _masked(reader: Watcher, name: Name, real: Any) -> Callable[..., Any]:
    del reader

    def call(cls: Any, base: Any, shape: Any, letter: Any) -> Any:
        import numpy as np

        _demand(name, fits=cls is np.ma.MaskedArray and base is np.ndarray and shape == (0,) and letter in {"b", b"b"})
        return real(cls, base, shape, letter)

    return call


@_guard("dtype")
def _dtype(reader: Watcher, name: Name, real: Any) -> Callable[..., Any]:
    del reader

    def call(text: Any, *_: Any) -> Any:
        _demand(name, fits=type(text) is str and text[:1] not in {"(", "{"} and "," not in text)
        found = real(text, False, True)  # always a copy: a state given to numpy's own would change it for everyone
        _demand(name, fits=found.subdtype is None and found.names is None)
        return found

    return call


@_guard("frombuffer", "scalar")
def _no_objects(reader: Watcher, name: Name, real: Any) -> Callable[..., Any]:
    del reader

    def call(first: Any, second: Any, *rest: Any) -> Any:
        import numpy as np

        dtype = first if isinstance(first, np.dtype) else second
        _demand(name, fits=isinstance(dtype, np.dtype) and not dtype.hasobject and dtype.itemsize > 0)
        return real(first, second, *rest)

    return call


@_guard("bits")
def _bits(reader: Watcher, name: Name, real: Any) -> Callable[..., Any]:
    def call(cls: Any) -> Any:
        _demand(name, fits=isinstance(cls, type) and cls in reader.parts)
        return reader.watch(name.check, real(cls))

    return call


@_guard("tree")
def _tree(reader: Watcher, name: Name, real: Any) -> Callable[..., Any]:
    def call(features: Any, classes: Any, outputs: Any) -> Any:
        import numpy as np

        _demand(name, fits=type(classes) is np.ndarray and classes.dtype == np.intp and classes.shape == (outputs,))
        small = 0 < outputs < _MOST_OUTPUTS and classes.min() > 0 and classes.max() < _MOST_OUTPUTS
        _demand(name, fits=bool(small and classes.flags.c_contiguous))
        return reader.watch(name.check, real(features, classes, outputs))

    return call


@_guard("newobj")
def _newobj(reader: Watcher, name: Name, real: Any) -> Callable[..., Any]:
    def call(cls: Any) -> Any:
        part = reader.parts.get(cls)
        _demand(name, fits=part is not None and part.module == name.module)
        return reader.watch(part.check if part else "", real(cls))

    return call


@_guard("bytearray")
def _bytearray(reader: Watcher, name: Name, real: Any) -> Callable[..., Any]:
    del reader

    def call(*arguments: Any) -> Any:
        _demand(name, fits=len(arguments) <= 1 and all(isinstance(a, bytes | bytearray) for a in arguments))
        return real(*arguments)

    return call


@_guard("checker")
def _checker(reader: Watcher, name: Name, real: Any) -> Callable[..., Any]:
    def call(function: Any) -> Any:
        from sklearn.utils import check_array

        _demand(name, fits=function is check_array)
        return reader.watch(name.check, real(function))

    return call
