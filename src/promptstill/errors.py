"""What can go wrong through no fault of ours, each with its exit code; a message is one sentence with the remedy."""


class PromptstillError(Exception):
    """Base of all errors a user can mend; the command line prints the message and exits with ``exit_code``."""

    exit_code = 1


class UsageError(PromptstillError, ValueError):
    """A setting, name or URI that cannot be used (exit code 2)."""

    exit_code = 2


class DataError(PromptstillError):
    """Images, class names or files that cannot be used (exit code 3)."""

    exit_code = 3


class MissingError(PromptstillError):
    """Weights or an optional package that is not here (exit code 4)."""

    exit_code = 4


class SpaceError(PromptstillError):
    """No space left on the device (exit code 5)."""

    exit_code = 5


class Interrupted(PromptstillError):
    """Stopped by a signal; the same command continues the run (exit code 75)."""

    exit_code = 75
