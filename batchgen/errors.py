"""Exceptions: what stops a command. A failed attempt is a value (`values.Failure`), never an exception.

BatchgenError
├── UsageError         nothing was sent: command line, job, input, key or output directory is wrong (exit 2)
│   ├── JobError       the job file or an override of it
│   ├── InputError     the input table: file, column, row
│   └── OutputError    the output directory: locked, foreign, changed job, not writable
└── StoppedError       the run ended early and can go on (exit 3)
    ├── ProviderStop   an answer no row can survive: wrong key, unknown model, overdue account
    ├── FailuresStop   more rows failed than `limits.max_failed`
    ├── ResourceStop   this machine has no file descriptor left to connect with
    ├── BudgetStop     the next request could pass the budget
    ├── InputStop      the input can no longer be read as it was when the run began
    ├── StorageStop    journal or parts cannot be written: disk full, directory gone
    └── InternalStop   a mistake in batchgen itself (exit 70)
"""


class BatchgenError(Exception):
    """Base of all that batchgen raises on purpose; its text is a whole sentence for the user."""


class UsageError(BatchgenError):
    """Something the user wrote or pointed to is wrong; no request has been sent."""


class JobError(UsageError):
    """The job file, or an override of it, is wrong."""


class InputError(UsageError):
    """The input table cannot be used; the text names file, column or row, and the fix."""


class OutputError(UsageError):
    """The output directory cannot be used for this run."""


class StoppedError(BatchgenError):
    """The run stopped before its end; all that was settled is kept. `remedy` says what to do for the run to go on."""

    remedy = "Running the same command again goes on from here."

    def __init__(self, message: str, remedy: str | None = None) -> None:
        super().__init__(message)
        if remedy is not None:
            self.remedy = remedy


class ProviderStop(StoppedError):
    """The provider said something that no other row can survive."""

    remedy = "When the provider can answer again, the same command goes on from here."


class FailuresStop(StoppedError):
    """More rows failed than `limits.max_failed` allows."""

    remedy = (
        "The same command with a higher limits.max_failed goes on from here; --retry-failed tries the failed rows too."
    )


class ResourceStop(StoppedError):
    """This machine lacks what sending needs: no connection can be opened for want of file descriptors."""

    remedy = "Raise the limit on open files (`ulimit -n`); then the same command goes on from here."


class BudgetStop(StoppedError):
    """The next request could pass `limits.budget`."""

    remedy = "The same command with a higher --budget goes on from here."


class InputStop(StoppedError):
    """The input table can no longer be read as it was when the run began."""

    remedy = "Put the input back as it was; then the same command goes on from here."


class StorageStop(StoppedError):
    """Results can no longer be stored safely."""

    remedy = "Make room where the output is, or mend what is named; then the same command goes on from here."


class InternalStop(StoppedError):
    """A mistake in batchgen itself, its cause, ended the run; all that was settled is kept."""

    @classmethod
    def of(cls, cause: BaseException) -> "InternalStop":
        """Return the stop for an error that nobody foresaw, without its text, which may quote anything."""
        stop = cls(f"An error in batchgen itself ({type(innermost(cause)).__name__}).")
        stop.__cause__ = cause
        return stop


def innermost(error: BaseException) -> BaseException:
    """Return the first error of the groups that tasks which ran side by side have put round it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
