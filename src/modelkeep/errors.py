"""Every error that modelkeep raises, sorted by what the caller does next.

```
ModelkeepError
├── InvalidError (ValueError)          mend the argument and call again
│   ├── InvalidNameError               a model or alias name
│   ├── InvalidRefError                a reference such as "churn:7"
│   └── InvalidValueError              a parameter, metric, tag or option
│       ├── SecretError                a parameter that looks like a secret
│       └── SignatureError             inputs that do not fit the signature of a version
├── NotFoundError (LookupError)        ask for something that exists
│   ├── UnknownModelError
│   │   └── UnknownDatasetError        there is no dataset of this name
│   ├── UnknownVersionError · UnknownAliasError · UnknownLabelError
│   ├── UnknownVariantError            the version has no variant of this kind
│   ├── UnknownTensorError (KeyError)  the version has no tensor of this name
│   ├── DeletedError                   it existed; restore it, or take another
│   └── MissingObjectError             the store has no object under this key
├── ConflictError                      look again, then decide anew
│   ├── StaleError                     an alias moved meanwhile
│   ├── TakenError                     a label or name is in use
│   ├── InUseError                     unset the alias first
│   ├── ClosedError                    the model was closed
│   └── ObjectExistsError              a store: the key is taken
├── IntegrityError                     bytes are wrong: the object is named; run `modelkeep verify`
├── TrustError                         grant trust, or load as files
├── SerializerError                    install or name a serializer
├── FormatError                        not a registry, or one of a newer format
├── GateError                          do what each failed gate asks, or change the policy
├── RestoreError                       read what the installer said, and say what to take instead
├── UnfitError                         the version must not serve here: promote another
├── UnsettledError                     the outcome is open: ask `registry.settle(error.token)`
├── ClockError                         set the clock
└── StoreError                         the storage refused: permission, space, network
    ├── AccessError (PermissionError)
    └── OutcomeUnknownError            no answer came; the request may have been carried out
```

Every error keeps what it was made from as attributes and survives pickling, so that it can cross a process
pool. What came in may be of any length and hold anything: messages are cut in their middle, and spell out what a
terminal would obey.
"""

from __future__ import annotations

from typing import Any, ClassVar

_LONGEST = 6000  # characters of a message; a list of all files of a version may have more
_TAIL = 500  # of these at the end, where the remedy stands


def shown(value: object) -> str:
    """What came in, for a message; also what Python itself does not write out.

    Example:
        >>> shown("a"), shown(10**5000)
        ("'a'", 'too long to show')
    """
    try:
        return repr(value)
    except (ValueError, RecursionError):  # an integer of more than 4,300 digits; a list that is nested too deep
        return "too long to show"
    except Exception as error:  # noqa: BLE001  the class is not ours, nor is what its author forgot
        return f"<a {type(value).__name__} that cannot be shown: {type(error).__name__}>"


def _readable(message: str) -> str:
    text = _cut(message)
    if not text.isprintable():
        text = "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)
    return _cut(text)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - _TAIL - 3]} … {text[-_TAIL:]}"


class ModelkeepError(Exception):
    """Base of everything that modelkeep raises.

    Facts given by keyword become attributes; the message ends with what to do.

    Example:
        >>> error = StaleError("production moved", alias="production", expected=6, found=7)
        >>> error.kind, error.expected, error.found
        ('stale', 6, 7)
    """

    kind: ClassVar[str] = "error"

    def __init__(self, message: str, **facts: Any) -> None:
        super().__init__(_readable(message))
        self.facts = facts
        self.__dict__.update(facts)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{type(self).__name__} has no fact {name!r}; it has {sorted(self.__dict__)}")

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args[0], self.__dict__.get("facts", {}))


def _rebuild(kind: type[ModelkeepError], message: str, facts: dict[str, Any]) -> ModelkeepError:
    return kind(message, **facts)


class InvalidError(ModelkeepError, ValueError):
    """An argument is not acceptable; the message quotes what came in."""

    kind = "invalid"


class InvalidNameError(InvalidError):
    """A name of a model or an alias cannot be used."""

    kind = "invalid-name"


class InvalidRefError(InvalidError):
    """A reference such as ``churn:7`` cannot be read."""

    kind = "invalid-reference"


class InvalidValueError(InvalidError):
    """A parameter, metric, tag or option cannot be kept; the message names its key."""

    kind = "invalid-value"


class SignatureError(InvalidValueError):
    """Inputs do not fit the signature; the message names each column, what came and what is wanted."""

    kind = "signature"


class SecretError(InvalidValueError):
    """A parameter looks like a secret; the message names it, and never shows its value."""

    kind = "secret"


class NotFoundError(ModelkeepError, LookupError):
    """What was asked for does not exist."""

    kind = "not-found"


class UnknownModelError(NotFoundError):
    """No model of this name was ever saved here."""

    kind = "unknown-model"


class UnknownDatasetError(UnknownModelError):
    """There is no dataset of this name."""

    kind = "unknown-dataset"


class UnknownVersionError(NotFoundError):
    """The model has no version of this number or digest."""

    kind = "unknown-version"


class UnknownAliasError(NotFoundError):
    """The alias is not set."""

    kind = "unknown-alias"


class UnknownLabelError(NotFoundError):
    """No version bears this label, or none lies in the range."""

    kind = "unknown-label"


class UnknownVariantError(NotFoundError):
    """The version has no variant of this kind."""

    kind = "unknown-variant"


class UnknownTensorError(NotFoundError, KeyError):
    """The version has no tensor of this name."""

    kind = "unknown-tensor"

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would put quotes around it


class DeletedError(NotFoundError):
    """The version was deleted; `restore` brings it back unless it was purged."""

    kind = "deleted"


class MissingObjectError(NotFoundError):
    """The store holds no object under this key."""

    kind = "missing-object"


class ConflictError(ModelkeepError):
    """Somebody else was first."""

    kind = "conflict"


class StaleError(ConflictError):
    """An alias does not stand where the caller expected it."""

    kind = "stale"


class TakenError(ConflictError):
    """A label is in use and labels are never reused; or the version has a variant of this kind."""

    kind = "taken"


class InUseError(ConflictError):
    """The version stands under an alias, so it cannot be deleted."""

    kind = "in-use"


class ClosedError(ConflictError):
    """The model was closed: nothing can be saved to it until it is opened again."""

    kind = "closed"


class ObjectExistsError(ConflictError):
    """Raised by a store's `create`: the key is taken and its old bytes are intact."""

    kind = "object-exists"


class IntegrityError(ModelkeepError):
    """Stored bytes are not what was written; the message names the object."""

    kind = "integrity"


class TrustError(ModelkeepError):
    """Loading would run code from the file, and no trust was granted."""

    kind = "trust"


class SerializerError(ModelkeepError):
    """No serializer can take or give the object."""

    kind = "serializer"


class FormatError(ModelkeepError):
    """The place is not a registry, or one of a format that this release does not know."""

    kind = "format"


class GateError(ModelkeepError):
    """The policy refuses a promotion; the message names each gate that failed, and no alias moved."""

    kind = "gate"


class RestoreError(ModelkeepError):
    """An environment could not be made again; the message has what the installer said."""

    kind = "restore"


class UnfitError(ModelkeepError):
    """A version that is to serve fails on its example, misses its golden outputs, or refuses what callers give."""

    kind = "unfit"


class UnsettledError(ModelkeepError):
    """The answer to the last write was lost; ``registry.settle(error.token)`` finds out what became of it."""

    kind = "unsettled"


class ClockError(ModelkeepError):
    """This machine's clock and the store's are more than a day apart."""

    kind = "clock"


class StoreError(ModelkeepError):
    """The storage refused or failed. Nothing was written, unless it is an `OutcomeUnknownError`."""

    kind = "store"


class AccessError(StoreError, PermissionError):
    """The storage denies this operation; it is never read as "missing"."""

    kind = "access"


class OutcomeUnknownError(StoreError):
    """No answer came from the storage: the request may have been carried out, now or later."""

    kind = "outcome-unknown"
