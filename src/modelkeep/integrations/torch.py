"""PyTorch modules: the state as safetensors, which anyone may load; the module itself as a pickle without tensors.

``load(ref, into=module)`` fills a module and runs nothing from the file; ``load(ref, trust=True)`` rebuilds it. Of
optimizers and schedulers the state alone is kept: ``load(ref, into=optimizer)`` fills one, and ``load(ref)`` gives the
dict.
TorchScript (``model.pt``) and exported programs (``model.pt2``) are archives of torch that hold code and pickles, so
they need trust.
"""

from __future__ import annotations

import io
import pickle
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from modelkeep.errors import SerializerError
from modelkeep.forks import renew_after_fork
from modelkeep.integrations.torchstate import fill, load_state, save_state
from modelkeep.integrations.tree import TENSORS, TreeSerializer
from modelkeep.serializers.arrays import Reader
from modelkeep.serializers.native import WRAPPER
from modelkeep.serializers.plain import PlainSerializer
from modelkeep.serializers.port import Files, Sink
from modelkeep.serializers.strangers import reading

MODULE, SCRIPT, EXPORTED = "module.pkl", "model.pt", "model.pt2"
_state = TreeSerializer()


class TorchSerializer(PlainSerializer):
    """See the module."""

    name = "torch"
    packages: tuple[str, ...] = ("torch", "numpy", "cloudpickle")

    def accepts(self, obj: object) -> bool:
        """See `Serializer.accepts`; a `state_dict` is a tree of arrays."""
        import torch
        from torch.optim.lr_scheduler import LRScheduler

        return isinstance(obj, (torch.nn.Module, torch.optim.Optimizer, LRScheduler)) or _is_exported(obj)

    def save(self, obj: Any, sink: Sink) -> None:
        """See `Serializer.save`."""
        import torch

        if isinstance(obj, torch.jit.ScriptModule):
            sink.put(SCRIPT, obj.save_to_buffer())
        elif _is_exported(obj):
            with sink.stream(EXPORTED) as stream:
                torch.export.save(obj, stream)
        elif isinstance(obj, torch.nn.Module):
            _save_module(obj, sink)
        else:
            save_state(obj, sink)

    def form(self, files: Files, into: object | None) -> str:
        """See `Serializer.form`: the state alone if there is something to fill."""
        for path, kind in ((SCRIPT, "script"), (EXPORTED, "exported")):
            if path in files.names():
                if into is not None:
                    raise SerializerError(f"{path} cannot be loaded into an object; leave out into=")
                return f"{self.name}:{kind}"
        return f"{self.name}:{'module' if into is None and WRAPPER not in files.names() else 'state'}"

    def tensors(self, files: Files) -> dict[str, Reader]:
        """See `Serializer.tensors`: those of the state."""
        return _state.tensors(files)

    def predict(self, obj: Any, inputs: Any) -> Any:
        """See `Predicts.predict`: called in evaluation mode, without gradients; arrays become tensors.

        Arrays of floats take the dtype of the parameters, and all go to their device.
        """
        import torch

        like = next((p for p in obj.parameters() if p.is_floating_point()), None)
        with _EVALUATING.mode(obj), torch.no_grad():
            return obj(_as_tensors(inputs, like))

    def load(self, files: Files, form: str, into: Any) -> object:
        """See `Serializer.load`."""
        kind = form.partition(":")[2]
        if kind == "script":
            return _load_archive(files, SCRIPT)
        if kind == "exported":
            return _load_archive(files, EXPORTED)
        if WRAPPER in files.names():
            return load_state(files, into)
        state = read_state(files)
        return fill(into, state) if kind == "state" else load_module(files, state)


def _is_exported(obj: object) -> bool:
    return type(obj).__name__ == "ExportedProgram" and type(obj).__module__.startswith("torch.export.")


def _load_archive(files: Files, path: str) -> object:
    import torch

    read: Any = torch.jit.load if path == SCRIPT else torch.export.load
    with reading(path, "by torch"):
        loaded: object = read(io.BytesIO(files.read(path)))
    return loaded


def _save_module(module: Any, sink: Sink) -> None:
    state = _state_of(module)
    try:
        pickled = dump_without(module, state)
    except Exception as error:  # any __reduce__ may raise anything
        raise SerializerError(
            f"a {type(module).__qualname__} cannot be pickled: {error}; save its state_dict() instead"
        ) from error
    sink.put(MODULE, pickled)
    if state:
        _state.save(state, sink)


def load_module(files: Files, state: dict[str, Any]) -> Any:
    """Run the pickle; the core has asked for trust before."""
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


def read_state(files: Files) -> dict[str, Any]:
    """The state of a module, which may have none."""
    if TENSORS not in files.names():
        return {}
    state: Any = _state.load(files, "tree", None)
    return dict(state)


def dump_without(module: Any, state: dict[str, Any]) -> bytes:
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


class _Evaluating:
    """Modules that are predicting: in evaluation mode from the first that predicts with one until the last is done."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._modes: weakref.WeakKeyDictionary[Any, tuple[int, list[tuple[Any, bool]]]] = weakref.WeakKeyDictionary()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """See `Forked.after_fork`."""
        self._lock = threading.Lock()
        self._modes = weakref.WeakKeyDictionary()

    @contextmanager
    def mode(self, module: Any) -> Iterator[None]:
        with self._lock:
            count, modes = self._modes.get(module, (0, []))
            if not count:
                modes = [(part, part.training) for part in module.modules()]
                module.eval()
            self._modes[module] = (count + 1, modes)
        try:
            yield
        finally:
            with self._lock:
                count, modes = self._modes.pop(module, (1, []))
                if count > 1:
                    self._modes[module] = (count - 1, modes)
                else:
                    for part, training in modes:
                        part.training = training


_EVALUATING = _Evaluating()


def _as_tensors(inputs: Any, like: Any) -> Any:
    """The same with a tensor in the place of each array."""
    import numpy as np
    import torch

    if isinstance(inputs, dict):
        return {name: _as_tensors(part, like) for name, part in inputs.items()}
    if type(inputs) in (list, tuple):
        return type(inputs)(_as_tensors(part, like) for part in inputs)
    if not isinstance(inputs, np.ndarray):
        return inputs
    tensor = torch.from_numpy(np.array(inputs, order="C"))  # a copy: torch wants to write, and no strides below zero
    if like is None:
        return tensor
    return tensor.to(like.device, like.dtype if tensor.is_floating_point() else tensor.dtype)


serializer = TorchSerializer()
