"""A holder's word about its kernels, and what it means where there is none."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.lab.gpu.kernels import WHOLE, Kernels
from tests.unit.lab.gpu.small_lab import NODE, SmallLab


@pytest.mark.parametrize(("text", "ratio"), [("0.25\n", 0.25), ("1.000000\n", 1.0), ("0", 0.0)])
def test_a_share_is_read_as_it_was_told(tmp_path: Path, text: str, ratio: float) -> None:
    kernels = Kernels(tmp_path / "gpus" / "GPU-1.kernels")
    (tmp_path / "gpus" / "GPU-1.kernels").write_text(text)

    assert kernels.read_ratio() == ratio


@pytest.mark.parametrize("content", [b"", b"a quarter", b"1.5", b"-0.1", b"nan", b"inf", b"\x00\xff"])
def test_what_means_no_share_is_the_whole_device(tmp_path: Path, content: bytes) -> None:
    kernels = Kernels(tmp_path / "0.kernels")
    (tmp_path / "0.kernels").write_bytes(content)

    assert kernels.read_ratio() == WHOLE


def test_a_file_that_is_gone_and_one_that_was_forgotten_mean_the_whole_device(tmp_path: Path) -> None:
    file = tmp_path / "0.kernels"
    kernels = Kernels(file)
    file.write_text("0.5")
    kernels.forget()
    assert kernels.read_ratio() == WHOLE

    kernels.remove()

    assert not file.exists()
    assert kernels.read_ratio() == WHOLE


def test_any_user_of_a_pod_may_tell(tmp_path: Path) -> None:
    Kernels(tmp_path / "0.kernels")

    assert (tmp_path / "0.kernels").stat().st_mode & 0o777 == 0o666


def test_an_instance_is_told_of_by_its_own_file_and_the_device_by_those_of_all(
    make_lab: Callable[..., SmallLab],
) -> None:
    lab = make_lab(gpus_per_node=1, mig_profile="3g.40gb", gpu_cores=0.7)
    (told,), (other,) = (lab.give(uid, {"nvidia.com/mig-3g.40gb": "1"}).uuids for uid in ("a", "b"))
    lab.paths.gpu_kernels(told).write_text("0.5\n")
    lab.run(0.1, cores={"a": 0.0, "b": 0.0})
    lab.run(2.0, cores={"a": 0.3, "b": 0.3})

    state = lab.devices._boards[NODE][0].state
    shares = [
        part.sm_active_seconds / part.active_seconds
        for part in (state.instances[told], state.instances[other], state.part)
    ]
    assert shares == pytest.approx([0.5, 1.0, 0.75])
