"""What a save takes along beside the model: preprocessing, an example with the signature, golden inputs and outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import attrs

from modelkeep._trust import Grant, tier_of
from modelkeep.curves import HISTORY
from modelkeep.errors import InvalidValueError, SerializerError, shown
from modelkeep.golden import GOLDEN_INPUTS, GOLDEN_OUTPUTS, Golden
from modelkeep.prediction import PREPROCESS, Pipeline
from modelkeep.samples import family, head, schema_of
from modelkeep.serializers.packages import installed_versions
from modelkeep.serializers.port import Serializer
from modelkeep.signature import Signature
from modelkeep.sink import SaveSink
from modelkeep.sources import Source
from modelkeep.usable import EXAMPLE
from modelkeep.version import Part

_ROWS = 5  # of an example, at most


@attrs.frozen(kw_only=True)
class Beside:
    """What a caller gives beside the model, see `Registry.save`; a run gives its curves."""

    preprocess: Any = None
    example: Any = None
    signature: Signature | Mapping[str, Any] | None = None
    golden: Any = None
    history: Mapping[str, Any] | None = None


@attrs.frozen
class _Given:
    """A part before it is saved."""

    name: str
    obj: Any
    serializer: Serializer


@attrs.frozen
class Gathered:
    """The files of a model and of its parts, and what the record says of these.

    Args:
        sources: the files.
        said: fields of the record.
    """

    sources: Sequence[Source]
    said: dict[str, Any]
    _sinks: Sequence[SaveSink]

    def size(self) -> int:
        """The bytes of all files."""
        return sum(source.size for source in self.sources)

    def snapshot(self) -> None:
        """See `SaveSink.snapshot`."""
        for sink in self._sinks:
            sink.snapshot()


@contextmanager
def gathered(model: Any, serializer: Serializer, beside: Beside, granted: Grant) -> Iterator[Gathered]:
    """Serialize a model and what was given beside it; temporary files are gone when the block ends.

    Raises:
        SignatureError: the example or the golden inputs do not fit the signature.
        InvalidValueError: the model has files in a folder of a part.
        SerializerError: no serializer takes a part.
    """
    signature = _signature(beside)
    golden, signature = _replayed(model, serializer, beside, signature)
    parts = _parts(beside, golden, granted)
    with ExitStack() as until:
        sinks = [until.enter_context(SaveSink()) for _ in range(1 + len(parts))]
        serializer.save(model, sinks[0])
        sources = sinks[0].sources()
        _check_apart(sources, parts)
        for part, sink in zip(parts, sinks[1:], strict=True):
            sources += _saved(part, sink)
        said = {
            "parts": {part.name: _facts(part) for part in parts},
            "signature": signature,
            "golden": None if golden is None else golden.tolerance,
            "tier": _tier(serializer),
        }
        yield Gathered(sources, said, sinks)


@contextmanager
def gathered_curves(history: Mapping[str, Any], granted: Grant) -> Iterator[Gathered]:
    """The files of a run's curves, and what the record says of them, where there is no model beside."""
    parts = _parts(Beside(history=history), None, granted)
    with ExitStack() as until:
        sinks = [until.enter_context(SaveSink()) for _ in parts]
        sources = [source for part, sink in zip(parts, sinks, strict=True) for source in _saved(part, sink)]
        yield Gathered(sources, {"parts": {part.name: _facts(part) for part in parts}}, sinks)


def _signature(beside: Beside) -> Signature | None:
    """The signature that was given, or that of the example.

    Raises:
        SignatureError: the example does not fit the one that was given.
    """
    given = beside.signature
    if given is None:
        return None if beside.example is None else Signature.infer(beside.example)
    if isinstance(given, Mapping):
        given = Signature.from_json(dict(given))
    if not isinstance(given, Signature):
        raise InvalidValueError(
            f"signature is {shown(given):.200}, a {type(given).__name__}; make one with "
            "modelkeep.signature.Signature.infer(inputs, outputs), or give example=inputs",
            key="signature",
        )
    given.to_json()  # refused here, where it is too long to be kept
    if beside.example is not None:
        given.check(beside.example)
    return given


def _replayed(
    model: Any, serializer: Serializer, beside: Beside, signature: Signature | None
) -> tuple[Golden | None, Signature | None]:
    """Golden inputs with their outputs; a signature that was inferred learns from these what the model gives."""
    if beside.golden is None:
        return None, signature
    golden = Golden.of(beside.golden)
    golden.tolerance  # noqa: B018  refused before the model has predicted
    if golden.has_outputs and signature is not None:
        signature.check(golden.inputs)
    if not golden.has_outputs:
        pipeline = Pipeline(serializer, model, beside.preprocess, signature)
        golden = attrs.evolve(golden, outputs=pipeline(golden.inputs))
    if signature is not None and beside.signature is None:
        with suppress(InvalidValueError):  # outputs of which nothing can be told
            signature = attrs.evolve(signature, outputs=schema_of(golden.outputs))
    return golden, signature


def _parts(beside: Beside, golden: Golden | None, granted: Grant) -> list[_Given]:
    found = []
    if beside.preprocess is not None:
        found.append(_Given(PREPROCESS, beside.preprocess, _for_object(PREPROCESS, beside.preprocess, granted)))
    values: dict[str, Any] = {} if beside.example is None else {EXAMPLE: head(beside.example, _ROWS)}
    if golden is not None:
        values |= {GOLDEN_INPUTS: golden.inputs, GOLDEN_OUTPUTS: golden.outputs}
    if beside.history:
        values[HISTORY] = dict(beside.history)
    for name, value in values.items():
        kept = keepable(value)
        found.append(_Given(name, kept, _for_values(name, kept, granted)))
    return found


def keepable(value: Any) -> Any:
    """The same, with arrays of objects that all are texts or numbers of one kind as arrays of these.

    Example:
        >>> import numpy as np
        >>> keepable(np.array(["yes", "no"], dtype=object)).dtype.kind
        'U'
    """
    if isinstance(value, Mapping):
        return {name: keepable(part) for name, part in value.items()}
    if family(value) != "numpy" or value.dtype != object:
        return value
    import numpy as np

    listed = value.reshape(-1).tolist()
    kinds = {type(one) for one in listed}
    if len(kinds) != 1 or not kinds <= {str, bool, int, float}:
        return value
    plain = np.array(listed)
    return plain.reshape(value.shape) if plain.dtype != object and plain.tolist() == listed else value


def _for_object(name: str, obj: Any, granted: Grant) -> Serializer:
    """The serializer that claims *obj*; cloudpickle for a function or transformer that nobody claims."""
    from modelkeep.serializers import discovery

    found = discovery.claimant(obj, granted.allows)
    if found is None:
        if not callable(obj) and not callable(getattr(obj, "transform", None)):
            raise _unkeepable(name, obj)
        found = discovery.by_name("cloudpickle")
    return found


def _for_values(name: str, obj: Any, granted: Grant) -> Serializer:
    """The serializer that claims *obj*; a tree where that holds numbers and text alone, and no array."""
    from modelkeep.serializers import discovery

    found = discovery.claimant(obj, granted.allows)
    if found is None:
        found = discovery.by_name("tree")
        try:
            with SaveSink() as sink:
                found.save(obj, sink)
        except SerializerError:
            raise _unkeepable(name, obj) from None
    return found


def _unkeepable(name: str, obj: Any) -> SerializerError:
    kind = f"{type(obj).__module__}.{type(obj).__qualname__}"
    return SerializerError(
        f"the part {name!r} cannot be kept: no serializer takes a {kind}; give arrays, a frame, or a dict of arrays",
        part=name,
    )


def _check_apart(sources: Sequence[Source], parts: Sequence[_Given]) -> None:
    names = {part.name for part in parts}
    for source in sources:
        first = source.path.partition("/")[0]
        if first.casefold() in names:  # some disks do not tell capitals apart
            raise InvalidValueError(
                f"the model has a file {source.path!r}, and {first.casefold()!r} is the folder of the part that was "
                "given; rename the model's own, or leave the part out",
                path=source.path,
            )


def _saved(part: _Given, sink: SaveSink) -> list[Source]:
    try:
        part.serializer.save(part.obj, sink)
        return [attrs.evolve(source, path=f"{part.name}/{source.path}") for source in sink.sources()]
    except SerializerError as error:
        raise _unkeepable(part.name, error) from error


def _facts(part: _Given) -> Part:
    kind = type(part.obj)
    return Part(
        serializer=part.serializer.name,
        serializer_format=part.serializer.format,
        packages=installed_versions(part.serializer.packages),
        type=f"{kind.__module__}.{kind.__qualname__}",
    )


class _Unseen:
    """Stands for files that nobody looks at."""


def _tier(serializer: Serializer) -> str | None:
    """What the gate says of the form of the model; None where the serializer looks at the files to tell it."""
    unseen: Any = _Unseen()
    with suppress(Exception):  # whoever looks gets an error, and a stranger's serializer may raise any
        return tier_of(serializer.form(unseen, None)).value
    return None
