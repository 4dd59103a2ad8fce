"""prophet: fitted models as prophet's own JSON.

Data tier. `prophet.serialize` sets attributes of a fixed list to numbers, text, and tables that pandas reads from
JSON text, never from a path. One text of it is looked up in a module: the country whose holidays apply, as an
attribute of the package ``holidays`` that `predict` calls; one that is no country there is refused. Nothing of the
optimiser is kept: the model predicts, and cannot be trained on.
"""

from __future__ import annotations

import json
from typing import Any

from modelkeep.errors import IntegrityError, SerializerError
from modelkeep.serializers.arrays import Reader
from modelkeep.serializers.plain import PlainSerializer
from modelkeep.serializers.port import Files, Sink
from modelkeep.serializers.strangers import read_json, reading

MODEL = "model.json"


class ProphetSerializer(PlainSerializer):
    """See the module."""

    name = "prophet"
    packages = ("prophet", "numpy", "pandas", "holidays")

    def accepts(self, obj: object) -> bool:
        """See `Serializer.accepts`: a `Prophet`, but no subclass."""
        return (type(obj).__module__, type(obj).__name__) == ("prophet.forecaster", "Prophet")

    def save(self, obj: Any, sink: Sink) -> None:
        """See `Serializer.save`."""
        from prophet.serialize import model_to_json

        try:
            text = model_to_json(obj)
        except Exception as error:  # a model that is not fitted; a regressor of an odd type
            raise SerializerError(
                f"the model cannot be kept as prophet's JSON ({error}); fit it first, or save with "
                "serializer='cloudpickle'"
            ) from error
        sink.put(MODEL, text.encode())

    def load(self, files: Files, form: str, into: object | None) -> object:
        """See `Serializer.load`."""
        from prophet.serialize import model_from_dict

        del form, into
        told = read_json(files, MODEL)
        with reading(MODEL):
            _check_country(told)
            model: object = model_from_dict(told)
        return model

    def tensors(self, files: Files) -> dict[str, Reader]:
        """See `Serializer.tensors`: none."""
        del files
        return {}


def _check_country(told: dict[str, Any]) -> None:
    country = told["country_holidays"]
    if country is None:
        return
    import holidays
    from holidays.registry import EntityLoader  # what imports one of the package's own countries when it is called

    named = getattr(holidays, country, None) if isinstance(country, str) and country.isidentifier() else None
    if not isinstance(named, EntityLoader):
        raise IntegrityError(f"{MODEL} wants the holidays of {json.dumps(country)[:80]}, which is no country")


serializer = ProphetSerializer()
