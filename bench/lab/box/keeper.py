"""
The process outside of the lab's PID namespace: makes the namespaces, starts PID 1, and cleans up when it has ended.

Whatever ends PID 1, the kernel ends every process of the lab with it; what no kernel removes is removed here: control
groups and the state folder. Should the keeper be killed, PID 1 sees its end of a pipe close and does the same itself.
"""

import os
import signal
import sys
from pathlib import Path
from types import FrameType

from bench.lab.box import namespaces, outermost, remains


def main() -> int:
    """Arguments: the state folder, the descriptor of the lock, then ``name=descriptor`` for PID 1."""
    root, lock_descriptor, *handed_on = sys.argv[1:]
    if namespaces.needs_user_namespace():
        namespaces.enter_user_namespace()
    namespaces.unshare(namespaces.Clone.PID)
    keeper = os.getpid()
    reading, writing = os.pipe()
    first_process = os.fork()
    if first_process == 0:
        os.close(writing)
        _become_first_process(root, [f"lock={lock_descriptor}", f"keeper={reading}", *handed_on], keeper)
    os.close(reading)
    outermost.write(Path(root), keeper=keeper, first_process=first_process)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _hand_on_to(first_process))
    # The ends that `up` and users hold on to must close when PID 1's copies do.
    for descriptor in _descriptors(handed_on):
        os.close(descriptor)
    _, status = os.waitpid(first_process, 0)
    remains.remove(Path(root), keep_logs=os.waitstatus_to_exitcode(status) != 0)
    return 0


def _become_first_process(root: str, handed_on: list[str], keeper: int) -> None:
    try:
        namespaces.enter_lab_namespaces()
        for descriptor in _descriptors(handed_on):
            os.set_inheritable(descriptor, True)
        command = [sys.executable, "-m", "bench.lab.box.supervisor", root, str(keeper), *handed_on]
        os.execv(sys.executable, command)  # noqa: S606 (a shell has no business here)
    except OSError as error:
        print(f"the lab's first process did not start: {error}", file=sys.stderr)  # noqa: T201 (its log)
    finally:
        os._exit(1)


def _descriptors(arguments: list[str]) -> list[int]:
    return [int(argument.rpartition("=")[2]) for argument in arguments]


def _hand_on_to(pid: int) -> "signal._HANDLER":
    def hand_on(number: int, _: FrameType | None) -> None:
        os.kill(pid, number)

    return hand_on


if __name__ == "__main__":
    sys.exit(main())
