"""XGBoost: a booster as ``model.ubj``, its own binary JSON; the scikit-learn wrappers with their attributes beside it.

Why it needs trust: the format has no place for code, but the parser trusts what it reads. Of 1,500 damaged copies of a
model of 3 KiB, 88 killed the process (SIGSEGV) and 30 hung it in xgboost 3.2, at loading alone; see
``tests/serializers/test_xgboost.py``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from modelkeep.errors import IntegrityError
from modelkeep.serializers.native import WRAPPER, is_one_of, put_wrapper, set_attributes, wrapper
from modelkeep.serializers.plain import PlainSerializer
from modelkeep.serializers.port import Files, Sink
from modelkeep.serializers.strangers import reading

MODEL = "model.ubj"
_WRAPPERS = ("XGBClassifier", "XGBModel", "XGBRFClassifier", "XGBRFRegressor", "XGBRanker", "XGBRegressor")


class XgboostSerializer(PlainSerializer):
    """Takes ``xgboost.Booster`` and the wrappers, fitted or not; a class derived from these is left to others."""

    name = "xgboost"
    packages = ("xgboost", "xgboost-cpu", "numpy", "scikit-learn")

    def accepts(self, obj: object) -> bool:
        """See `Serializer.accepts`."""
        return is_one_of(obj, "xgboost", ("Booster", *_WRAPPERS))

    def save(self, obj: Any, sink: Sink) -> None:
        """See `Serializer.save`."""
        booster = obj
        if type(obj).__name__ != "Booster":
            attributes = dict(vars(obj))
            booster = attributes.pop("_Booster", None)
            if attributes.get("callbacks"):
                attributes["callbacks"] = _without_ours(attributes["callbacks"])
            put_wrapper(sink, obj, attributes)
        if booster is not None:
            sink.put(MODEL, booster.save_raw("ubj"))

    def load(self, files: Files, form: str, into: object | None) -> object:
        """See `Serializer.load`."""
        del form, into
        import xgboost

        booster = None
        if MODEL in files.names():
            booster, raw = xgboost.Booster(), files.read(MODEL)
            if not raw:  # which would end the process
                raise IntegrityError(f"{MODEL} is empty", path=MODEL)
            with reading(MODEL, "by xgboost"):
                booster.load_model(raw)
        if WRAPPER not in files.names():
            return booster
        facts = wrapper(files, _WRAPPERS)
        model = getattr(xgboost, facts["class"])()
        set_attributes(model, facts["attributes"])
        if booster is not None:
            if model.n_jobs:
                booster.set_param({"nthread": model.n_jobs})
            vars(model)["_Booster"] = booster
        return model


def _without_ours(callbacks: Iterable[Any]) -> list[Any] | None:
    """Wrappers take callbacks when they are made; one that logs into a run is no part of the model."""
    from modelkeep.integrations.callbacks.xgboost import RunCallback

    return [callback for callback in callbacks if not isinstance(callback, RunCallback)] or None


serializer = XgboostSerializer()
