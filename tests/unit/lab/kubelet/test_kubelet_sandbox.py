"""The command line that makes a container's walls."""

from itertools import pairwise

from bench.lab.kubelet.sandbox import Bind, Overlay, Security, View, arguments, capability, in_mount_order


def words(view: View) -> list[str]:
    return arguments(view, "/bwrap", status_fd=7, block_fd=8)


def view(**fields: object) -> View:
    return View(hostname="pod", command=("program", "--flag"), **fields)  # type: ignore[arg-type]


def test_the_program_comes_last_and_behind_a_separator() -> None:
    assert words(view())[-3:] == ["--", "program", "--flag"]


def test_a_container_has_its_own_processes_names_and_root_and_dies_with_the_agent() -> None:
    made = words(view())

    assert {"--unshare-pid", "--unshare-ipc", "--unshare-uts", "--as-pid-1", "--die-with-parent"} <= set(made)
    assert ("--hostname", "pod") in pairwise(made)


def test_settings_of_the_machine_are_shown_read_only() -> None:
    made = words(view())
    place = made.index("/proc/sys")

    assert made[place - 1 : place + 2] == ["--ro-bind", "/proc/sys", "/proc/sys"]


def test_neither_homes_nor_the_whole_root_are_ever_shown() -> None:
    made = words(view())
    shown = [source for option, source in pairwise(made) if option in {"--bind", "--ro-bind", "--dev-bind"}]

    assert not {"/", "/root", "/home", "/etc", "/var", "/run", "/tmp", "/dev", "/sys", "/proc"} & set(shown)


def test_capabilities_are_dropped_before_the_usual_ones_are_added() -> None:
    made = words(view())
    added = [value for option, value in pairwise(made) if option == "--cap-add"]

    assert ("--cap-drop", "ALL") in pairwise(made)
    assert "CAP_CHOWN" in added
    assert not {"CAP_SYS_ADMIN", "CAP_MKNOD", "CAP_NET_ADMIN"} & set(added)


def test_nobody_gets_power_over_devices_and_modules() -> None:
    asked = Security(add=("CAP_MKNOD", "CAP_SYS_MODULE", "CAP_NET_ADMIN"))
    privileged = words(view(security=Security(privileged=True)))

    kept = asked.capabilities()

    assert kept is not None
    assert "CAP_NET_ADMIN" in kept
    assert not {"CAP_MKNOD", "CAP_SYS_MODULE"} & kept
    assert ("--cap-drop", "CAP_MKNOD") in pairwise(privileged)
    assert ("--cap-drop", "ALL") not in pairwise(privileged)


def test_dropping_all_leaves_what_is_added() -> None:
    assert Security(drop=("CAP_ALL",), add=("CAP_KILL",)).capabilities() == {"CAP_KILL"}


def test_a_user_of_its_own_has_no_capabilities() -> None:
    made = words(view(security=Security(uid=1000, gid=3000)))

    assert ("--uid", "1000") in pairwise(made)
    assert ("--gid", "3000") in pairwise(made)
    assert "--cap-add" not in made


def test_only_granted_devices_are_there_and_they_are_empty() -> None:
    made = words(view(device_nodes=("/dev/nvidia3",)))
    place = made.index("/dev/nvidia3")

    assert made[place - 2 : place] == ["--dev-bind", "/dev/null"]
    assert not [word for word in words(view()) if "nvidia" in word]


def test_outer_mounts_come_before_inner_ones() -> None:
    inner, outer = Bind(source="/a", target="/data/deep/er"), Bind(source="/b", target="/data")

    assert in_mount_order([inner, outer]) == [outer, inner]


def test_volumes_lie_over_what_the_image_brings() -> None:
    made = words(
        view(
            overlays=(Overlay(source="/models", target="/root/.models"),),
            volumes=(Bind(source="/own", target="/root/.models", writable=True),),
        )
    )

    assert made.index("--tmp-overlay") < made.index("/own")
    assert made[made.index("/own") - 1] == "--bind"


def test_a_read_only_root_is_closed_after_everything_is_mounted() -> None:
    made = words(view(security=Security(read_only_root=True)))

    assert made[made.index("--remount-ro") + 1] == "/"
    assert made.index("--remount-ro") > made.index("--chdir")


def test_capabilities_are_spelt_as_the_kernel_does() -> None:
    assert [capability(each) for each in ("SYS_ADMIN", "cap_kill", "all")] == ["CAP_SYS_ADMIN", "CAP_KILL", "CAP_ALL"]
