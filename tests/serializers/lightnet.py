"""A Lightning module that other processes can import."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import lightning
import torch

from serializers.families import TARGET, X


class Light(lightning.LightningModule):  # type: ignore[misc]  # lightning is not followed
    def __init__(self, width: int = 3, rate: float = 0.1) -> None:  # noqa: ARG002  a hyperparameter
        super().__init__()
        self.save_hyperparameters()
        self.head = torch.nn.Linear(width, 1)

    def forward(self, rows: Any) -> Any:
        return self.head(rows)

    def training_step(self, batch: Any) -> Any:
        return (self.head(batch[0])[:, 0] - batch[1]).square().mean()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=self.hparams["rate"])


def trained_light(*, keep_trainer: bool = False) -> Any:
    torch.manual_seed(0)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    rows = torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(TARGET))
    batches = torch.utils.data.DataLoader(rows, batch_size=30)
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    model = Light()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there are few workers and no validation
        trainer = lightning.Trainer(max_epochs=2, accelerator="cpu", **quiet)
        trainer.fit(model, batches)
    if not keep_trainer:
        model.trainer = None
    return model
