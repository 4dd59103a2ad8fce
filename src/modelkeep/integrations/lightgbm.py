"""LightGBM: a booster as ``model.txt``, its own text; the scikit-learn wrappers with their attributes beside it.

Why it needs trust: the format has no place for code, but the parser trusts what it reads. Of 300 damaged copies of a
model of three trees, 58 ended the process by SIGSEGV and 54 by SIGABRT in lightgbm 4.7, at loading alone; see
``tests/serializers/test_lightgbm.py``.
"""

from __future__ import annotations

from typing import Any

from modelkeep.serializers.native import WRAPPER, is_one_of, put_wrapper, set_attributes, wrapper
from modelkeep.serializers.plain import PlainSerializer
from modelkeep.serializers.port import Files, Sink
from modelkeep.serializers.strangers import reading

MODEL = "model.txt"
_WRAPPERS = ("LGBMClassifier", "LGBMModel", "LGBMRanker", "LGBMRegressor")
_MADE_ANEW = ("_Booster", "_le", "_class_map")


class LightgbmSerializer(PlainSerializer):
    """Takes ``lightgbm.Booster`` and the wrappers, fitted or not; a class derived from these is left to others."""

    name = "lightgbm"
    packages = ("lightgbm", "numpy", "scikit-learn")

    def accepts(self, obj: object) -> bool:
        """See `Serializer.accepts`."""
        return is_one_of(obj, "lightgbm", ("Booster", *_WRAPPERS))

    def save(self, obj: Any, sink: Sink) -> None:
        """See `Serializer.save`; a booster is kept with all its trees, and which iteration was the best."""
        booster = obj
        if type(obj).__name__ != "Booster":
            attributes = {name: value for name, value in vars(obj).items() if name not in _MADE_ANEW}
            booster = vars(obj).get("_Booster")
            best = booster and {"best_iteration": booster.best_iteration, "best_score": booster.best_score}
            put_wrapper(sink, obj, attributes, booster=best)
        else:
            put_wrapper(sink, obj, {"best_iteration": obj.best_iteration, "best_score": obj.best_score})
        if booster is not None:
            sink.put(MODEL, booster.model_to_string(num_iteration=-1).encode())

    def load(self, files: Files, form: str, into: object | None) -> object:
        """See `Serializer.load`."""
        del form, into
        import lightgbm

        facts = wrapper(files, ("Booster", *_WRAPPERS))
        booster = None
        if MODEL in files.names():
            with reading(MODEL, "by lightgbm"):
                booster = lightgbm.Booster(model_str=str(files.read(MODEL), "utf-8"))
        if facts["class"] == "Booster":
            set_attributes(booster, facts["attributes"])
            return booster
        model = getattr(lightgbm, facts["class"])()
        set_attributes(model, facts["attributes"])
        if booster is not None:
            set_attributes(booster, facts["booster"])
            vars(model)["_Booster"] = booster
            _label(model)
        return model


def _label(model: Any) -> None:
    """The encoder of the classes, which `predict` asks."""
    classes = vars(model).get("_classes")
    if classes is None:
        return
    with reading(WRAPPER, "by scikit-learn"):
        from sklearn.preprocessing import LabelEncoder

        encoder = LabelEncoder()
        encoder.classes_ = classes
        vars(model).update(_le=encoder, _class_map=dict(zip(classes, encoder.transform(classes), strict=True)))


serializer = LightgbmSerializer()
