"""skorch nets: the states of modules and criteria as safetensors, the rest as a pickle without tensors.

``load(ref, into=net)`` fills the modules of a net and runs nothing from the file; rebuilding a net runs code from it.
"""

from __future__ import annotations

from typing import Any

from modelkeep.errors import SerializerError
from modelkeep.integrations.torch import TorchSerializer, dump_without, load_module, read_state
from modelkeep.integrations.torchstate import fill
from modelkeep.integrations.tree import TreeSerializer
from modelkeep.serializers.port import Files, Sink

NET = "module.pkl"
_state = TreeSerializer()


class SkorchSerializer(TorchSerializer):
    """Takes initialized ``NeuralNet``s and what is derived from them."""

    name = "skorch"
    packages = ("skorch", "torch", "scikit-learn", "numpy", "cloudpickle")

    def accepts(self, obj: object) -> bool:
        """See `Serializer.accepts`."""
        return any(cls.__name__ == "NeuralNet" for cls in type(obj).__mro__)

    def save(self, obj: Any, sink: Sink) -> None:
        """See `Serializer.save`."""
        state = {
            f"{name}.{key}": value
            for name, module in _modules(obj).items()
            for key, value in module.state_dict(keep_vars=True).items()
            if _state.keeps(value)
        }
        try:  # what skorch itself pickles holds the tensors as bytes of torch.save, a second time
            pickled = dump_without((type(obj), vars(obj)), state)
        except Exception as error:  # any __reduce__ may raise anything
            raise SerializerError(
                f"a {type(obj).__qualname__} cannot be pickled: {error}; save net.module_.state_dict() instead"
            ) from error
        sink.put(NET, pickled)
        if state:
            _state.save(state, sink)

    def load(self, files: Files, form: str, into: Any) -> object:
        """See `Serializer.load`."""
        state = read_state(files)
        if form == "skorch:state":
            return _fill(into, state)
        kind, attributes = load_module(files, state)
        net: Any = kind.__new__(kind)
        vars(net).update(attributes)
        return net


def _modules(net: Any) -> dict[str, Any]:
    names = [*getattr(net, "_modules", ()), *getattr(net, "_criteria", ())]
    return {f"{name}_": vars(net)[f"{name}_"] for name in names if f"{name}_" in vars(net)}


def _fill(net: Any, state: dict[str, Any]) -> object:
    if not callable(getattr(net, "initialize", None)):
        raise SerializerError(f"into= is a {type(net).__name__}; give a skorch net, or a folder for files")
    if not getattr(net, "initialized_", False):
        net.initialize()
    for name, module in _modules(net).items():
        if module.state_dict():
            own = {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}
            fill(module, own)
    return net


serializer = SkorchSerializer()
