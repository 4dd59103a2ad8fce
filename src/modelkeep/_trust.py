"""The gate: what loading may do, decided here and in no serializer.

The tier of a form stands in this closed table; a form that is not in it is of the code tier. A record cannot say
what may be done with it. What the caller grants is a `Grant`, for one call or for all that a registry loads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import BinaryIO

import attrs

from modelkeep.digest import is_digest
from modelkeep.errors import InvalidValueError, TrustError, shown

Trust = bool | str | Iterable[str]  # what callers give
Scan = Callable[[BinaryIO, str], list[str]]  # a file and its name give the dangerous names in it; see `modelkeep._veto`


class Tier(StrEnum):
    """What loading a form may do.

    `DATA` runs nothing from the file. `RESTRICTED` is a pickle, and builds only what `modelkeep.pickles` lists. `CODE`
    may run anything.
    """

    DATA = "data"
    RESTRICTED = "restricted"
    CODE = "code"


_TIERS = {
    "tree": Tier.DATA,
    "torch:state": Tier.DATA,
    "table": Tier.DATA,
    "sparse": Tier.DATA,
    "prophet": Tier.DATA,
    "gensim:vectors": Tier.DATA,
    "jax:leaves": Tier.DATA,
    "tokenizers": Tier.DATA,
    "transformers:model": Tier.DATA,
    "transformers:tokenizer": Tier.DATA,
    "peft:lora": Tier.DATA,
    "files:safetensors": Tier.DATA,
    "files:numpy": Tier.DATA,
    "files:pickle": Tier.RESTRICTED,
    "sklearn": Tier.RESTRICTED,
    "keras": Tier.DATA,
    "keras:weights": Tier.DATA,
    "lightning:state": Tier.DATA,
    "onnx": Tier.DATA,
    "skorch:state": Tier.DATA,
}
# whose numbers alone are data, for an object of the caller's own
_FILLED = ("torch:module", "lightning:module", "skorch:module", "keras:code", "jax:object")


def tier_of(form: str) -> Tier:
    """The tier of a form; what is not known is code.

    Example:
        >>> tier_of("tree").value, tier_of("cloudpickle").value
        ('data', 'code')
    """
    return _TIERS.get(form, Tier.CODE)


@attrs.frozen
class Grant:
    """What may run code while it is loaded: everything, versions of some digests, what some serializers wrote."""

    everything: bool = False
    digests: frozenset[str] = frozenset()
    serializers: frozenset[str] = frozenset()

    @classmethod
    def of(cls, trust: object) -> Grant:
        """Read what a caller gave as ``trust=``.

        Raises:
            InvalidValueError: it is neither True or False, nor a digest, nor the name of a serializer, nor several.

        Example:
            >>> Grant.of(["cloudpickle", "0" * 64]).serializers
            frozenset({'cloudpickle'})
        """
        if isinstance(trust, bool):
            return cls(everything=trust)
        given = set[str]()
        for one in trust if isinstance(trust, Iterable) and not isinstance(trust, str) else [trust]:
            if not isinstance(one, str) or not one:
                raise InvalidValueError(
                    f"trust is {shown(trust)}; give True, the digest of a version (version.digest), the name of a "
                    "serializer such as 'cloudpickle', or a list of these",
                    key="trust",
                )
            given.add(one)
        digests = frozenset(filter(is_digest, given))
        return cls(digests=digests, serializers=frozenset(given) - digests)

    def __or__(self, other: Grant) -> Grant:
        return Grant(
            self.everything or other.everything, self.digests | other.digests, self.serializers | other.serializers
        )

    def allows(self, serializer: str, digest: str | None = None) -> bool:
        """Whether the version with *digest*, which *serializer* wrote, may run code."""
        return self.everything or serializer in self.serializers or digest in self.digests


NOTHING = Grant()


def admit(form: str, ref: str, *, granted: bool) -> None:
    """Let a load in, or not.

    Raises:
        TrustError: loading this form may run code from the file, and no trust was granted.
    """
    if not granted and tier_of(form) is Tier.CODE:
        raise refused(ref, form, f"it was saved as {form!r}")


def refused(ref: str, form: str, why: str) -> TrustError:
    """The error for a version that would run code: why, and the ways out."""
    into = " load the weights alone with load(ref, into=module)," if form in _FILLED else ""
    name = form.partition(":")[0]
    return TrustError(
        f"loading {ref} may run code from its files ({why});{into} take the files with load(ref, into=folder), or, if "
        f"you trust whoever could write to this registry, load(ref, trust=True), which trust={name!r} limits to what "
        "that serializer wrote and trust=version.digest to this version",
        ref=ref,
        form=form,
    )
