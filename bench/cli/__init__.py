"""The command line: one module a verb; data on standard output, talk on standard error."""

import os
import sys
import traceback
from types import TracebackType

from bench.cli import _verbs
from bench.errors import BenchBroke, BenchError, NoSpace, is_disk_full

INTERRUPTED = 130


def main(argv: list[str] | None = None) -> int:
    """Run one verb; the exit code tells how it went (ARCHITECTURE.md, section 6)."""
    sys.excepthook = _tell_our_fault
    arguments = sys.argv[1:] if argv is None else argv
    try:
        status = _verbs.run(_verbs.Tree(program="bench", package=__name__), arguments)
        sys.stdout.flush()  # what cannot be written is to be told here, and not at the exit
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has enough. What is still buffered must not fail again at exit.
        _let_go_of_output()
        return 0
    except OSError as error:
        if not is_disk_full(error):
            raise
        where = error.filename or "standard output"
        print(f"bench: no room to write to {where}: {error.strerror}. Make room, and run again.", file=sys.stderr)
        _let_go_of_output()
        return NoSpace.exit_code
    else:
        return status


def _let_go_of_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _tell_our_fault(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """An exception that nobody expected is a fault of the bench: told in full, not with the code of a failed check."""
    traceback.print_exception(kind, error, trace)
    print("bench: this is a fault of the bench itself; please report it with the lines above", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(BenchBroke.exit_code)
