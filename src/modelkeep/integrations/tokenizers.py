"""tokenizers: a tokenizer as its own ``tokenizer.json``.

Data tier. The file is JSON that Rust reads into parts of a closed list, without paths, and parts written in Python
have no place in it; JSON that is nested too deep, a wrong type or a panic end in an error.
"""

from __future__ import annotations

from typing import Any

from modelkeep.errors import SerializerError
from modelkeep.serializers.arrays import Reader
from modelkeep.serializers.plain import PlainSerializer
from modelkeep.serializers.port import Files, Sink
from modelkeep.serializers.strangers import reading

TOKENIZER = "tokenizer.json"


class TokenizersSerializer(PlainSerializer):
    """See the module."""

    name = "tokenizers"
    packages = ("tokenizers",)

    def accepts(self, obj: object) -> bool:
        """See `Serializer.accepts`: a `tokenizers.Tokenizer`."""
        return (type(obj).__module__, type(obj).__name__) == ("tokenizers", "Tokenizer")

    def save(self, obj: Any, sink: Sink) -> None:
        """See `Serializer.save`."""
        try:
            text = obj.to_str()
        except BaseException as error:  # a panic of Rust is no Exception: a part of it is written in Python
            if isinstance(error, KeyboardInterrupt):
                raise
            raise SerializerError(
                f"the tokenizer cannot be kept as {TOKENIZER} ({error}); take out the part that is written in Python"
            ) from error
        sink.put(TOKENIZER, text.encode())

    def load(self, files: Files, form: str, into: object | None) -> object:
        """See `Serializer.load`."""
        from tokenizers import Tokenizer

        del form, into
        with reading(TOKENIZER):
            tokenizer: object = Tokenizer.from_str(bytes(files.read(TOKENIZER)).decode())
        return tokenizer

    def tensors(self, files: Files) -> dict[str, Reader]:
        """See `Serializer.tensors`: none."""
        del files
        return {}


serializer = TokenizersSerializer()
