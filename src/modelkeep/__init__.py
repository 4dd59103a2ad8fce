"""Modelkeep versions machine-learning models with no server and no database.

```python
import modelkeep as mk

registry = mk.Registry("models")                       # a folder; made by the first save
v = registry.save(model, "churn", metrics={"auc": 0.91})
v.promote("production")
model = registry.load("churn@production")
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelkeep._about import __version__

if TYPE_CHECKING:
    from modelkeep._transfer import Transfer
    from modelkeep.diagnosis import Diagnosis
    from modelkeep.errors import (
        ConflictError,
        IntegrityError,
        InvalidError,
        ModelkeepError,
        NotFoundError,
        StoreError,
        TrustError,
        UnsettledError,
    )
    from modelkeep.events import Event
    from modelkeep.model import RegisteredModel
    from modelkeep.modelversion import ModelVersion
    from modelkeep.ref import ModelRef
    from modelkeep.registry import Registry
    from modelkeep.saving import PendingSave
    from modelkeep.settlement import Settlement
    from modelkeep.storage import Report
    from modelkeep.stores import open_store
    from modelkeep.stores.retries import Retries
    from modelkeep.system import System

_WHERE = {
    "ConflictError": "errors",
    "Diagnosis": "diagnosis",
    "Event": "events",
    "IntegrityError": "errors",
    "InvalidError": "errors",
    "ModelRef": "ref",
    "ModelVersion": "modelversion",
    "ModelkeepError": "errors",
    "NotFoundError": "errors",
    "PendingSave": "saving",
    "RegisteredModel": "model",
    "Registry": "registry",
    "Report": "storage",
    "Retries": "stores.retries",
    "Settlement": "settlement",
    "StoreError": "errors",
    "System": "system",
    "Transfer": "_transfer",
    "TrustError": "errors",
    "UnsettledError": "errors",
    "open_store": "stores",
}

__all__ = [
    "ConflictError",
    "Diagnosis",
    "Event",
    "IntegrityError",
    "InvalidError",
    "ModelRef",
    "ModelVersion",
    "ModelkeepError",
    "NotFoundError",
    "PendingSave",
    "RegisteredModel",
    "Registry",
    "Report",
    "Retries",
    "Settlement",
    "StoreError",
    "System",
    "Transfer",
    "TrustError",
    "UnsettledError",
    "__version__",
    "open_store",
]


def __getattr__(name: str) -> Any:
    # a name costs its module when it is first used: `import modelkeep` alone loads next to nothing
    if name not in _WHERE:
        raise AttributeError(f"module 'modelkeep' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"modelkeep.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
