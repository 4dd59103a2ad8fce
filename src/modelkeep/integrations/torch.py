"""PyTorch modules: the state as safetensors, which anyone may load; the module itself as a pickle without tensors.

``load(ref, into=module)`` fills a module and runs nothing from the file; ``load(ref, trust=True)`` rebuilds it.
"""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

from modelkeep.errors import SerializerError
from modelkeep.integrations.tree import TreeSerializer
from modelkeep.serializers.arrays import Reader
from modelkeep.serializers.plain import PlainSerializer
from modelkeep.serializers.port import Files, Sink

MODULE = "module.pkl"
_state = TreeSerializer()


class TorchSerializer(PlainSerializer):
    """See the module."""

    name = "torch"
    packages = ("torch", "numpy", "cloudpickle")

    def accepts(self, obj: object) -> bool:
        """See `Serializer.accepts`: modules; a `state_dict` is a tree of arrays."""
        import torch

        return isinstance(obj, torch.nn.Module)

    def save(self, obj: Any, sink: Sink) -> None:
        """See `Serializer.save`."""
        state = _state_of(obj)
        try:
            pickled = _dump(obj, state)
        except Exception as error:  # any __reduce__ may raise anything
            raise SerializerError(
                f"a {type(obj).__qualname__} cannot be pickled: {error}; save its state_dict() instead"
            ) from error
        sink.put(MODULE, pickled)
        if state:
            _state.save(state, sink)

    def form(self, files: Files, into: object | None) -> str:
        """See `Serializer.form`: the state alone if there is a module to fill."""
        del files
        return "torch:module" if into is None else "torch:state"

    def tensors(self, files: Files) -> dict[str, Reader]:
        """See `Serializer.tensors`: those of the state."""
        return _state.tensors(files)

    def load(self, files: Files, form: str, into: Any) -> object:
        """See `Serializer.load`."""
        state = _read_state(files)
        if form == "torch:state":
            return _fill(into, state)
        with files.open(MODULE) as stream:
            try:
                return _Unpickler(stream, state).load()
            except (ImportError, AttributeError) as error:
                raise SerializerError(
                    f"the module needs code that is not here ({error}); install the packages that its record names, or "
                    "fill a module of your own with into=module"
                ) from error


def _state_of(module: Any) -> dict[str, Any]:
    """The entries of the state; an extra state that is no data is left to the pickle, and to be missed by `into`."""
    return {name: value for name, value in module.state_dict(keep_vars=True).items() if _state.keeps(value)}


def _read_state(files: Files) -> dict[str, Any]:
    # a module without parameters has no state file
    if files.names() == (MODULE,):
        return {}
    state: Any = _state.load(files, "tree", None)
    return dict(state)


def _fill(module: Any, state: dict[str, Any]) -> object:
    load_state_dict = getattr(module, "load_state_dict", None)
    if load_state_dict is None:
        raise SerializerError(f"into= is a {type(module).__qualname__}; give a torch.nn.Module, or a folder for files")
    before = None if _fits(module, state) else copy.deepcopy(module.state_dict())
    try:
        load_state_dict(state)
    except RuntimeError as error:
        if before is not None:  # torch fills what fits before it complains
            load_state_dict(before)
        raise SerializerError(f"the saved state does not fit this {type(module).__qualname__}: {error}") from None
    return module


def _fits(module: Any, state: dict[str, Any]) -> bool:
    def shapes(entries: dict[str, Any]) -> dict[str, Any]:
        return {name: getattr(value, "shape", None) for name, value in entries.items()}

    return shapes(module.state_dict()) == shapes(state)


def _dump(module: Any, state: dict[str, Any]) -> bytes:
    """Pickle a module without the tensors of its state: each is named instead, so that it is stored once."""
    import cloudpickle
    import torch

    names = {id(value): name for name, value in reversed(state.items()) if isinstance(value, torch.Tensor)}

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc] # it ships no types
        def persistent_id(self, obj: Any) -> tuple[Any, ...] | None:
            name = names.get(id(obj))
            if name is None:
                return None
            kind = "parameter" if isinstance(obj, torch.nn.Parameter) else "buffer"
            attributes = dict(vars(obj))
            return (kind, name, obj.requires_grad, attributes) if attributes else (kind, name, obj.requires_grad)

    stream = io.BytesIO()
    Pickler(stream, protocol=5).dump(module)
    return stream.getvalue()


class _Unpickler(pickle.Unpickler):
    """Puts the tensors of the state back; the core has asked for trust before."""

    def __init__(self, stream: Any, state: dict[str, Any]) -> None:
        super().__init__(stream)
        self._state = state
        self._made: dict[str, Any] = {}

    def persistent_load(self, pid: Any) -> Any:
        kind, name, requires_grad, *attributes = pid
        if name not in self._made:
            import torch

            tensor = self._state[name]
            self._made[name] = (
                torch.nn.Parameter(tensor, requires_grad)
                if kind == "parameter"
                else tensor.requires_grad_(requires_grad)
            )
            self._made[name].__dict__.update(*attributes)
        return self._made[name]


serializer = TorchSerializer()
