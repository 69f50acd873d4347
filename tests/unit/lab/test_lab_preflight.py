"""What a machine lacks is told at once and with its cure; what it has is tried, not guessed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.errors import WrongUsage
from bench.lab import preflight
from bench.lab.config import LabConfig
from bench.lab.names import checked
from bench.lab.preflight import TOOLS, Problem, explain

REFUSAL = Problem(fact="this user may not make user namespaces (EPERM)", cure="sysctl a=1")


def test_everything_that_is_missing_is_in_one_message() -> None:
    told = explain(TOOLS, REFUSAL, install="sudo apt-get install -y")

    assert all(tool.name in told for tool in TOOLS)
    assert REFUSAL.fact in told
    assert told.endswith("What helps: sudo apt-get install -y nftables util-linux && sysctl a=1")


def test_a_refusal_alone_asks_for_no_packages() -> None:
    assert "apt-get" not in explain([], REFUSAL, install="apt-get install -y")


def test_a_child_that_may_not_make_namespaces_says_which_step_failed() -> None:
    """In a user namespace whose limit of network namespaces is none."""
    program = (
        "from bench.lab.box import namespaces\n"
        "from bench.lab.preflight import try_namespaces\n"
        "namespaces.enter_user_namespace()\n"
        "open('/proc/sys/user/max_net_namespaces', 'w').write('0')\n"
        "print(try_namespaces().fact)"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("PID, mount and network namespaces cannot be made (")


def test_tools_are_found_where_an_unprivileged_path_does_not_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    folders = preflight.search_path().split(os.pathsep)

    assert folders[0] == str(tmp_path)
    assert "/usr/sbin" in folders


@pytest.mark.parametrize(
    "config",
    [
        LabConfig(product="Voodoo-2"),
        LabConfig(parts=("carrots",)),
        LabConfig(mig_profile="9g.1gb"),
        LabConfig(exporter_fields=("DCGM_FI_PROF_SM_BUSY",)),
    ],
)
def test_what_does_not_exist_is_wrong_usage(config: LabConfig) -> None:
    with pytest.raises(WrongUsage):
        preflight.check_config(config)


@pytest.mark.parametrize("name", ["", "A", "-a", "a-", "a_b", "a/b", "..", "a" * 33])
def test_a_name_that_is_no_folder_name_is_refused(name: str) -> None:
    with pytest.raises(WrongUsage):
        checked(name)


@pytest.mark.parametrize("name", ["a", "lab-1", "0", "a" * 32])
def test_a_plain_name_is_taken(name: str) -> None:
    assert checked(name) == name
