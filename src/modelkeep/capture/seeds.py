"""What randomness begins with: states of the generators, seeds where they can be told, and flags about determinism.

Only what is loaded is looked at, and nothing is drawn. A state says more than a seed, and can always be had: equal
digests give equal numbers from there on. A seed is told only where the generator proves it: torch keeps its own;
NumPy's global one is compared with a new one of the seed that it seems to have; Python's ``random`` does not tell.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from typing import Any

from modelkeep.digest import digest

_MARK = "modelkeep"  # hashed, to tell two processes with other hashes of text apart


def captured() -> dict[str, Any]:
    """States, seeds and flags of this process, for `modelkeep.session.Seeds`."""
    found: dict[str, Any] = {"states": {}, "initial": {}, "flags": {}, "unknown": []}
    _attempt(_python, None, found)
    looks = {"numpy.random": _numpy, "torch": _torch, "tensorflow": _tensorflow, "jax": _jax}
    for name, look in looks.items():
        module = sys.modules.get(name)
        if module is not None:
            _attempt(look, module, found)
    return {key: value for key, value in found.items() if value}


def _attempt(look: Callable[[Any, dict[str, Any]], None], module: Any, found: dict[str, Any]) -> None:
    try:
        look(module, found)
    except Exception as error:  # noqa: BLE001  half-loaded or of a release to come: no reason for a training to fail
        found["unknown"].append(f"{getattr(module, '__name__', 'random')}: {type(error).__name__}")


def _python(_: Any, found: dict[str, Any]) -> None:
    version, words, gauss = random.getstate()
    raw = b"".join(word.to_bytes(4, "little") for word in words)
    found["states"]["random"] = digest(b"%d %a " % (version, gauss) + raw)
    # zero is told apart by Python; any other seed only by what comes out
    found["flags"]["python.hash_randomization"] = bool(sys.flags.hash_randomization)
    found["flags"]["python.hash"] = digest(hash(_MARK).to_bytes(16, "little", signed=True))[:16]


def _numpy(random_module: Any, found: dict[str, Any]) -> None:
    state = random_module.get_state(legacy=False)
    found["states"]["numpy"] = digest(_flat_state(state))
    words, position = state["state"]["key"], state["state"]["pos"]
    seed = int(words[0])
    if state["bit_generator"] == "MT19937" and position == len(words):  # nothing was drawn, or all of one round was
        again = random_module.RandomState(seed).get_state(legacy=False)
        if _flat_state(again) == _flat_state(state):
            found["initial"]["numpy"] = seed


def _flat_state(state: dict[str, Any]) -> bytes:
    inner = {key: value.tobytes() if hasattr(value, "tobytes") else value for key, value in state["state"].items()}
    return repr((state["bit_generator"], sorted(inner.items()), state["has_gauss"], state["gauss"])).encode()


def _torch(torch: Any, found: dict[str, Any]) -> None:
    found["states"]["torch"] = digest(bytes(torch.get_rng_state().tolist()))
    found["initial"]["torch"] = _kept(torch.initial_seed())
    flags = found["flags"]
    flags["torch.deterministic_algorithms"] = bool(torch.are_deterministic_algorithms_enabled())
    flags["cudnn.deterministic"] = bool(torch.backends.cudnn.deterministic)
    flags["cudnn.benchmark"] = bool(torch.backends.cudnn.benchmark)
    flags["torch.threads"] = int(torch.get_num_threads())
    if torch.cuda.is_initialized():  # else to ask would start the device
        found["initial"]["cuda"] = _kept(torch.cuda.initial_seed())


def _kept(seed: int) -> int | str:
    """JSON keeps 64 bits with a sign; torch's seeds have 64 without."""
    return seed if -(1 << 63) <= seed < 1 << 63 else str(seed)


def _tensorflow(tensorflow: Any, found: dict[str, Any]) -> None:
    config = sys.modules["tensorflow.python.framework.config"]
    found["flags"]["tensorflow.op_determinism"] = bool(config.is_op_determinism_enabled())
    seed = sys.modules["tensorflow.python.eager.context"].global_seed()
    if seed is not None:
        found["initial"]["tensorflow"] = _kept(int(seed))
    del tensorflow


def _jax(jax: Any, found: dict[str, Any]) -> None:
    flags = found["flags"]
    flags["jax.enable_x64"] = bool(jax.config.jax_enable_x64)
    flags["jax.default_prng_impl"] = str(jax.config.jax_default_prng_impl)[:100]
    flags["jax.threefry_partitionable"] = bool(jax.config.jax_threefry_partitionable)
