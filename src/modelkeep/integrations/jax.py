"""JAX: pytrees that are more than dicts and lists, of flax, equinox, optax or one's own classes.

The leaves are a flat tree of arrays, named by their paths; ``load(ref, into=like)`` puts them into the structure of
an object of the caller's own, whose shapes and types they must have: data, nothing in the files is run.
``object.pkl`` is the object by cloudpickle, without its arrays: it gives the whole back, and needs trust.
Dicts, lists and tuples of jax arrays, such as flax's params, are trees: data as a whole.
"""

from __future__ import annotations

import contextvars
import io
from collections.abc import Mapping
from typing import Any

from modelkeep.errors import IntegrityError, SerializerError
from modelkeep.integrations.tree import TREE, TreeSerializer
from modelkeep.serializers.arrays import Reader
from modelkeep.serializers.plain import PlainSerializer
from modelkeep.serializers.port import Files, Sink

OBJECT = "object.pkl"
_tree = TreeSerializer()
_given: contextvars.ContextVar[Mapping[str, Any]] = contextvars.ContextVar("leaves of the pickle being read")


def leaf(name: str) -> Any:
    """What stands in ``object.pkl`` in the place of an array."""
    return _given.get()[name]


class JaxSerializer(PlainSerializer):
    """See the module."""

    name = "jax"
    packages = ("jax", "flax", "equinox", "optax", "numpy", "ml_dtypes", "cloudpickle")

    def accepts(self, obj: object) -> bool:
        """See `Serializer.accepts`: a pytree with arrays that is no plain tree."""
        leaves = _leaves(obj)
        return bool(leaves) and not _tree.accepts(obj) and any(map(_is_array, leaves.values()))

    def save(self, obj: Any, sink: Sink) -> None:
        """See `Serializer.save`."""
        state = {name: value for name, value in _leaves(obj).items() if _tree.keeps(value)}
        try:
            pickled = _dump(obj, state)
        except Exception as error:  # any __reduce__ may raise anything
            raise SerializerError(
                f"a {type(obj).__qualname__} cannot be pickled: {error}; save its leaves as a dict instead"
            ) from error
        _tree.save(state, sink)
        sink.put(OBJECT, pickled)

    def form(self, files: Files, into: object | None) -> str:
        """See `Serializer.form`: the leaves alone if there is a pytree to take the structure of."""
        del files
        return "jax:object" if into is None else "jax:leaves"

    def load(self, files: Files, form: str, into: Any) -> object:
        """See `Serializer.load`."""
        state: Any = _tree.load(files, "tree", None)
        if not isinstance(state, dict):
            raise IntegrityError(f"{TREE} holds no leaves; run `modelkeep verify`", path=TREE)
        if form == "jax:leaves":
            return _fill(into, state)
        token = _given.set(state)
        try:
            whole: object = files.unpickle(OBJECT)
        except (ImportError, AttributeError, KeyError) as error:
            raise SerializerError(
                f"the object needs code or leaves that are not here ({error!r}); install the packages that its record "
                "names, or give an object of the same structure with into="
            ) from error
        finally:
            _given.reset(token)
        return whole

    def tensors(self, files: Files) -> dict[str, Reader]:
        """See `Serializer.tensors`: the leaves, by their paths."""
        return dict(_tree.tensors(files))


def _is_array(value: object) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype")


def _leaves(obj: object) -> dict[str, Any]:
    """The leaves by their paths; none of what is no pytree, and itself a leaf."""
    import jax

    try:
        flat, _ = jax.tree_util.tree_flatten_with_path(obj)
    except (ValueError, TypeError):  # keys of a dict that cannot be ordered, as jax wants them
        return {}
    return {jax.tree_util.keystr(path): value for path, value in flat if path}


def _fill(like: Any, state: dict[str, Any]) -> object:
    import jax

    wanted = _leaves(like)
    kind = type(like).__qualname__
    if not any(map(_is_array, wanted.values())):
        raise SerializerError(f"into= is a {kind} without arrays; give a pytree such as was saved, or a folder")
    slots = {name for name, value in wanted.items() if _is_array(value) or _tree.keeps(value)}
    odd = sorted(slots ^ set(state))
    odd += [name for name in sorted(slots & set(state)) if _facts(wanted[name]) != _facts(state[name])]
    if odd:
        raise SerializerError(
            f"the saved leaves do not fit this {kind}: {', '.join(odd[:5])}{' …' * (len(odd) > 5)} differ in shape, "  # noqa: PLR2004
            "type or being there; make it as the saved one was made",
            leaves=odd,
        )
    _, structure = jax.tree_util.tree_flatten(like)
    filled: object = jax.tree_util.tree_unflatten(structure, [state.get(name, value) for name, value in wanted.items()])
    return filled


def _facts(value: Any) -> Any:
    return (tuple(value.shape), str(value.dtype)) if _is_array(value) else type(value)


def _dump(obj: Any, state: dict[str, Any]) -> bytes:
    """Pickle an object without the arrays of its state: each is named instead, so that it is stored once."""
    import cloudpickle

    names = {id(value): name for name, value in reversed(state.items()) if _is_array(value)}

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc] # it ships no types
        def reducer_override(self, obj: Any) -> Any:
            name = names.get(id(obj))
            return super().reducer_override(obj) if name is None else (leaf, (name,))

    stream = io.BytesIO()
    Pickler(stream, protocol=5).dump(obj)
    return stream.getvalue()


serializer = JaxSerializer()
