"""States of torch objects: filling a module with one, and keeping that of an optimizer or a scheduler."""

from __future__ import annotations

import copy
from typing import Any

from modelkeep.errors import IntegrityError, SerializerError, shown
from modelkeep.integrations.tree import TreeSerializer
from modelkeep.serializers.native import WRAPPER, put_wrapper, read_facts
from modelkeep.serializers.port import Files, Sink

_state = TreeSerializer()
_LIKE_PARAMETERS = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer", "square_avg")


def fill(module: Any, state: dict[str, Any]) -> object:
    """Fill a module, or leave it as it was.

    Raises:
        SerializerError: the state does not fit it.
    """
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


def save_state(obj: Any, sink: Sink) -> None:
    """Keep the state of an optimizer or a scheduler, and the name of its class."""
    put_wrapper(sink, obj, {})
    _state.save({"state": obj.state_dict()}, sink)


def load_state(files: Files, into: Any) -> object:
    """The state that `save_state` kept: as a dict, or *into* what has one.

    Raises:
        SerializerError: it does not fit *into*, which is then as it was.
    """
    kind = read_facts(files)["class"]
    tree: Any = _state.load(files, "tree", None)
    try:
        state = dict(tree["state"])
    except (TypeError, KeyError, ValueError) as error:
        raise IntegrityError(f"the state of the {shown(kind)} is damaged: {error!r}", path=WRAPPER) from None
    if into is None:
        return state
    if type(into).__name__ != kind:
        raise SerializerError(f"the version holds the state of a {shown(kind)}, and into= is a {type(into).__name__}")
    try:
        _check_fits(into, state)
        into.load_state_dict(state)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise SerializerError(f"the saved state does not fit this {kind}: {error}") from None
    return into


def _check_fits(into: Any, state: dict[str, Any]) -> None:
    """What torch does not look at: shapes, which fail at the next step only, and names, which it would set."""
    if "param_groups" not in state:
        if strange := set(state) - set(into.state_dict()):
            raise ValueError(f"it has no {sorted(map(shown, strange))}")
        return
    saved = [number for group in state["param_groups"] for number in group["params"]]
    here = [parameter for group in into.param_groups for parameter in group["params"]]
    for number, parameter in zip(saved, here, strict=False):  # torch tells if there are more of one
        for name, value in state["state"].get(number, {}).items():
            if name in _LIKE_PARAMETERS and value is not None and value.shape != parameter.shape:
                raise ValueError(f"{name} of parameter {number} is {tuple(value.shape)}, not {tuple(parameter.shape)}")
