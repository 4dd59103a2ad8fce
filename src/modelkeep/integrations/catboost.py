"""CatBoost: models as ``model.cbm``, with the parameters of the wrapper beside it.

Why it needs trust: a ``.cbm`` is a flatbuffer with options as JSON and names no code, but not all of it is verified.
Of 1,500 copies of a model of three trees with one or two bytes changed, 27 ended the process by SIGSEGV in catboost
1.2.10 at loading, and 58 by the end of a prediction; see ``tests/serializers/test_catboost.py``.
"""

from __future__ import annotations

from typing import Any

from modelkeep.serializers.native import is_one_of, put_wrapper, wrapper
from modelkeep.serializers.plain import PlainSerializer
from modelkeep.serializers.port import Files, Sink
from modelkeep.serializers.strangers import reading

MODEL = "model.cbm"
_IMPORTANCES = ("_loss_value_change", "_prediction_values_change")  # which a .cbm does not hold
_WRAPPERS = ("CatBoost", "CatBoostClassifier", "CatBoostRanker", "CatBoostRegressor")


class CatboostSerializer(PlainSerializer):
    """Takes ``CatBoost`` and its three estimators, fitted or not; a class derived from these is left to others."""

    name = "catboost"
    packages = ("catboost", "numpy")

    def accepts(self, obj: object) -> bool:
        """See `Serializer.accepts`."""
        return is_one_of(obj, "catboost", _WRAPPERS)

    def save(self, obj: Any, sink: Sink) -> None:
        """See `Serializer.save`."""
        kept = {name: vars(obj)[name] for name in _IMPORTANCES if name in vars(obj)}
        put_wrapper(sink, obj, obj.get_params(deep=False), importances=kept)
        if obj.is_fitted():
            obj.save_model(str(sink.folder() / MODEL))

    def load(self, files: Files, form: str, into: object | None) -> object:
        """See `Serializer.load`."""
        del form, into
        import catboost

        facts = wrapper(files, _WRAPPERS)
        with reading(MODEL, "by catboost"):
            kind, params = getattr(catboost, facts["class"]), facts["attributes"]
            model = kind(params) if kind is catboost.CatBoost else kind(**params)
            if MODEL in files.names():
                model.load_model(blob=bytes(files.read(MODEL)))
                vars(model)["_n_features_in"] = len(model.feature_names_)  # which catboost forgets
                vars(model).update(
                    {name: facts["importances"][name] for name in _IMPORTANCES if name in facts["importances"]}
                )
        return model


serializer = CatboostSerializer()
