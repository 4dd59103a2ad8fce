"""Pointers: small text files that stand in Git for what a version holds. `docs/design/0018-pointers.md` says why so."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import attrs

from modelkeep.bounds import count_of, digest_in, text_of
from modelkeep.errors import IntegrityError, InvalidError, InvalidValueError, NotFoundError, shown
from modelkeep.modelversion import ModelVersion
from modelkeep.ref import Label, ModelRef
from modelkeep.version import check_path
from modelkeep.wholefile import write_whole

SUFFIX = ".mk"
FORMAT = 1
MAX_BYTES = 16 * 1024
MAX_FILES = 10  # that are named one by one; more would be a list that nobody reads
_BUCKET = re.compile(r"(?:s3|gs)://[A-Za-z0-9._~/=+,-]{1,1000}")  # no "@", "?", "#": nothing secret can stand in it
_HEADER = "# Stands for a model in a modelkeep registry: modelkeep show FILE, modelkeep export FILE FOLDER\n"


def _digests(files: Mapping[str, str]) -> dict[str, str]:
    if not isinstance(files, Mapping) or len(files) > MAX_FILES:
        raise ValueError(f"files is a table of at most {MAX_FILES}, a digest for each path")
    return {check_path(path): digest_in(digest, f"the digest of {path!r:.80}") for path, digest in files.items()}


def _digest(text: str) -> str:
    return digest_in(text, "digest")


def _size(size: int) -> int:
    return count_of(size, "size")


def _label(text: str | None) -> str | None:
    return None if text is None else str(Label.parse(text))


def _place(text: str | None) -> str | None:
    if text is not None and not _BUCKET.fullmatch(text_of(text, "registry", 1000)):
        raise ValueError(f"registry is {text!r:.200}; it can be s3://bucket/prefix or gs://bucket/prefix")
    return text


@attrs.frozen
class Pointer:
    """What a pointer says of a version.

    Args:
        name: of the model.
        number: of the version.
        digest: its identity; whoever follows the pointer gets this, or an error.
        size: bytes of its files.
        label: the one that it had when the pointer was written.
        registry: the bucket where it lay then, for people; never opened because it stands here.
        files: digests by path; empty where there are more than 10.
    """

    name: str
    number: int
    digest: str = attrs.field(converter=_digest)
    size: int = attrs.field(converter=_size)
    label: str | None = attrs.field(default=None, converter=_label)
    registry: str | None = attrs.field(default=None, converter=_place)
    files: Mapping[str, str] = attrs.field(factory=dict, converter=_digests)

    def __attrs_post_init__(self) -> None:
        _ = self.ref

    @property
    def ref(self) -> ModelRef:
        """The reference that it stands for."""
        return ModelRef(self.name, self.number)

    # -- from and to a version -------------------------------------------------------------------------------

    @classmethod
    def of(cls, version: ModelVersion) -> Self:
        """The pointer to *version*; reads its manifest.

        Example:
            >>> import modelkeep as mk, numpy as np
            >>> version = mk.Registry("memory://pointer").save({"w": np.zeros(3)}, "churn", label="1.0.0")
            >>> pointer = Pointer.of(version)
            >>> str(pointer.ref), pointer.label, list(pointer.files)
            ('churn:1', '1.0.0', ['model.safetensors'])
        """
        url = version._line.home.store.url  # noqa: SLF001  a version tells everybody where it lies, but for this
        files = {file.path: file.digest for file in version.files}
        return cls(
            name=version.name,
            number=version.number,
            digest=version.digest,
            size=version.size,
            label=version.label,
            registry=url if _BUCKET.fullmatch(url) else None,
            files=files if len(files) <= MAX_FILES else {},
        )

    def check(self, version: ModelVersion) -> None:
        """Hold *version* against all that the pointer says of it.

        Raises:
            IntegrityError: it is another one.
        """
        found = Pointer.of(version)
        told = ["digest", "size", *(["label"] if self.label else []), *(["files"] if self.files else [])]
        wrong = [key for key in told if getattr(self, key) != getattr(found, key)]
        if wrong:
            raise IntegrityError(
                f"the pointer does not fit {version.ref} of this registry, whose digest is {found.digest}: "
                f"{' and '.join(wrong)} differ; it was written for another registry, or changed",
                ref=version.ref,
            )

    # -- from and to text ------------------------------------------------------------------------------------

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str` wrote.

        Raises:
            InvalidValueError: it is no pointer, or one of a newer format.

        Example:
            >>> Pointer.parse("modelkeep = 2")
            Traceback (most recent call last):
            modelkeep.errors.InvalidValueError: it has format 2, and this release reads 1; upgrade modelkeep
        """
        try:
            said = tomllib.loads(text)
        except (ValueError, RecursionError) as error:
            raise InvalidValueError(f"it is no TOML: {error}", key="pointer") from None
        if (number := said.pop("modelkeep", None)) != FORMAT or type(number) is not int:
            raise _of_another_format(number)
        known = attrs.fields_dict(cls)
        if strange := [key for key in said if key not in known]:
            raise InvalidValueError(f"it says {strange[0]!r:.80}, which is unknown", key=strange[0])
        lacking = [key for key, field in known.items() if field.default is attrs.NOTHING and key not in said]
        if lacking:
            raise InvalidValueError(f"it does not say {lacking[0]!r}", key=lacking[0])
        try:
            return cls(**said)
        except (TypeError, ValueError) as error:  # ours are ValueErrors, too
            raise InvalidValueError(str(error), key="pointer") from None

    def __str__(self) -> str:
        lines = {"modelkeep": FORMAT, **attrs.asdict(self, recurse=False)}
        order = ("modelkeep", "registry", "name", "number", "label", "digest", "size")
        head = "".join(f"{key} = {_quoted(lines[key])}\n" for key in order if lines[key] is not None)
        files = "".join(f"{_quoted(path)} = {_quoted(digest)}\n" for path, digest in sorted(self.files.items()))
        return f"{_HEADER}{head}" + (f"\n[files]\n{files}" if files else "")

    # -- from and to a file ----------------------------------------------------------------------------------

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """Read a pointer file.

        Raises:
            NotFoundError: there is no file.
            InvalidValueError: it is no pointer.
        """
        try:
            return cls.parse(_text_at(Path(path)))
        except InvalidError as error:
            raise InvalidValueError(f"{os.fspath(path)} is no pointer: {error}", path=os.fspath(path)) from None

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write it to *path*, at once or not at all; over another pointer, and over nothing else.

        Raises:
            InvalidValueError: *path* does not end in ``.mk``, or something else lies there.
        """
        target = Path(path)
        if target.suffix != SUFFIX:
            raise InvalidValueError(
                f"{target} does not end in {SUFFIX}, as pointers do; give {target}{SUFFIX}", path=path
            )
        if os.path.lexists(target):
            type(self).read(target)
        write_whole(target, str(self).encode(), overwrite=True)
        return target


def _quoted(value: Any) -> str:
    """A number or text as TOML has it: as JSON has it, since neither names nor paths hold control characters."""
    return json.dumps(value, ensure_ascii=False)


def _of_another_format(number: object) -> InvalidValueError:
    if type(number) is int and number > FORMAT:
        return InvalidValueError(
            f"it has format {shown(number)}, and this release reads {FORMAT}; upgrade modelkeep", key="modelkeep"
        )
    return InvalidValueError(f"it does not begin with modelkeep = {FORMAT}", key="modelkeep")


def _text_at(path: Path) -> str:
    try:
        if not path.exists():
            raise NotFoundError(f"there is no pointer {path}", path=str(path))
        if not path.is_file():  # a pipe would wait for ever
            raise InvalidValueError("it is no ordinary file", path=str(path))
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise InvalidValueError(f"it has more than {MAX_BYTES:,} bytes", path=str(path))
        return raw.decode()
    except (OSError, ValueError) as error:
        if isinstance(error, InvalidError):
            raise
        raise InvalidValueError(f"it cannot be read: {error}", path=str(path)) from None


# -- in a registry -------------------------------------------------------------------------------------------------


def followed(path: Path, get: Callable[[ModelRef], ModelVersion], url: str) -> ModelVersion:
    """The version that the pointer at *path* stands for, in the registry at *url*, which *get* asks.

    Raises:
        NotFoundError: there is no pointer, or no such version in this registry.
        InvalidValueError: the file is no pointer.
        IntegrityError: the version is another one than the pointer says.
    """
    pointer = Pointer.read(path)
    try:
        version = get(pointer.ref)
        pointer.check(version)
    except (NotFoundError, IntegrityError) as error:
        if pointer.registry in (None, url):
            raise
        hint = f"{path} was written for {pointer.registry}; if you trust that place, open it by name"
        raise type(error)(f"{error}; {hint}", **error.facts) from None
    return version
