"""A training script as people write them, with torch; the line with the ``@`` is all that is new."""

# mypy: ignore-errors

# %%
import copy

import torch

import modelkeep as mk

torch.manual_seed(7)
registry = mk.Registry()


# %%
def rows():
    return torch.arange(120, dtype=torch.float32).reshape(60, 2) / 120


def network():
    return torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1))


# %%
@registry.track("churn", metric="loss")
def train(table, *, base=None, rate=0.5, seed=7):
    torch.manual_seed(seed)
    model = copy.deepcopy(base) or network()
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    for _ in range(3):
        optimizer.zero_grad()
        loss = model(table).square().mean()
        loss.backward()
        optimizer.step()
    return model, {"loss": loss.item()}


# %%
def work():
    train(rows())
    train(rows(), base=registry.load(train.last_run().version, into=network()))


# %%
if __name__ == "__main__":
    work()
