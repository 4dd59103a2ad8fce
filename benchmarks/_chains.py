"""Models that change from version to version: random numbers, noise, and fine-tunes that are trained here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
from _models import Tensors, renew, tensors

Chain = Callable[[int, int], Iterator[Tensors]]  # of so many mebibytes, so many versions; each is gone with the next

TENSORS = 100
NOISE = 1e-3  # standard deviation of one step; that of the numbers is 1
WIDTH, LAYERS, WORDS, LENGTH, BATCH = 192, 4, 1024, 32, 8  # a transformer of 2.2 million parameters
TRAINED = 150  # steps before the first version
SETTINGS = {"few": (3, 1e-4), "many": (20, 1e-3)}  # steps from version to version, and their learning rate


def changed(mebibytes: int, versions: int) -> Iterator[Tensors]:
    """Normal fp32 numbers, of which 5 % of the tensors are new in each version."""
    _, model = tensors(mebibytes, TENSORS)
    random = np.random.default_rng(1)
    for n in range(versions):
        if n:
            renew(model, random, 0.05)
        yield model


def noisy(mebibytes: int, versions: int) -> Iterator[Tensors]:
    """Normal fp32 numbers; noise is added to all of them in each version."""
    _, model = tensors(mebibytes, TENSORS)
    random = np.random.default_rng(1)
    for n in range(versions):
        for name in model if n else ():
            model[name] += np.float32(NOISE) * random.standard_normal(model[name].shape, dtype=np.float32)
        yield model


def noisy_halves(mebibytes: int, versions: int) -> Iterator[Tensors]:
    """The same numbers with the same noise, published as bfloat16: half as many bytes for each."""
    import torch

    for model in noisy(2 * mebibytes, versions):
        yield {name: torch.from_numpy(values).to(torch.bfloat16) for name, values in model.items()}


def tuned(setting: str, versions: int, *, halves: bool) -> Iterator[Tensors]:
    """The states of a transformer on its way from one task to another, as trained (fp32) or rounded to bfloat16."""
    import torch

    for state in _states(setting, versions):
        yield {name: value.to(torch.bfloat16) if halves else value for name, value in state.items()}


@cache
def _states(setting: str, versions: int) -> list[Tensors]:
    """Trained once, for both widths: a language of random successors, then one where half of them are others."""
    import torch

    steps, rate = SETTINGS[setting]
    net = _transformer()
    start, first = _trained()
    net.load_state_dict(start)
    torch.manual_seed(1)
    second = torch.where(torch.rand(WORDS, 1) < 0.5, first, torch.randint(WORDS, (WORDS, 4)))
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate)
    found = []
    for n in range(versions):
        _train(net, second, steps if n else 0, optimizer)
        found.append(_state(net))
    return found


@cache
def _trained() -> tuple[Tensors, Any]:
    """The state of a model that learned a language, and the four words that may follow each."""
    import torch

    torch.set_num_threads(1)  # so small a model gains nothing from more, and loses much on a machine that is shared
    torch.manual_seed(0)
    net = _transformer()
    successors = torch.randint(WORDS, (WORDS, 4))
    _train(net, successors, TRAINED, torch.optim.AdamW(net.parameters(), lr=1e-3))
    return _state(net), successors


def _state(net: Any) -> Tensors:
    return {name: value.detach().clone() for name, value in net.state_dict().items()}


def _transformer() -> Any:
    from torch import nn

    layer = nn.TransformerEncoderLayer(WIDTH, 4, 4 * WIDTH, dropout=0.0, batch_first=True, norm_first=True)
    body = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
    return nn.ModuleDict({"words": nn.Embedding(WORDS, WIDTH), "body": body, "head": nn.Linear(WIDTH, WORDS)})


def _train(net: Any, successors: Any, steps: int, optimizer: Any) -> None:
    """Guess the next word, so many times."""
    import torch

    mask = torch.nn.Transformer.generate_square_subsequent_mask(LENGTH)
    for _ in range(steps):
        words = [torch.randint(WORDS, (BATCH,))]
        for _ in range(LENGTH):
            words.append(successors[words[-1], torch.randint(4, (BATCH,))])
        text = torch.stack(words, 1)
        guessed = net["head"](net["body"](net["words"](text[:, :-1]), mask=mask))
        loss = torch.nn.functional.cross_entropy(guessed.flatten(0, 1), text[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
