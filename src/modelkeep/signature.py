"""`Signature`: what a model takes and gives: names, dtypes, shapes and missing values. Stored as JSON Schema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Self

import attrs

from modelkeep.errors import InvalidValueError, shown
from modelkeep.schema import Columns, Lists, Schema, Values, read_schema

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_MAX_SIZE = 4 << 20  # bytes of JSON: some 40,000 columns


@attrs.frozen
class Signature:
    """What a model takes and gives, each as names, dtypes, shapes and whether values may be missing.

    Args:
        inputs: what it takes.
        outputs: what it gives, if that is known.

    Example:
        >>> import numpy as np
        >>> signature = Signature.infer({"age": np.array([31, 47]), "rate": np.array([0.5, np.nan])})
        >>> print(signature)
        age: int64
        rate: float64, or missing
        >>> signature.inputs.to_json()["properties"]["age"]
        {'type': 'integer', 'dtype': 'int64', 'shape': [None]}
    """

    inputs: Schema
    outputs: Schema | None = None

    def __attrs_post_init__(self) -> None:
        for side in (self.inputs, *(() if self.outputs is None else (self.outputs,))):
            if not isinstance(side, (Values, Columns, Lists)):
                raise InvalidValueError(
                    f"a signature has {shown(side):.80}; make one of a sample with Signature.infer(inputs, outputs)",
                    key="signature",
                )

    def __str__(self) -> str:
        return "\n".join(_lines("", self.inputs))

    @classmethod
    def infer(cls, inputs: object, outputs: object = None) -> Self:
        """The signature of samples.

        A column is nullable if a value of it is missing in the sample. pandas turns a column of whole numbers with
        missing ones into float64; that is what the signature then says.

        Args:
            inputs: a frame or series of pandas or polars, a table of pyarrow, an array of NumPy (structured, too), a
                sparse array of SciPy, a tensor, a dict of these or of values, or a list of dicts.
            outputs: the same, or None.

        Raises:
            InvalidValueError: nothing can be told of a sample.
        """
        from modelkeep.samples import schema_of

        return cls(schema_of(inputs), None if outputs is None else schema_of(outputs))

    def check(self, inputs: Any) -> Any:
        """Give back *inputs* as the model takes them: columns in the order of the signature, and no others.

        Raises:
            SignatureError: they do not fit; names each column, what came and what is wanted, the first ten.

        Example:
            >>> import numpy as np
            >>> signature = Signature.infer({"age": np.array([31.5])})
            >>> signature.check({"size": np.array([1.8]), "age": np.array([47])})
            {'age': array([47])}
        """
        from modelkeep.fitting import fitted

        return fitted(inputs, self.inputs)

    def to_json(self) -> dict[str, Any]:
        """Two JSON Schemas, of a row of the inputs and of the outputs.

        Raises:
            InvalidValueError: they take more than 4 MiB.
        """
        kept = {"inputs": {"$schema": DIALECT, **self.inputs.to_json()}}
        if self.outputs is not None:
            kept["outputs"] = {"$schema": DIALECT, **self.outputs.to_json()}
        size = len(json.dumps(kept, ensure_ascii=False).encode(errors="surrogatepass"))
        if size > _MAX_SIZE:
            raise InvalidValueError(
                f"the signature takes {size:,} bytes of JSON, and {_MAX_SIZE:,} are allowed; give an array instead "
                "of so many columns",
                key="signature",
            )
        return kept

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Read what `to_json` wrote; words of a newer release, and of JSON Schema, are left out.

        Raises:
            InvalidValueError: it is something else, or larger or deeper than any signature.
        """
        if not isinstance(value, dict) or "inputs" not in value:
            raise InvalidValueError("a signature is {'inputs': …, 'outputs': …}", key="signature")
        outputs = value.get("outputs")
        found = cls(read_schema(value["inputs"]), None if outputs is None else read_schema(outputs))
        found.to_json()  # as large as one may be
        return found


def _lines(path: str, node: Schema) -> Iterator[str]:
    if not isinstance(node, Columns):
        yield f"{path}: {node}" if path else str(node)
        return
    for name, field in node.fields.items():
        yield from _lines(f"{path}.{name}" if path else name, field)
