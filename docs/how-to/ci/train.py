"""Train a model, save it, and leave in `model-ref.txt` which version it is: all that the recipes ask of a training."""

from pathlib import Path

from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split

import modelkeep as mk

registry = mk.Registry()  # the place that MODELKEEP_REGISTRY names


@registry.track("churn", metric="auc")
def train(seed: int = 0):
    inputs, outputs = load_breast_cancer(return_X_y=True)
    split = train_test_split(inputs / inputs.max(axis=0), outputs, random_state=seed)
    model = LogisticRegression(max_iter=200).fit(split[0], split[2])
    return model, {"auc": float(roc_auc_score(split[3], model.predict_proba(split[1])[:, 1]))}


train()
Path("model-ref.txt").write_text(f"{train.last_run().version.ref}\n", encoding="utf-8")
