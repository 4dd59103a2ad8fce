"""Five versions of a small net, made from another model: what each fine-tune changed is known, tensor by tensor.

1: made from `encoder:1`, with the same tensors. 2: the head alone was trained. 3: all was trained. 4: the head has 12
outputs instead of 10, and was trained. 5: a second layer came before the head, and was trained.
"""

from __future__ import annotations

from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import nn

import modelkeep as mk

NAME, BASE = "net", "encoder"
HEAD = ("head.bias", "head.weight")
BODY = ("body.bias", "body.weight")


class Net(nn.Module):  # type: ignore[misc,unused-ignore]
    """A body, maybe a layer between, and a head."""

    def __init__(self, classes: int = 10, *, deep: bool = False) -> None:
        super().__init__()
        self.body = nn.Linear(64, 32)
        self.middle = nn.Linear(32, 32) if deep else None
        self.head = nn.Linear(32, classes)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Scores by class."""
        hidden = torch.relu(self.body(inputs))
        if self.middle is not None:
            hidden = torch.relu(self.middle(hidden))
        scores: torch.Tensor = self.head(hidden)
        return scores


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """All digits, scaled to 0 to 1, and their labels."""
    found = load_digits()
    return torch.tensor(found.data / 16, dtype=torch.float32), torch.tensor(found.target)


def trained(net: Net, part: Any, steps: int = 30) -> float:
    """Train *part* of *net*; the accuracy that comes of it."""
    inputs, labels = digits()
    optimizer = torch.optim.Adam(part.parameters(), lr=0.02)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(inputs), labels).backward()
        optimizer.step()
    return float((net(inputs).argmax(1) == labels).float().mean())


def fill(registry: mk.Registry) -> None:
    """Train the base and the five versions into a registry."""
    torch.manual_seed(0)
    net = Net()
    accuracy = trained(net, net)
    base = registry.save(net.state_dict(), BASE, metrics={"accuracy": accuracy})
    registry.save(net.state_dict(), NAME, metrics={"accuracy": accuracy}, parent=base)
    _save_next(registry, net, trained(net, net.head))
    _save_next(registry, net, trained(net, net))
    wider = Net(classes=12)
    wider.body.load_state_dict(net.body.state_dict())
    _save_next(registry, wider, trained(wider, wider.head))
    deeper = Net(classes=12, deep=True)
    deeper.load_state_dict({**deeper.state_dict(), **wider.state_dict()})
    _save_next(registry, deeper, trained(deeper, deeper.middle))


def _save_next(registry: mk.Registry, net: Net, accuracy: float) -> None:
    registry.save(net.state_dict(), NAME, metrics={"accuracy": accuracy}, parent=registry.get(NAME))
