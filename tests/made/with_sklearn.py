"""A training script as people write them, with scikit-learn; the line with the ``@`` is all that is new."""

# mypy: ignore-errors

# %%
import copy

import numpy as np
import pandas as pd
from sklearn.linear_model import SGDClassifier

import modelkeep as mk

np.random.seed(7)
registry = mk.Registry()


# %%
def rows():
    table = pd.DataFrame({"calls": range(60), "fee": np.linspace(5, 50, 60)})
    return table.assign(left=table["calls"] > 30)


# %%
@registry.track("churn", metric="accuracy")
def train(table, *, base=None, rate=0.5, seed=7):
    model = copy.deepcopy(base) or SGDClassifier(eta0=rate, random_state=seed)
    inputs, left = table[["calls", "fee"]], table["left"]
    model.partial_fit(inputs, left, classes=[False, True])
    return model, {"accuracy": model.score(inputs, left)}


# %%
def work():
    train(rows())
    train(rows(), base=train.last_run().version.load())


# %%
if __name__ == "__main__":
    work()
