"""How the command ``modelkeep`` ends: a status for each kind of outcome, and the one table from errors to these."""

from __future__ import annotations

from enum import IntEnum

from modelkeep import errors


class Exit(IntEnum):
    """The exit status of the command, for scripts and pipelines.

    Example:
        >>> Exit.CONFLICT == 4
        True
    """

    OK = 0
    GATE = 1  # what was asked for was looked at and refused; nothing else ends with it, so that a pipeline can tell
    USAGE = 2  # click's own for a wrong call
    NOT_FOUND = 3
    CONFLICT = 4
    STORAGE = 5
    INTEGRITY = 6
    UNEXPECTED = 70  # EX_SOFTWARE of BSD's sysexits.h
    INTERRUPTED = 130  # what shells say of a program that Ctrl-C ended


_STATUS: dict[type[BaseException], Exit] = {
    errors.GateError: Exit.GATE,
    errors.UnfitError: Exit.GATE,  # it would not serve
    errors.InvalidError: Exit.USAGE,
    errors.SerializerError: Exit.USAGE,
    errors.NotFoundError: Exit.NOT_FOUND,
    errors.FormatError: Exit.NOT_FOUND,  # there is no registry there that this release can read
    errors.MissingObjectError: Exit.INTEGRITY,  # a key comes from the registry's own entries, never from the caller
    errors.ConflictError: Exit.CONFLICT,
    errors.StoreError: Exit.STORAGE,
    errors.UnsettledError: Exit.STORAGE,
    errors.ClockError: Exit.STORAGE,
    errors.RestoreError: Exit.STORAGE,
    errors.TrustError: Exit.STORAGE,  # permission to run code is a permission, too
    errors.IntegrityError: Exit.INTEGRITY,
    errors.ModelkeepError: Exit.USAGE,  # of no kind: the demo cannot run here
    ImportError: Exit.USAGE,  # an extra is not installed; the message says which
    OSError: Exit.STORAGE,  # a file of the user's cannot be read or written
}


def status_of(error: BaseException) -> Exit:
    """The status for an error: that of its nearest class in the table.

    Example:
        >>> status_of(errors.StaleError("moved")).name, status_of(ZeroDivisionError()).name
        ('CONFLICT', 'UNEXPECTED')
    """
    return next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), Exit.UNEXPECTED)
