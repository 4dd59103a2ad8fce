from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from flax import linen, nnx
from flax.training.train_state import TrainState

from modelkeep.errors import SerializerError, TrustError
from modelkeep.integrations.jax import serializer as pytrees
from modelkeep.integrations.tree import serializer as tree
from modelkeep.registry import Registry
from modelkeep.serializers.discovery import for_object
from modelkeep.serializers.port import Serializer
from modelkeep.stores.memory import MemoryStore
from modelkeep.testing.serializers import SerializerContract, load_from_memory, save_in_memory

X = jnp.linspace(-1, 1, 8).reshape(4, 2)
Y = X.sum(axis=1, keepdims=True)
DENSE = linen.Dense(1)
ADAM = optax.adam(1e-2)


class Pair(NamedTuple):
    w: Any
    rate: float


class Net(nnx.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        self.layer = nnx.Linear(2, 1, rngs=nnx.Rngs(0))

    def __call__(self, x: Any) -> Any:
        return self.layer(x)


def mlp(seed: int = 0, width: int = 4) -> Any:
    return eqx.nn.MLP(2, 1, width, 1, key=jax.random.PRNGKey(seed))


def trained(steps: int = 3) -> Any:
    state = TrainState.create(apply_fn=DENSE.apply, params=DENSE.init(jax.random.PRNGKey(0), X), tx=ADAM)
    for _ in range(steps):
        gradients = jax.grad(lambda params: ((DENSE.apply(params, X) - Y) ** 2).mean())(state.params)
        state = state.apply_gradients(grads=gradients)
    return state


def equal(a: Any, b: Any) -> bool:
    first, second = jax.tree_util.tree_flatten(a), jax.tree_util.tree_flatten(b)
    return len(first[0]) == len(second[0]) and all(
        (getattr(x, "dtype", type(x)), np.shape(x)) == (getattr(y, "dtype", type(y)), np.shape(y))
        and (callable(x) or bool(np.all(np.asarray(x) == np.asarray(y))))
        for x, y in zip(first[0], second[0], strict=True)
    )


class TestJax(SerializerContract):
    @pytest.fixture
    def serializer(self) -> Serializer:
        return pytrees

    @pytest.fixture
    def examples(self) -> Sequence[Any]:
        return [mlp(), trained(), trained().opt_state, Pair(X, 0.5), Net(), nnx.state(Net())]

    def same(self, a: Any, b: Any) -> bool:
        return type(a) is type(b) and equal(a, b)


class TestTreesOfJax(SerializerContract):
    @pytest.fixture
    def serializer(self) -> Serializer:
        return tree

    @pytest.fixture
    def examples(self) -> Sequence[Any]:
        odd = [jnp.ones(3, kind) for kind in ("bfloat16", "float8_e4m3fn", "float16", "bool", "complex64", "uint8")]
        return [trained().params, X, [*odd, jnp.float32(2), jnp.zeros((0, 3), "bfloat16"), np.ones(2), 3]]

    def same(self, a: Any, b: Any) -> bool:
        kinds = [type(leaf) for leaf in jax.tree_util.tree_leaves(a)]
        alike = jax.tree_util.tree_structure(a) == jax.tree_util.tree_structure(b)
        return alike and equal(a, b) and kinds == [type(leaf) for leaf in jax.tree_util.tree_leaves(b)]


@pytest.mark.parametrize(("obj", "name"), [
    (X, "tree"), ({"w": X}, "tree"), (trained().params, "tree"), (trained(), "jax"), (trained().opt_state, "jax"),
    (mlp(), "jax"), (Net(), "jax"), (nnx.state(Net()), "jax"), ({"w": {"w": X}, "opt": trained().opt_state}, "jax"),
], ids=["array", "dict", "params", "train state", "optimizer", "equinox", "nnx", "nnx state", "both"])  # fmt: skip
def test_each_kind_finds_its_serializer(obj: Any, name: str) -> None:
    assert for_object(obj).name == name


def test_numbers_alone_need_no_trust_and_the_whole_object_does() -> None:
    registry = Registry(MemoryStore())
    registry.save(mlp(), "net")
    with pytest.raises(TrustError, match="into="):
        registry.load("net")
    filled = registry.load("net", into=mlp(seed=1))
    whole = registry.load("net", trust="jax")
    assert jnp.array_equal(jax.vmap(filled)(X), jax.vmap(mlp())(X))
    assert jnp.array_equal(jax.vmap(whole)(X), jax.vmap(mlp())(X))


def test_a_train_state_is_filled_and_goes_on_training() -> None:
    files = save_in_memory(pytrees, trained(3))
    found = load_from_memory(pytrees, files, into=trained(0))
    gradients = jax.tree_util.tree_map(jnp.ones_like, found.params)
    assert equal(found.apply_gradients(grads=gradients), trained(3).apply_gradients(grads=gradients))
    assert int(found.step) == 3


def test_shapes_alone_are_enough_to_fill() -> None:
    like = eqx.filter_eval_shape(mlp)
    found = load_from_memory(pytrees, save_in_memory(pytrees, mlp()), into=like)
    assert equal(found, mlp())


def halved(tree: Any) -> Any:
    return jax.tree_util.tree_map(lambda leaf: leaf.astype("bfloat16") if eqx.is_array(leaf) else leaf, tree)


@pytest.mark.parametrize(
    "like", [mlp(width=5), {"w": X}, trained(0), halved(mlp())], ids=["shape", "dict", "other", "type"]
)
def test_an_object_of_another_structure_is_refused_by_the_path_of_a_leaf(like: Any) -> None:
    with pytest.raises(SerializerError, match=r"do not fit this .*(\.layers\[0\]|\['w'\]|\.step)"):
        load_from_memory(pytrees, save_in_memory(pytrees, mlp()), into=like)


def test_arrays_are_stored_once_by_their_paths() -> None:
    big = Pair(jnp.zeros((100, 1000)), 0.5)
    files = save_in_memory(pytrees, big)
    assert files.size("object.pkl") < 10_000
    assert pytrees.tensors(files)[".w"]().shape == (100, 1000)


def test_an_array_of_64_bits_is_not_cut_without_a_word() -> None:
    with jax.enable_x64(True):
        files = save_in_memory(tree, {"w": jnp.ones(2, "float64")})
        assert load_from_memory(tree, files)["w"].dtype == "float64"
    with pytest.raises(SerializerError, match="jax_enable_x64"):
        load_from_memory(tree, files)


@pytest.mark.parametrize("part", [jax.random.key(0), jnp.ones(2, "int4")], ids=["key", "int4"])
def test_arrays_that_cannot_be_kept_are_refused_by_their_path(part: Any) -> None:
    with pytest.raises(SerializerError, match="a/w"):
        save_in_memory(tree, {"a": {"w": part}})


def test_a_folder_of_orbax_is_kept_and_restored(tmp_path: Path) -> None:
    params: dict[str, Any] = {"w": np.arange(6.0), "b": {"c": np.ones(2)}}
    checkpointer: Any
    with ocp.PyTreeCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "checkpoint", params)
        registry = Registry(MemoryStore())
        registry.save(tmp_path / "checkpoint", "orbax")
        registry.load("orbax", into=tmp_path / "back")
        found = checkpointer.restore(tmp_path / "back")
    assert np.array_equal(found["w"], params["w"])
    assert np.array_equal(found["b"]["c"], params["b"]["c"])
