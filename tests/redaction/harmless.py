"""Parameters of real training scripts that are no secrets: what estimators and trainers take, with their defaults."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator
from typing import Any

ODD: dict[str, Any] = {
    "max_tokens": 512,
    "tokenizer": "bpe",
    "token_count": 3,
    "secret_sauce": True,
    "password": None,
    "n_tokens": 10,
    "pad_token": "<pad>",
    "eos_token": "</s>",
    "mask_token": "[MASK]",
    "bos_token": "<|begin_of_text|>",
    "stop_token": "\n\n",
    "cls_token": "[CLS]",
    "unk_token": "unk",
    "token_type": "wordpiece",
    "tokens": ["a", "b"],
    "token_pattern": r"(?u)\b\w\w+\b",
    "special_tokens": {"pad_token": "<pad>"},
    "new_tokens": ["<img_1>", "<img_2>"],
    "sort_key": "created_at",
    "primary_key": "user_id",
    "key": "customer_id_2",
    "keys": ["a1", "b2"],
    "key_dim": 64,
    "authors": "Ada Lovelace",
    "author": "ada",
    "authority": "example",
    "compass": "north",
    "passes": 3,
    "bypass": "x",
    "pass_through": True,
    "passthrough": "passthrough",
    "session": "2026-03-01",
    "signature": "serving_default",
    "revision": "9d1e5b3a7f2c4e6d8b0a1c3e5f7092b4d6e8f0a1",
    "commit": "a1" * 20,
    "digest": "0f" * 32,
    "model": "meta-llama/Llama-3.1-8B-Instruct",
    "checkpoint": "s3://models/churn/2026-03-01T12-00-00Z/epoch=12.ckpt",
    "run_id": "0b52a9d1c3f84e6fa7c1d2e3f4a5b6c7",
    "uuid": "7d2b1a90-3c4e-4f5a-9b8c-1d2e3f4a5b6c",
    "path": "/data/warehouse/customers/2026/03/part-00000-c000.snappy.parquet",
    "url": "https://example.org/a@2x.csv",
    "index_url": "https://pypi.org/simple",
    "database": "postgresql://db.example.org:5432/sales",
    "seed": 123456789,
    "store": "http://localhost:9000/bucket?list-type=2&owner=ada@example.org",
    "email": "ada@example.org",
    "token_env": "HF_TOKEN",
    "password_file": "/run/secrets/db",
    "secret_name": "prod/db",
    "api_key_env_var": "KEY",
    "password_from": "vault",
    "hub_token": "${HF_TOKEN}",
    "api_key": "<your key>",
    "token": None,
    "use_auth_token": True,
    "loss": "BinaryFocalCrossentropy",
    "architecture": "XLMRobertaForSequenceClassification",
    "cron": "0 3 * * *",
    "class": "sentence_transformers.losses.MultipleNegativesRankingLoss",
    "prompt": "Basic classification of a text",
    "image": "ghcr.io/acme/train@sha256:" + "ab12" * 16,
    "docker": "python:3.11-slim",
    "lock": "sha256-" + "Ab1" * 14,
    "auth": "basic",
    "author_token_limit": 5,
    "secretary": "ada",
    "credits": 12,
    "keyword": "token",
    "pattern": "a=b",
    "feature_names": ["password_length", "token_count", "n_secrets"],
    "target": "has_password",
    "by": "session_id",
}


def parameters() -> Iterator[tuple[str, Any]]:
    """Name and default of every parameter of every scikit-learn estimator, of trainers, and odd ones by hand."""
    yield from ODD.items()
    yield from _of_sklearn()
    yield from _of_trainers()


def _of_sklearn() -> Iterator[tuple[str, Any]]:
    from sklearn.utils import all_estimators

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _, kind in all_estimators():
            try:
                yield from kind().get_params().items()
            except TypeError:  # it wants another estimator
                continue


def _of_trainers() -> Iterator[tuple[str, Any]]:
    import lightgbm
    import xgboost
    from transformers import TrainingArguments

    for kind in (xgboost.XGBClassifier, lightgbm.LGBMClassifier, lightgbm.LGBMRanker):
        yield from kind().get_params().items()
    for field in dataclasses.fields(TrainingArguments):
        made = field.default_factory
        yield field.name, made() if made is not dataclasses.MISSING else field.default
