"""The demo: real models are trained, saved, promoted, rolled back, and loaded in a second process.

It uses nothing but the public face of modelkeep, so it can be read as an example.
"""

from __future__ import annotations

import io
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import attrs

import modelkeep as mk

INDENT = 3
SEED = 7
HOLDOUT = 0.25  # of all rows
_MOVES = 3  # of production: the best, the mistake, and back
HASTY_ROWS = 24  # so few that one cut through one column tells them all apart, which does not hold elsewhere

SECOND_PROCESS = """\
import io, sys
import numpy as np
import modelkeep as mk

model = mk.Registry(sys.argv[1]).load("tumour@production")
rows = np.load(io.BytesIO(sys.stdin.buffer.read()))
sys.stdout.buffer.write(model.predict_proba(rows).tobytes())
"""


class Page(Protocol):
    """Where the demo tells its story."""

    def say(self, text: str, *, indent: int = 0) -> None:
        """Show a paragraph, so many columns further in."""
        ...

    def heading(self, text: str) -> None:
        """Show what comes next."""
        ...

    def command(self, text: str) -> None:
        """Show a command that the reader can copy."""
        ...

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str | int | float | None]]) -> None:
        """Show rows below the names of their columns."""
        ...

    def history(self, events: Iterable[mk.Event]) -> None:
        """Show what happened to a model."""
        ...


@attrs.frozen(eq=False)
class Split:
    """Rows to learn from, and a holdout to measure on; the same in every run."""

    train: Any
    train_labels: Any
    holdout: Any
    holdout_labels: Any

    @classmethod
    def of(cls, name: str) -> Split:
        """Split a data set that scikit-learn ships: ``breast_cancer`` or ``digits``."""
        from sklearn import datasets
        from sklearn.model_selection import train_test_split

        rows, labels = getattr(datasets, f"load_{name}")(return_X_y=True)
        train, holdout, train_labels, holdout_labels = train_test_split(
            rows, labels, test_size=HOLDOUT, random_state=SEED, stratify=labels
        )
        return cls(train, train_labels, holdout, holdout_labels)


@attrs.frozen(kw_only=True)
class Told:
    """What the demo did.

    Args:
        url: where the registry lies.
        saved: the versions that it saved, in order.
        moves: the last of tumour@production, in order: to the best, to the mistake, and back.
        rows: of the holdout, that the second process predicted.
        equal: probabilities of that process that equal those of this one, bit for bit: all of them.
    """

    url: str
    saved: tuple[mk.ModelVersion, ...]
    moves: tuple[mk.Event, ...]
    rows: int
    equal: int


def run(url: str, page: Page) -> Told:
    """Tell the whole story in the registry at *url*: a new one, or one that it carries on.

    Returns:
        What was done.

    Raises:
        ModelkeepError: scikit-learn is missing, the second process failed, or it predicted something else.
        InvalidError: the registry lies in memory, where a second process cannot see it.
    """
    registry = mk.Registry(url)
    if registry.url.startswith("memory:"):
        raise mk.InvalidError(f"the demo loads in a second process, which cannot see {url}; give a folder")
    _check_sklearn()
    page.say(f"The registry is {registry.url}: files, no server and no database.")
    tumour = Split.of("breast_cancer")
    saved = _save_three(registry, tumour, page)
    best, model = max(saved, key=lambda pair: float(pair[0].metrics["roc_auc"]))
    _promote_best(best, page)
    hasty = _make_a_mistake(registry, tumour, best, page)
    digits = _save_digits(registry, page)
    equal = _load_elsewhere(url, model, tumour, page)
    moves = [one for one in _look_back(registry, page) if one.subject == "production"]
    _say_what_next(url, page)
    return Told(
        url=registry.url,
        saved=(*(version for version, _ in saved), hasty, digits),
        moves=tuple(moves[-_MOVES:]),
        rows=len(tumour.holdout),
        equal=equal,
    )


def _check_sklearn() -> None:
    try:
        import sklearn  # noqa: F401  only whether it is there
    except ModuleNotFoundError as error:
        raise mk.ModelkeepError('the demo trains with scikit-learn: pip install "modelkeep[demo]"') from error


# -- the story -----------------------------------------------------------------------------------------------


def _save_three(registry: mk.Registry, split: Split, page: Page) -> list[tuple[mk.ModelVersion, Any]]:
    """Save three kinds of model; returns each version with its model."""
    page.heading("1. Train three models on breast cancer data, and save each as a version of 'tumour'")
    saved: list[tuple[mk.ModelVersion, Any]] = []
    for kind, params, notes in (
        ("logistic regression", {"C": 1.0, "max_iter": 1000}, "the baseline: scaled, linear"),
        ("random forest", {"n_estimators": 60, "max_depth": 6}, "does it need interactions?"),
        ("gradient boosting", {"n_estimators": 60, "max_depth": 2}, "shallow trees, one after another"),
    ):
        model = _trained(kind, params, split.train, split.train_labels)
        version = registry.save(
            model,
            "tumour",
            params={"estimator": kind, "rows": len(split.train), **params},
            metrics=_measured(model, split),
            notes=notes,
            parent=saved[-1][0] if saved else None,
            bump="minor" if saved else "major",
        )
        page.say(f"{version}: {kind}, {_spelled(version.metrics)}, {version.size:,} bytes", indent=INDENT)
        saved.append((version, model))
    return saved


def _promote_best(best: mk.ModelVersion, page: Page) -> None:
    best.promote("production", reason=f"best roc_auc of three: {best.metrics['roc_auc']:.4f}")
    page.heading("2. Promote the best of them")
    page.say(f"tumour@production is now {best}: roc_auc {best.metrics['roc_auc']:.4f} on the holdout", indent=INDENT)


def _make_a_mistake(registry: mk.Registry, split: Split, best: mk.ModelVersion, page: Page) -> mk.ModelVersion:
    """Promote a model that is worse, and roll it back; returns it."""
    params = {"n_estimators": 1, "max_depth": 1, "learning_rate": 1.0}
    rows, labels = split.train[:HASTY_ROWS], split.train_labels[:HASTY_ROWS]
    model = _trained("gradient boosting", params, rows, labels)
    hasty = registry.save(
        model,
        "tumour",
        params={"estimator": "gradient boosting", "rows": len(rows), **params},
        metrics=_measured(model, split),
        notes="in a hurry: few rows, one tree of depth 1",
        parent=best,
        bump="patch",
    ).promote("production", reason=f"accuracy {model.score(rows, labels):.4f} on the rows that it learned from")
    page.heading("3. Promote a worse one by mistake, and roll it back")
    page.say(
        f"{hasty} learned from {len(rows)} rows only, and is promoted; on the holdout: {_spelled(hasty.metrics)}",
        indent=INDENT,
    )
    reason = f"roc_auc on the holdout fell from {best.metrics['roc_auc']:.4f} to {hasty.metrics['roc_auc']:.4f}"
    back = registry.model("tumour").rollback("production", expect=hasty, reason=reason)
    page.say(f"rolled back: tumour@production is {back} again, because {reason}", indent=INDENT)
    return hasty


def _save_digits(registry: mk.Registry, page: Page) -> mk.ModelVersion:
    split = Split.of("digits")
    params = {"C": 10.0, "gamma": 0.001}
    model = _trained("support vectors", params, split.train, split.train_labels)
    version = registry.save(
        model,
        "digits",
        params={"estimator": "support vectors", "rows": len(split.train), **params},
        metrics={"accuracy": float(model.score(split.holdout, split.holdout_labels))},
        notes="8 x 8 pixels, ten digits",
        parent=None,
        bump="minor",
    )
    page.heading("4. Save a second model, 'digits', beside it")
    page.say(f"{version}: support vectors, {_spelled(version.metrics)}, {version.size:,} bytes", indent=INDENT)
    return version


def _load_elsewhere(url: str, model: Any, split: Split, page: Page) -> int:
    """Load what is in production in a fresh Python; returns how many probabilities equal those of this one: all."""
    page.heading("5. Load tumour@production in a second process, and predict")
    page.say(
        "scikit-learn models are pickles, and a pickle can run any code while it loads: "
        "this one is read by a list of what it may build, and anything else is refused.",
        indent=INDENT,
    )
    here = model.predict_proba(split.holdout)
    there = _predicted_elsewhere(url, split.holdout)
    if there != here.tobytes():
        raise mk.ModelkeepError(
            f"the second process predicts something else for the {len(here)} rows of the holdout; "
            "see whether it runs the same scikit-learn and numpy"
        )
    page.say(
        f"{len(here)} rows: the {here.size} probabilities of the second process equal those of this one bit for bit",
        indent=INDENT,
    )
    return int(here.size)


def _predicted_elsewhere(url: str, rows: Any) -> bytes:
    import numpy as np

    sent = io.BytesIO()
    np.save(sent, rows)
    second = subprocess.run(  # noqa: S603  this Python, and a text that stands above
        [sys.executable, "-c", SECOND_PROCESS, url], input=sent.getvalue(), stdout=subprocess.PIPE, check=False
    )
    if second.returncode:
        raise mk.ModelkeepError(f"the second process ended with status {second.returncode}; it says why above")
    return second.stdout


def _look_back(registry: mk.Registry, page: Page) -> Iterable[mk.Event]:
    tumour = registry.model("tumour")
    page.heading("6. The history of 'tumour': who did what, when, and why")
    history = tumour.history()
    page.history(history)
    page.heading("7. Its versions compared, newest first")
    columns = ("version", "estimator", "rows", "accuracy", "roc_auc", "bytes", "made from", "alias")
    page.table(columns, [_compared(version) for version in tumour.versions()])
    return history


def _compared(version: mk.ModelVersion) -> list[str | int | float | None]:
    params, metrics = version.params, version.metrics
    return [
        str(version),
        params.get("estimator"),
        params.get("rows"),
        metrics.get("accuracy"),
        metrics.get("roc_auc"),
        version.size,
        ", ".join(f"{parent.name}:{parent.number}" for parent in version.parents),
        ", ".join(version.aliases),
    ]


def _say_what_next(url: str, page: Page) -> None:
    place = json.dumps(url, ensure_ascii=False)
    good = 'lambda v: v.metrics["roc_auc"] > 0.99'
    code = f'import modelkeep as mk; print(mk.Registry({place}).model("tumour").versions({good}))'
    page.heading("What to try next")
    page.say("Who put what into production, and why:")
    page.command(_quoted(*_called("modelkeep"), "log", "tumour", "--registry", url))
    page.say("Is every byte as it was written?")
    page.command(_quoted(*_called("modelkeep"), "verify", "--registry", url))
    page.say("From Python, the versions with a roc_auc over 0.99:")
    page.command(_quoted(*_called("python"), "-c", code))


# -- what it stands on ---------------------------------------------------------------------------------------


def _trained(kind: str, params: Mapping[str, Any], rows: Any, labels: Any) -> Any:
    from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    if kind == "logistic regression":
        return make_pipeline(StandardScaler(), LogisticRegression(**params)).fit(rows, labels)
    estimators = {
        "random forest": RandomForestClassifier,
        "gradient boosting": GradientBoostingClassifier,
        "support vectors": SVC,
    }
    return estimators[kind](random_state=SEED, **params).fit(rows, labels)


def _measured(model: Any, split: Split) -> dict[str, float]:
    from sklearn.metrics import roc_auc_score

    chances = model.predict_proba(split.holdout)[:, 1]
    return {
        "accuracy": float(model.score(split.holdout, split.holdout_labels)),
        "roc_auc": float(roc_auc_score(split.holdout_labels, chances)),
    }


def _spelled(metrics: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())


def _called(command: str) -> list[str]:
    """How the shell calls ``python`` or ``modelkeep`` so that it is this very one: by name if that finds it."""
    found = shutil.which(command)
    if found and Path(found).parent == Path(sys.executable).parent:
        return [command]
    return [sys.executable] if command == "python" else [sys.executable, "-m", command]


def _quoted(*words: str) -> str:
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)
