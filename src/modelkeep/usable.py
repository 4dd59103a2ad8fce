"""What makes a version usable beside its model: its parts, its signature, predicting, and golden outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from modelkeep import _resolve
from modelkeep._trust import Trust
from modelkeep.errors import NotFoundError
from modelkeep.madeby import Made
from modelkeep.prediction import Predictor
from modelkeep.signature import Signature
from modelkeep.version import Part, Tolerance
from modelkeep.versionfacts import VersionFacts

if TYPE_CHECKING:
    from modelkeep.golden import GoldenCheck

EXAMPLE = "example"


@attrs.frozen
class VersionPart:
    """What a version holds beside the model, under a name; from `ModelVersion.parts`.

    Args:
        name: of the part, and of the folder in which its files lie.
        digest: of its files alone: parts of two versions are equal if this is.
        size: the bytes of its files, uncompressed.
        record: what wrote it, and of what class it is.
    """

    name: str
    digest: str = attrs.field(repr=False)
    size: int
    record: Part = attrs.field(repr=False)
    _version: VersionFacts = attrs.field(repr=str, eq=False)

    def load(self, *, trust: Trust = False) -> Any:
        """Give back the object. One request, and the data.

        Args:
            trust: as in `ModelVersion.load`; the gate is asked for this part, whatever the model is.

        Raises:
            TrustError: loading may run code, and no trust was granted.
            IntegrityError: a stored byte is wrong; names the object.
        """
        version = self._version
        (loaded,) = _resolve.load_together(version._line, version._found(), [self.name], trust=trust)  # noqa: SLF001  its own
        assert loaded is not None  # noqa: S101  for the type checker: the record names it
        return loaded.obj


class UsableVersion(Made, VersionFacts):
    """What `ModelVersion` has beside facts and the model itself."""

    @property
    def parts(self) -> dict[str, VersionPart]:
        """What it holds beside the model: preprocessing, example, golden inputs and outputs. One request, once.

        Example:
            >>> import modelkeep as mk, numpy as np
            >>> registry = mk.Registry("memory://parts")
            >>> v = registry.save({"w": np.ones(2)}, "churn", preprocess={"mean": np.zeros(2)})
            >>> v.parts["preprocess"].load()
            {'mean': array([0., 0.])}
        """
        manifest, record = self._opened[0].manifest, self.record
        found = {}
        for name, part in record.parts.items():
            own = manifest.within(name)
            size = sum(file.size for file in own.facts())
            found[name] = VersionPart(name, own.content(), size, part, self)
        return found

    @property
    def signature(self) -> Signature | None:
        """What the model takes and gives, if that was said at the save. One request, once."""
        return self.record.signature

    def example(self, *, trust: Trust = False) -> Any:
        """The first rows of the example that was given at the save. One request, and the data.

        Raises:
            NotFoundError: there is none.
            TrustError: loading it may run code, and no trust was granted.
        """
        return self._part(EXAMPLE, "example=inputs").load(trust=trust)

    def predict(self, inputs: Any, *, trust: Trust = False) -> Any:
        """What the model makes of *inputs*, checked and preprocessed before; as the framework gives it.

        The first call loads the model and its preprocessing, and this object keeps them for the next: a further call
        costs no request. Safe to use from several threads, as far as the model's own framework is.

        Args:
            inputs: what the preprocessing takes, or the model where there is none. Of a frame, columns that the
                signature does not name are left out, and the others put in its order.
            trust: as in `load`; needed by the call that loads.

        Raises:
            SignatureError: the inputs do not fit the signature; names each column, what came and what is wanted.
            TrustError: loading may run code, and no trust was granted.
            SerializerError: the object cannot predict.

        Example:
            >>> import modelkeep as mk
            >>> registry = mk.Registry("memory://predict", trust="cloudpickle")
            >>> v = registry.save(lambda rows: [2 * row for row in rows], "double", serializer="cloudpickle")
            >>> v.predict([1, 2])
            [2, 4]
        """
        kept = self.__dict__
        if "_predictor" not in kept:  # of two threads that meet here, both take the one that came first
            kept.setdefault("_predictor", Predictor(self._line, self._found, self.signature))
        return kept["_predictor"].predict(inputs, trust)

    def verify_golden(
        self, *, rtol: float | None = None, atol: float | None = None, trust: Trust = False
    ) -> GoldenCheck:
        """Let the model predict the golden inputs here, and compare with the outputs that were kept.

        Text, labels, whole numbers and truth values must be equal, floats lie within the tolerance, NaN equals NaN, and
        shapes must be the same. Keeps the loaded model as `predict` does.

        Args:
            rtol: how far an output may lie from what is expected, by what is expected; None: as was said at the save.
            atol: and how far beside, in absolute terms; None: as was said at the save.
            trust: as in `load`.

        Returns:
            What was found; true if all is as expected. A difference raises nothing.

        Raises:
            NotFoundError: there is no golden input.
            TrustError: loading may run code, and no trust was granted.

        Example:
            >>> import modelkeep as mk, numpy as np
            >>> registry = mk.Registry("memory://golden", trust="cloudpickle")
            >>> v = registry.save(lambda x: 2 * x, "double", serializer="cloudpickle", golden=np.arange(3))
            >>> print(v.verify_golden())
            3 values are as expected
        """
        from modelkeep.golden import GOLDEN_INPUTS, GOLDEN_OUTPUTS, GoldenCheck, moved_packages

        inputs, outputs = self._part(GOLDEN_INPUTS, "golden=inputs"), self._part(GOLDEN_OUTPUTS, "golden=inputs")
        kept = self.record.golden or Tolerance()
        tolerance = Tolerance(kept.rtol if rtol is None else rtol, kept.atol if atol is None else atol)
        now = self.predict(inputs.load(trust=trust), trust=trust)
        return GoldenCheck.of(outputs.load(trust=trust), now, tolerance, moved_packages(self.record))

    def _part(self, name: str, option: str) -> VersionPart:
        found = self.parts.get(name)
        if found is None:
            raise NotFoundError(
                f"{self.ref} has no {name}; it has {', '.join(self.record.parts) or 'no parts'}. Save a version with "
                f"save(…, {option})",
                ref=self.ref,
                part=name,
            )
        return found
