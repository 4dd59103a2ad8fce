from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from csv import DictReader
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger

from callbacks.looking import TARGET, X, curve, saved
from modelkeep.errors import NotFoundError, SecretError
from modelkeep.integrations.callbacks.lightning import RunLogger
from modelkeep.registry import Registry
from modelkeep.stores.memory import MemoryStore

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class Net(lightning.LightningModule):  # type: ignore[misc]  # lightning is not followed
    def __init__(self, rate: float = 0.1, loss: Any = torch.nn.functional.mse_loss, **more: Any) -> None:  # noqa: ARG002
        super().__init__()
        self.save_hyperparameters()
        self.head = torch.nn.Linear(3, 1)

    def training_step(self, batch: Any) -> Any:
        loss = (self.head(batch[0])[:, 0] - batch[1]).square().mean()
        self.log("loss", loss)
        return loss

    def validation_step(self, batch: Any) -> Any:
        self.log("val_loss", (self.head(batch[0])[:, 0] - batch[1]).square().mean())

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=self.hparams["rate"])


def fit(logger: Any, module: Net | None = None, **options: Any) -> None:
    torch.manual_seed(0)
    rows = torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(TARGET))
    batches = torch.utils.data.DataLoader(rows, batch_size=20)
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there are few workers, and a function among the hyperparameters
        trainer = lightning.Trainer(
            max_epochs=2, accelerator="cpu", log_every_n_steps=1, logger=logger, **{**quiet, **options}
        )
        trainer.fit(module or Net(), batches, batches)


@pytest.fixture
def registry() -> Registry:
    return Registry(MemoryStore())


def test_it_logs_what_the_logger_of_lightning_logs_at_the_same_steps(registry: Registry, tmp_path: Path) -> None:
    csv = CSVLogger(str(tmp_path))
    with registry.run("churn") as run:
        fit([csv, RunLogger()])
    with (Path(csv.log_dir) / "metrics.csv").open(newline="") as file:
        rows = [{name: text for name, text in row.items() if text} for row in DictReader(file)]
    names = {name for row in rows for name in row} - {"step"}
    assert names == {"loss", "val_loss", "epoch"} == set(run.metrics)
    assert len(curve(run, "loss")) == 6
    assert {name: curve(run, name) for name in names} == {
        name: [(int(row["step"]), float(row[name])) for row in rows if name in row] for name in names
    }


def test_hyperparameters_become_parameters_and_what_no_record_keeps_is_left_out(registry: Registry) -> None:
    with registry.run("churn", params={"seed": 1}) as run:
        fit(RunLogger(), Net(rate=0.05, seed=2, layers=[3, 1]))
    assert saved(run).params == {"seed": 1, "rate": 0.05, "layers": [3, 1]}


def test_a_hyperparameter_that_looks_like_a_secret_is_an_error_before_anything_is_trained(registry: Registry) -> None:
    module = Net(password="maple-7-orchard")
    before = module.head.weight.clone()
    with registry.run("churn"), pytest.raises(SecretError, match=r"params\.password looks like a secret"):
        fit(RunLogger(), module)
    assert torch.equal(module.head.weight, before)


def test_without_a_run_training_does_not_begin() -> None:
    module = Net()
    before = module.head.weight.clone()
    with pytest.raises(NotFoundError, match="there is no run to log into"):
        fit(RunLogger(), module)
    assert torch.equal(module.head.weight, before)


def test_checkpoints_lie_below_the_name_of_the_model_and_the_id_of_the_run(registry: Registry, tmp_path: Path) -> None:
    with registry.run("churn") as run:
        fit(RunLogger(), enable_checkpointing=True, default_root_dir=tmp_path)
    (folder,) = {path.parent for path in tmp_path.rglob("*.ckpt")}
    assert folder == tmp_path / "churn" / run.id[:8] / "checkpoints"


def test_modules_reach_the_run_and_what_is_trained_is_the_same(registry: Registry) -> None:
    seen: list[Any] = []

    class Curious(Net):
        def on_train_start(self) -> None:
            seen.append(self.logger.experiment)

    def trained(logger: Any, make: Callable[[], Net]) -> Any:
        torch.manual_seed(5)
        module = make()
        fit(logger, module)
        return module.head.weight

    with registry.run("churn") as run:
        assert torch.equal(trained(RunLogger(), Curious), trained(False, Net))
    assert seen == [run]
