"""The gate: what loading may do, decided here and in no serializer.

The tier of a form stands in this closed table; a form that is not in it is of the code tier. A record cannot say
what may be done with it.
"""

from __future__ import annotations

from enum import StrEnum

from modelkeep.errors import TrustError


class Tier(StrEnum):
    """What loading a form may do: `DATA` runs nothing from the file, `CODE` may run anything."""

    DATA = "data"
    CODE = "code"


_TIERS = {
    "tree": Tier.DATA,
    "torch:state": Tier.DATA,
    "files:safetensors": Tier.DATA,
    "files:numpy": Tier.DATA,
}


def tier_of(form: str) -> Tier:
    """The tier of a form; what is not known is code.

    Example:
        >>> tier_of("tree").value, tier_of("cloudpickle").value
        ('data', 'code')
    """
    return _TIERS.get(form, Tier.CODE)


def admit(form: str, ref: str, *, trust: bool) -> None:
    """Let a load in, or not.

    Raises:
        TrustError: loading this form may run code from the file, and no trust was granted.
    """
    if tier_of(form) is Tier.DATA or trust is True:
        return
    into = " load the weights alone with load(ref, into=module)," if form.startswith("torch") else ""
    raise TrustError(
        f"loading {ref} may run code from its files (it was saved as {form!r});{into} take the files with "
        f"load(ref, into=folder), or, if you trust whoever could write to this registry, load(ref, trust=True)",
        ref=ref,
        form=form,
    )
