"""What can go wrong, grouped by what the caller must do next.

Every error says what happened, to what, and what to do about it. Foreign errors (botocore, OSError, JSON) are
converted once, at the adapter that met them, and chained as the cause.
"""

from typing import ClassVar


class CkptArchiveError(Exception):
    """Base of every error this package raises on purpose.

    Args:
        message: What happened, and to what.
        hint: What to do next, as a full sentence or a command.

    Attributes:
        exit_code: The exit code of the command line for this group of errors.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}. {self.hint}" if self.hint else self.message


class InvalidInputError(CkptArchiveError):
    """The request itself is wrong: mend the argument, name or file that the message quotes."""

    exit_code = 2


class MistakesError(InvalidInputError):
    """A file that a person wrote has mistakes: mend them all, one after the other.

    Args:
        name: The file's.
        mistakes: Each with its line, and what would be right.
    """

    def __init__(self, name: str, mistakes: tuple[str, ...]) -> None:
        count = "a mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        super().__init__("\n".join([f"{name} has {count}", *mistakes]))
        self.mistakes = mistakes


class UnsupportedError(InvalidInputError):
    """The server does not know what was asked of it: use another store, or do without."""


class UnavailableError(CkptArchiveError):
    """The store did not answer, or did not answer usefully: nothing is known to have happened; try again later."""

    exit_code = 3


class ThrottledError(UnavailableError):
    """The store asked for fewer requests (503 SlowDown, 429): try again, more slowly."""


class DeniedError(UnavailableError):
    """The store refused our credentials or our rights: trying again does not help until somebody mends them."""


class ColdError(UnavailableError):
    """The object lies in a cold storage class: trying again does not help until it is thawed."""


class UnmountedError(UnavailableError):
    """The folder of the archive is not there: trying again does not help until somebody mounts it."""


class IntegrityError(CkptArchiveError):
    """Bytes are not what they should be: do not use them, and find out where they changed."""

    exit_code = 4


class ChecksumRefusedError(IntegrityError):
    """The store refused a body because it did not match the checksum sent with it."""


class ConflictError(CkptArchiveError):
    """Something else already stands where this was to be written; the first one stays."""

    exit_code = 5


class AlreadyExistsError(ConflictError):
    """A conditional create found the key taken, perhaps by our own earlier try: read it and compare."""


class NotFoundError(CkptArchiveError):
    """There is no such object, checkpoint, run or archive."""

    exit_code = 6


class EndedError(NotFoundError):
    """The checkpoint was archived, and its time was over: its data was removed by its class, as announced. Take another."""


class UploadGoneError(NotFoundError):
    """The multipart upload no longer exists: it was completed, aborted or expired. Look at the object itself."""


class CapacityError(CkptArchiveError):
    """No room (or no time) left: free space, raise the quota, or wait until the backlog is archived."""

    exit_code = 7
