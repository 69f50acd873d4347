"""One waiter for all children: ours are told apart from adopted ones, and none stays a zombie."""

import subprocess
import sys
import textwrap

PROGRAM = """
import asyncio, ctypes, os, sys
from pathlib import Path
from bench.lab.box.reaper import Reaper

PR_SET_CHILD_SUBREAPER = 36
ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

async def main():
    reaper = Reaper()
    reaper.install()
    log = Path(sys.argv[1])
    start = lambda *command: reaper.start(command, environment=os.environ, log=log)
    {body}

asyncio.run(main())
"""


def told(body: str, tmp_path: object) -> str:
    program = PROGRAM.replace("{body}", textwrap.indent(textwrap.dedent(body), "    ").strip())
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, f"{tmp_path}/log"],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout


def test_exit_statuses_reach_their_owners(tmp_path: object) -> None:
    body = """
    children = [start("sh", "-c", f"exit {n}") for n in range(5)] + [start("sh", "-c", "kill -9 $$")]
    print([await child.wait() for child in children])
    """

    assert told(body, tmp_path) == "[0, 1, 2, 3, 4, -9]\n"


def test_adopted_orphans_are_reaped_and_steal_nothing(tmp_path: object) -> None:
    """Each shell leaves a grandchild that ends after it."""
    body = """
    children = [start("sh", "-c", "(exec 3>&-; sleep 0.2) & exit 4") for _ in range(3)]
    print([await child.wait() for child in children])
    await reaper.wait_until_none_left()
    print(reaper.orphans_reaped)
    """

    assert told(body, tmp_path) == "[4, 4, 4]\n3\n"


def test_none_left_waits_for_the_last(tmp_path: object) -> None:
    body = """
    child = start("sleep", "0.3")
    await reaper.wait_until_none_left()
    print(child.has_ended)
    """

    assert told(body, tmp_path) == "True\n"


def test_a_program_that_does_not_exist_is_an_error_and_no_child(tmp_path: object) -> None:
    body = """
    try:
        start("/no/such/program")
    except FileNotFoundError:
        print("told")
    await reaper.wait_until_none_left()
    """

    assert told(body, tmp_path) == "told\n"
