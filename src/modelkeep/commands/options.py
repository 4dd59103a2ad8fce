"""What several commands take: the registry, JSON, ``key=value``, and references."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from modelkeep.modelvariant import Variant
    from modelkeep.modelversion import ModelVersion
    from modelkeep.registry import Registry

registry_option = click.option(
    "--registry",
    metavar="URL",
    help="A folder, s3://..., gs://... or another URL.  [default: $MODELKEEP_REGISTRY, else ./.modelkeep]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
reason_option = click.option("--reason", metavar="TEXT", help="Why; kept with the history.")

trust_option = click.option(
    "--trust",
    metavar="KIND",
    multiple=True,
    help="What gates may load although it runs code: a serializer, such as cloudpickle, or a digest.",
)


def reference(text: str) -> str | Path:
    """What stands for a version: what ends in ``.mk`` is the path of a pointer.

    Example:
        >>> reference("churn:7")
        'churn:7'
    """
    return Path(text) if text.endswith(".mk") else text


def pairs(read: Callable[[str], Any]) -> Callable[[click.Context, click.Parameter, Iterable[str]], dict[str, Any]]:
    """A callback for what is given as ``key=value``, several times: a dict of what *read* makes of the values."""

    def parse(ctx: click.Context, param: click.Parameter, given: Iterable[str]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for pair in given:
            key, mark, text = pair.partition("=")
            if not key or not mark:
                raise click.BadParameter(f"{pair!r} is no key=value", ctx, param)
            if key in found:
                raise click.BadParameter(f"{key!r} is given twice", ctx, param)
            try:
                found[key] = read(text)
            except ValueError as error:
                raise click.BadParameter(f"{key!r}: {error}", ctx, param) from None
        return found

    return parse


def plain(text: str) -> Any:
    """The value that *text* is in JSON; *text* itself if it is none.

    Example:
        >>> plain("6"), plain("[64, 8]"), plain("true"), plain("relu"), plain('"6"'), plain("NaN")
        (6, [64, 8], True, 'relu', '6', 'NaN')
    """
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError):
        return text


def _refuse(word: str) -> None:
    raise ValueError(word)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def number(text: str) -> float:
    """A number; whole ones stay whole, and ``nan`` and ``inf`` are numbers.

    Example:
        >>> number("7"), number("0.5"), number("-inf")
        (7, 0.5, -inf)

    Raises:
        ValueError: it is none.
    """
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text!r} is no number") from None


def version_or_variant(registry: Registry, ref: str | Path) -> ModelVersion | Variant:
    """What a reference or pointer means; ``churn:7/onnx-int8`` is a variant.

    Raises:
        NotFoundError: there is no such thing.
    """
    from modelkeep.errors import UnknownVariantError
    from modelkeep.ref import ModelRef

    if isinstance(ref, Path):
        return registry.get(ref)
    whole, _, _ = ref.partition("/")
    kind = ModelRef.parse(ref).variant
    if kind is None:
        return registry.get(ref)
    version = registry.get(whole)
    kinds = version.variants
    if kind not in kinds:
        raise UnknownVariantError(f"{version.ref} has no variant {kind!r}; it has {sorted(kinds)}", kind=kind)
    return kinds[kind]
