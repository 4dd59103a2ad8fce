from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from callbacks.looking import curve
from modelkeep.errors import NotFoundError
from modelkeep.integrations.callbacks.transformers import RunCallback
from modelkeep.registry import Registry
from modelkeep.stores.memory import MemoryStore


@pytest.fixture
def registry() -> Registry:
    return Registry(MemoryStore())


class Rows(torch.utils.data.Dataset[Any]):  # type: ignore[misc]  # torch is not followed
    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict[str, Any]:
        words = torch.tensor([1, 2, 3, index + 1])
        return {"input_ids": words, "attention_mask": torch.ones(4, dtype=torch.long), "labels": words}


def trainer(folder: Path, *callbacks: Any) -> Any:
    transformers.set_seed(1)
    config = transformers.GPT2Config(vocab_size=16, n_positions=8, n_embd=8, n_layer=1, n_head=1)
    options = transformers.TrainingArguments(
        str(folder), num_train_epochs=2, per_device_train_batch_size=4, logging_steps=1, eval_strategy="epoch",
        report_to=[], use_cpu=True, disable_tqdm=True, save_strategy="no", dataloader_pin_memory=False,
    )  # fmt: skip
    return transformers.Trainer(
        transformers.GPT2LMHeadModel(config), options, train_dataset=Rows(), eval_dataset=Rows(),
        callbacks=list(callbacks),
    )  # fmt: skip


def test_it_logs_the_history_of_the_trainer_at_its_steps(registry: Registry, tmp_path: Path) -> None:
    with registry.run("churn") as run:
        made = trainer(tmp_path, RunCallback())
        made.train()
    history = made.state.log_history
    assert {"loss", "learning_rate", "eval_loss", "train_runtime"} <= set(run.metrics)
    assert {name: curve(run, name) for name in run.metrics} == {
        name: [(row["step"], float(row[name])) for row in history if name in row]
        for name in {name for row in history for name in row} - {"step"}
    }


def test_what_another_callback_logs_that_is_no_number_is_a_warning(registry: Registry, tmp_path: Path) -> None:
    with registry.run("churn") as run:
        made = trainer(tmp_path, RunCallback())
        made.callback_handler.on_train_begin(made.args, made.state, made.control)
        with pytest.warns(UserWarning, match="metric sample is 'a text'"):
            made.log({"loss": 0.5, "sample": "a text"})
    assert curve(run, "loss") == [(0, 0.5)]


def test_the_processes_behind_the_first_log_nothing(registry: Registry, tmp_path: Path) -> None:
    with registry.run("churn") as run:
        made = trainer(tmp_path, RunCallback(run))
        made.state.is_world_process_zero = False
        made.callback_handler.on_train_begin(made.args, made.state, made.control)
        made.callback_handler.on_log(made.args, made.state, made.control, {"loss": 0.5})
    assert dict(run.metrics) == {}


def test_without_a_run_training_does_not_begin(tmp_path: Path) -> None:
    made = trainer(tmp_path, RunCallback())
    with pytest.raises(NotFoundError, match="there is no run to log into"):
        made.train()
    assert made.state.global_step == 0
