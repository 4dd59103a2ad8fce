"""What a disk says, in the words of the port."""

from __future__ import annotations

import errno

from modelkeep.errors import AccessError, OutcomeUnknownError, StoreError

NOT_THERE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)  # a folder is no object


class Said:
    """Lets an error of the operating system leave as a `StoreError` that names the key."""

    def __init__(self, key: str) -> None:
        self.key = key

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError) and not isinstance(error, StoreError):
            raise translated(error, self.key) from error


def no_answer(key: str, path: str, error: OSError) -> OutcomeUnknownError:
    """The error of a write of which the disk does not say how it went."""
    return OutcomeUnknownError(f"{path} may have got its name, or not: {error}", key=key)


def translated(error: OSError, key: str) -> StoreError:
    """The error of the port that says what *error* says."""
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return AccessError(f"{key}: {error.strerror}; ask for the right to it", key=key)
    if error.errno == errno.ENOENT:  # of readers and deleters it is no error; see NOT_THERE
        return StoreError(
            f"{key}: {error}; its folder, or what was written of it so far, was taken away meanwhile, and nothing was "
            "stored: call again",
            key=key,
            errno=error.errno,
        )
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreError(
            f"{key}: {error.strerror}; nothing was written, make room and call again",
            key=key,
            errno=error.errno,
        )
    return StoreError(f"{key}: {error}", key=key, errno=error.errno)
