"""Really trained models of each family, how they predict, and what loading them takes; see `test_fresh_process`.

As a program it loads one in a process that made none: ``python -m serializers.families NAME REGISTRY OUT [GRANT]``.
Frameworks are imported where one is made, so that a process imports one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np

import modelkeep as mk

os.environ.setdefault("KERAS_BACKEND", "torch")
RNG = np.random.default_rng(7)
X = RNG.normal(size=(60, 3)).astype("float32")
TARGET = X @ np.array([1.0, -2.0, 0.5], "float32")
LABELS = np.where(TARGET > 0, "yes", "no")


@attrs.frozen
class Family:
    """One kind of model.

    Args:
        make: trains one.
        predict: what it gives for the same inputs each time.
        tier: of its form.
        grant: the ``trust=`` that its load takes; None if it takes none.
        into: makes an object to fill, if it is loaded so.
        tolerance: how far a prediction may be off, absolutely.
    """

    make: Callable[[], Any]
    predict: Callable[[Any], Any]
    tier: str
    grant: str | None = None
    into: Callable[[], Any] | None = None
    tolerance: float = 0.0


def on_rows(model: Any) -> Any:
    """What most models give."""
    return model.predict(X)


def shares(model: Any) -> Any:
    """The probabilities of a classifier."""
    return model.predict_proba(X)


def numbers(model: Any) -> Any:
    """The output of a torch module."""
    import torch

    with torch.no_grad():
        return model(torch.from_numpy(X)).numpy()


# -- scikit-learn and its family -----------------------------------------------------------------------------------


def forest() -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(5, random_state=0).fit(X, LABELS)


def resampled() -> Any:
    from imblearn.over_sampling import RandomOverSampler
    from imblearn.pipeline import make_pipeline
    from sklearn.linear_model import LogisticRegression

    return make_pipeline(RandomOverSampler(random_state=0), LogisticRegression()).fit(X, LABELS)


def encoded() -> Any:
    from category_encoders import OrdinalEncoder
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline

    return make_pipeline(OrdinalEncoder(cols=[0]), LinearRegression()).fit(LABELS[:, None], TARGET)


# -- trees ---------------------------------------------------------------------------------------------------------


def xgboost_classifier() -> Any:
    from xgboost import XGBClassifier

    return XGBClassifier(n_estimators=4, max_depth=2, n_jobs=1, random_state=0).fit(X, LABELS == "yes")


def xgboost_booster() -> Any:
    return xgboost_classifier().get_booster()


def on_matrix(model: Any) -> Any:
    return model.inplace_predict(X)


def lightgbm_classifier() -> Any:
    from lightgbm import LGBMClassifier

    settings = {"n_estimators": 4, "num_leaves": 4, "n_jobs": 1, "verbose": -1}
    return LGBMClassifier(**settings).fit(X.astype("f8"), LABELS)


def lightgbm_booster() -> Any:
    return lightgbm_classifier().booster_


def catboost_classifier() -> Any:
    from catboost import CatBoostClassifier

    settings = {"iterations": 4, "depth": 2, "verbose": 0, "thread_count": 1, "allow_writing_files": False}
    return CatBoostClassifier(**settings).fit(X, LABELS)


# -- exchange ------------------------------------------------------------------------------------------------------


def onnx_linear() -> Any:
    from skl2onnx import to_onnx
    from sklearn.linear_model import LinearRegression

    return to_onnx(LinearRegression().fit(X, TARGET), X[:1])


def run_onnx(model: Any) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: X})[0]


# -- networks ------------------------------------------------------------------------------------------------------


def layers() -> Any:
    import torch

    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))


def trained(module: Any) -> Any:
    import torch

    optimizer = torch.optim.Adam(module.parameters(), lr=0.05)
    for _ in range(5):
        optimizer.zero_grad()
        loss = (module(torch.from_numpy(X))[:, 0] - torch.from_numpy(TARGET)).square().mean()
        loss.backward()
        optimizer.step()
    return module.eval()


def torch_module() -> Any:
    return trained(layers())


def torch_state() -> Any:
    return dict(torch_module().state_dict())


def of_state(state: Any) -> Any:
    module = layers()
    module.load_state_dict(state)
    return numbers(module)


# -- tables, text, time series, jax ------------------------------------------------------------------------------------


def pandas_table() -> Any:
    import pandas as pd

    return pd.DataFrame(X, columns=["a", "b", "c"]).assign(label=pd.Categorical(LABELS))


def of_table(table: Any) -> Any:
    return table[["a", "b", "c"]].to_numpy().sum(axis=1) * (table["label"] == "yes").to_numpy()


def polars_table() -> Any:
    import polars as pl

    return pl.DataFrame({"a": X[:, 0], "b": X[:, 1]})


def arrow_table() -> Any:
    import pyarrow as pa

    return pa.table({"a": X[:, 0]})


def sparse() -> Any:
    import scipy.sparse

    return scipy.sparse.csr_array(np.where(X > 0, X, 0))


def least_squares() -> Any:
    import statsmodels.api as sm

    return sm.OLS(TARGET, X).fit()


def forecast() -> Any:
    import pandas as pd
    from prophet import Prophet

    days = pd.date_range("2020-01-01", periods=60)
    return Prophet(n_changepoints=3, uncertainty_samples=0).fit(pd.DataFrame({"ds": days, "y": TARGET}), seed=1)


def of_days(model: Any) -> Any:
    import warnings

    import pandas as pd

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # prophet 1.5 with keywords that pandas 3.1 is about to drop
        return model.predict(pd.DataFrame({"ds": pd.date_range("2020-03-01", periods=5)})).yhat.to_numpy()


def stream() -> Any:
    from river import compose, linear_model, preprocessing

    model = compose.Pipeline(preprocessing.StandardScaler(), linear_model.LogisticRegression())
    for row, label in zip(X, LABELS, strict=True):
        model.learn_one(dict(enumerate(row.tolist())), label == "yes")
    return model


def of_stream(model: Any) -> Any:
    return np.array([model.predict_proba_one(dict(enumerate(row.tolist())))[True] for row in X])


def words() -> Any:
    from gensim.models import Word2Vec

    return Word2Vec([["one", "two", "three"], ["two", "four"]] * 5, vector_size=8, min_count=1, workers=1, seed=1)


def index() -> Any:
    import faiss

    made = faiss.IndexFlatL2(3)
    made.add(X)
    return made


def jax_params() -> Any:
    import jax
    import jax.numpy as jnp

    params = {"w": jnp.zeros(3), "b": jnp.zeros(())}
    loss = jax.grad(lambda p: ((X @ p["w"] + p["b"] - TARGET) ** 2).mean())
    for _ in range(5):
        params = jax.tree_util.tree_map(lambda p, g: p - 0.1 * g, params, loss(params))
    return params


def of_params(params: Any) -> Any:
    return np.asarray(X @ params["w"] + params["b"])


def mlp() -> Any:
    import equinox as eqx
    import jax

    return eqx.nn.MLP(3, 1, 4, 1, key=jax.random.PRNGKey(0))


def on_mlp(model: Any) -> Any:
    import jax

    return np.asarray(jax.vmap(model)(X))


def bert(seed: int = 0) -> Any:
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(seed)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    return BertModel(BertConfig(vocab_size=20, max_position_embeddings=16, **sizes)).eval()


def on_ids(model: Any) -> Any:
    import torch

    with torch.no_grad():
        return model(torch.arange(5)[None]).last_hidden_state.numpy()


def adapter() -> Any:
    import peft

    return peft.get_peft_model(bert(), peft.LoraConfig(r=2, target_modules=["query"], init_lora_weights=False)).eval()


def tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE(unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.train_from_iterator(["one two three", "two three four"], trainers.BpeTrainer(special_tokens=["[UNK]"]))
    return made


def pipeline() -> Any:
    import spacy

    made = spacy.blank("en")
    made.add_pipe("sentencizer")
    return made


def keras_layers() -> Any:
    import keras

    keras.utils.set_random_seed(0)
    dense = keras.layers.Dense
    return keras.Sequential([keras.Input((3,)), dense(4, "tanh"), keras.layers.BatchNormalization(), dense(1)])


def keras_model() -> Any:
    model = keras_layers()
    model.compile("adam", "mse")
    model.fit(X, TARGET, epochs=2, batch_size=30, verbose=0)
    return model


def on_rows_quietly(model: Any) -> Any:
    return model.predict(X, verbose=0)


def light() -> Any:
    from serializers.lightnet import trained_light

    return trained_light()


def untrained_light() -> Any:
    from serializers.lightnet import Light

    return Light()


def untrained_skorch_net() -> Any:
    import torch
    from skorch import NeuralNetRegressor

    return NeuralNetRegressor(layers, max_epochs=2, lr=0.05, verbose=0, optimizer=torch.optim.Adam, train_split=None)


def skorch_net() -> Any:
    return untrained_skorch_net().fit(X, TARGET[:, None])


FAMILIES: dict[str, Family] = {
    "numpy tree": Family(lambda: {"w": np.linalg.lstsq(X, TARGET)[0]}, lambda tree: X @ tree["w"], "data"),
    "scikit-learn forest": Family(forest, shares, "restricted"),
    "imbalanced-learn pipeline": Family(resampled, shares, "restricted"),
    "category-encoders pipeline": Family(
        encoded, lambda model: model.predict(LABELS[:, None]), "restricted", "sklearn"
    ),
    "xgboost classifier": Family(xgboost_classifier, shares, "code", "xgboost"),
    "xgboost booster": Family(xgboost_booster, on_matrix, "code", "xgboost"),
    "lightgbm classifier": Family(lightgbm_classifier, shares, "code", "lightgbm"),
    "lightgbm booster": Family(lightgbm_booster, on_rows, "code", "lightgbm"),
    "catboost classifier": Family(catboost_classifier, shares, "code", "catboost"),
    "onnx": Family(onnx_linear, run_onnx, "data"),
    "torch module": Family(torch_module, numbers, "code", "torch"),
    "torch module, filled": Family(torch_module, numbers, "data", into=layers),
    "torch state": Family(torch_state, of_state, "data"),
    "pandas table": Family(pandas_table, of_table, "data"),
    "polars table": Family(polars_table, lambda table: table.to_numpy(), "data"),
    "pyarrow table": Family(arrow_table, lambda table: table["a"].to_numpy(), "data"),
    "scipy sparse": Family(sparse, lambda matrix: matrix @ np.ones(3), "data"),
    "json": Family(lambda: {"cut": float(TARGET.mean())}, lambda tree: X[:, 0] > tree["cut"], "data"),
    "statsmodels": Family(least_squares, lambda model: model.predict(X), "code", "statsmodels"),
    "prophet": Family(forecast, of_days, "data", tolerance=1e-9),
    "river": Family(stream, of_stream, "code", "river"),
    "gensim model": Family(words, lambda model: model.wv.vectors, "code", "gensim"),
    "gensim vectors": Family(lambda: words().wv, lambda vectors: vectors["two"], "data"),
    "faiss": Family(index, lambda made: made.search(X[:5], 3)[0], "code", "faiss"),
    "jax params": Family(jax_params, of_params, "data"),
    "equinox": Family(mlp, on_mlp, "code", "jax"),
    "equinox, filled": Family(mlp, on_mlp, "data", into=mlp),
    "transformers": Family(bert, on_ids, "data", tolerance=1e-6),
    "peft": Family(adapter, on_ids, "data", into=bert, tolerance=1e-6),
    "tokenizers": Family(tokenizer, lambda made: np.array(made.encode("one two four").ids), "data"),
    "spacy": Family(pipeline, lambda made: np.array([len(list(made("One. Two.").sents))]), "code", "spacy"),
    "keras model": Family(keras_model, on_rows_quietly, "data"),
    "keras model, filled": Family(keras_model, on_rows_quietly, "data", into=keras_layers),
    "lightning module": Family(light, numbers, "code", "lightning"),
    "lightning module, filled": Family(light, numbers, "data", into=untrained_light),
    "skorch net": Family(skorch_net, on_rows, "code", "skorch"),
    "skorch net, filled": Family(skorch_net, on_rows, "data", into=untrained_skorch_net),
}


def main(folder: str, *names: str) -> None:
    """Load the model of each family, and write what it predicts."""
    registry = mk.Registry(Path(folder) / "registry")
    for number, name in enumerate(names):
        family = FAMILIES[name]
        into = family.into() if family.into else None
        model = registry.load(f"model {number}", into=into, trust=family.grant or False)
        np.save(Path(folder) / f"{number}.npy", np.asarray(family.predict(model)))


if __name__ == "__main__":
    main(*sys.argv[1:])
