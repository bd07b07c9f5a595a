"""The exceptions, one class for each kind of error. A kind says what the caller should do next.

Names (`code`) and numbers (`kind_number`) are the same in every language; importing `onceward` fails if they ever
differ from the core's.
"""


class Error(Exception):
    """Anything that went wrong in Onceward; the subclass, the `code` and the `kind_number` say what to do about it."""

    #: The name of the kind, the same in every language.
    code: str = "Error"
    #: The number of the kind, the same in every language.
    kind_number: int = 0


class InvalidArgumentError(Error, ValueError):
    """Correct the call: an argument is out of its limits or does not belong here. Nothing was written."""

    code = "Invalid"
    kind_number = 1


class NotFoundError(Error):
    """Create it first, or look elsewhere: no such queue, subscription or message."""

    code = "NotFound"
    kind_number = 2


class ConflictError(Error):
    """Decide which one is right: something else already stands under that name or key. Nothing was written."""

    code = "Conflict"
    kind_number = 3


class LeaseLostError(Error):
    """Drop the work: the delivery has been given to someone else, or its message is no longer there."""

    code = "LeaseLost"
    kind_number = 4


class BusyError(Error):
    """Try again: others kept the store busy for longer than the busy timeout, or somebody is at the same effect.

    Nothing was written.
    """

    code = "Busy"
    kind_number = 5


class FullError(Error):
    """Free disk space (or end the reader that the message names), then try again. Nothing was written."""

    code = "Full"
    kind_number = 6


class ClosedError(Error):
    """Open a store in this process: this one was closed, or it was opened before a fork."""

    code = "Closed"
    kind_number = 7


class DetachedError(Error):
    """Stop and look: the file was moved, deleted or replaced while open. What was not acknowledged may be lost."""

    code = "Detached"
    kind_number = 8


class CorruptError(Error):
    """Restore a backup or open another file: this one is no SQLite database, or it is damaged."""

    code = "Corrupt"
    kind_number = 9


class StorageError(Error):
    """Look at the disk: the operating system reported an input/output error. The outcome of the call is unknown."""

    code = "Storage"
    kind_number = 10


class UnsupportedError(Error):
    """Upgrade the library or move the file: its format is newer, or its file system cannot keep the promises."""

    code = "Unsupported"
    kind_number = 11


class DeniedError(Error):
    """Grant access: the operating system refused to open or to write the file."""

    code = "Denied"
    kind_number = 12


class SqlError(Error):
    """Correct the statement: the application's own SQL failed inside a transaction."""

    code = "Sql"
    kind_number = 13


class ExpiredError(Error):
    """Run the work again, faster: the transaction passed its time limit and was rolled back."""

    code = "Expired"
    kind_number = 14


class InDoubtError(Error):
    """Find out what happened at the third party and resolve it: whether the call took effect is not known.

    It is not repeated before that.
    """

    code = "InDoubt"
    kind_number = 15


class FailedError(Error):
    """Repeat it later: the call is known not to have happened."""

    code = "Failed"
    kind_number = 16


BY_NUMBER: dict[int, type[Error]] = {
    kind.kind_number: kind
    for kind in (
        InvalidArgumentError,
        NotFoundError,
        ConflictError,
        LeaseLostError,
        BusyError,
        FullError,
        ClosedError,
        DetachedError,
        CorruptError,
        StorageError,
        UnsupportedError,
        DeniedError,
        SqlError,
        ExpiredError,
        InDoubtError,
        FailedError,
    )
}

# Tracebacks and pickles name the classes as users import them.
for _kind in (Error, *BY_NUMBER.values()):
    _kind.__module__ = "onceward"
del _kind
