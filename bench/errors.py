"""
Every exception that the bench raises on purpose.

::

    BenchError                 told in one sentence; the exit code is the class's
    ├── WrongUsage         2   the user asked for what cannot be; asking differently helps
    │   ├── LabExists          a second `up` of a lab that runs
    │   ├── LabNotRunning      a verb that needs a lab, without one
    │   ├── UnknownScenario    no scenario has that id
    │   ├── BadParameter       a scenario's parameter that it does not have, or a value it does not take
    │   ├── BadDeclaration     a scenario that declares itself wrongly
    │   ├── BadEvidence        a run on disk that is none, or was changed since it was written
    │   ├── RunGoesOn          what belongs to a run that another process is at
    │   ├── PortInUse          a port that was asked for is taken
    │   └── NoSuchContext      the kubeconfig has no such context, or cannot be read
    ├── CannotRun          3   this machine or target lacks something; nothing ran
    │   ├── MissingTools       programs or rights, with the one command that brings them
    │   ├── NoSpace            the disk is too full
    │   ├── Unreachable        an API server or a Prometheus does not answer
    │   └── Forbidden          a right is missing: verb and resource are named
    └── BenchBroke         4   the bench failed at its own work
        ├── BuildFailed        a part of the lab did not build
        ├── BrokenCache        a file in the cache is not what was put there
        ├── LabFailed          a part of the lab did not come up, or died
        ├── ApiRefused         the API server refused a request of ours
        │   ├── NotFound           the object is not there
        │   └── Conflict           the object is there already, or was changed meanwhile
        └── DeadlineExceeded   a condition was waited for and did not come true

A message says the fact, the place, and the next step. A library's exception is the cause (``raise … from error``).
"""

import errno
from typing import ClassVar, Final, TypeGuard

_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class BenchError(Exception):
    """Base of all that the bench raises on purpose; the command line prints the message and exits with `exit_code`."""

    exit_code: ClassVar[int] = 4


class WrongUsage(BenchError):
    """The user asked for what cannot be; asking differently helps."""

    exit_code = 2


class LabExists(WrongUsage):
    """A second `up` of a lab that runs."""


class LabNotRunning(WrongUsage):
    """A verb that needs a running lab found none."""


class UnknownScenario(WrongUsage):
    """No scenario has that id."""


class BadParameter(WrongUsage):
    """A scenario's parameter that it does not have, or a value that it does not take."""


class BadDeclaration(WrongUsage):
    """A scenario declares itself wrongly; the message names the place."""


class BadEvidence(WrongUsage):
    """A run on disk is none, or was changed since it was written."""


class RunGoesOn(WrongUsage):
    """What belongs to a run that another process is at."""


class PortInUse(WrongUsage):
    """A port that was asked for is taken by another program."""


class NoSuchContext(WrongUsage):
    """The kubeconfig has no such context, or cannot be read."""


class CannotRun(BenchError):
    """This machine or target lacks something; nothing ran."""

    exit_code = 3


class MissingTools(CannotRun):
    """Programs, kernel features or rights that the lab needs are missing."""


class NoSpace(CannotRun):
    """The disk has too little room for what was asked."""


def is_disk_full(error: BaseException) -> TypeGuard[OSError]:
    """Whether it was for want of room that something could not be written."""
    return isinstance(error, OSError) and error.errno in _NO_ROOM


class Unreachable(CannotRun):
    """An API server or a Prometheus does not answer."""


class Forbidden(CannotRun):
    """A right is missing; the message names verb and resource."""


class BenchBroke(BenchError):
    """The bench failed at its own work; says nothing about the cluster."""

    exit_code = 4


class BuildFailed(BenchBroke):
    """A part of the lab did not build."""


class BrokenCache(BenchBroke):
    """A file in the cache is not what was put there."""


class LabFailed(BenchBroke):
    """A part of the lab did not come up, or died."""


class ApiRefused(BenchBroke):
    """The API server refused a request; `status` is its HTTP code."""

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class NotFound(ApiRefused):
    """The object is not there."""


class Conflict(ApiRefused):
    """The object is there already, or was changed meanwhile."""


class DeadlineExceeded(BenchBroke):
    """A condition was waited for and did not come true in time."""
