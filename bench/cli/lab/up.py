"""
Start a lab and wait until everything in it serves.

What is missing is built first. The lab stays up when this command has ended (see --foreground); should the command be
ended before the lab is ready, the lab goes down by itself.
"""

import argparse
import math
import os
import select
import signal
import stat
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Final

from bench.cli.lab._shown import Shown
from bench.errors import LabFailed
from bench.lab import names, preflight
from bench.lab.box.leash import Ended, Failed
from bench.lab.build import ensure_for, reporter_for
from bench.lab.config import Allocation, LabConfig
from bench.lab.up import Held, bring_up

_DEFAULT: Final = LabConfig()
_STDIN: Final = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One option a field of `LabConfig`."""
    parser.add_argument("--name", default=_DEFAULT.name, help="several labs may run side by side")
    _add_devices(parser.add_argument_group("nodes and devices"))
    times = parser.add_argument_group("intervals, as the programs have them by default")
    for option, field, what in (
        ("--exporter-interval", "exporter_interval_seconds", "how often the DCGM exporter reads the devices"),
        ("--scrape-interval", "scrape_interval_seconds", "how often Prometheus asks"),
        ("--hpa-sync", "hpa_sync_seconds", "how often the HorizontalPodAutoscaler decides"),
        ("--hpa-stabilization", "hpa_downscale_stabilization_seconds", "how long it waits before it scales down"),
    ):
        default = getattr(_DEFAULT, field)
        parser_help = f"{what} (default {default:g})"
        times.add_argument(option, dest=field, type=_positive, default=default, metavar="SECONDS", help=parser_help)
    parser.add_argument(
        "--exporter-fields",
        type=_listed,
        default=_DEFAULT.exporter_fields,
        metavar="FIELD,...",
        help="what the DCGM exporter shows beside its defaults, as DCGM_FI_PROF_SM_ACTIVE",
    )
    ports = parser.add_argument_group("ports on 127.0.0.1; 0 takes a free one")
    for name, what in (("api", "of the API server"), ("prometheus", "of Prometheus"), ("gateway", "of the Gateway")):
        ports.add_argument(f"--{name}-port", type=_port, default=0, metavar="PORT", help=what)
    parser.add_argument(
        "--images", action="append", default=[], metavar="FILE", help="adds entries to the image catalogue; repeatable"
    )
    parser.add_argument(
        "--parts", type=_listed, default=_DEFAULT.parts, help=f"default {','.join(_DEFAULT.parts)}; may be empty"
    )
    parser.add_argument(
        "--foreground", action="store_true", help="stay attached, and take the lab down at Ctrl-C or end of input"
    )


def _add_devices(group: "argparse._ArgumentGroup") -> None:
    group.add_argument("--nodes", type=_count, default=_DEFAULT.nodes, help=f"default {_DEFAULT.nodes}")
    group.add_argument(
        "--gpus", dest="gpus_per_node", type=_count_or_none, default=_DEFAULT.gpus_per_node, help="on each node"
    )
    group.add_argument("--product", default=_DEFAULT.product, help=f"default {_DEFAULT.product}")
    group.add_argument(
        "--allocation", type=Allocation, choices=list(Allocation), default=_DEFAULT.allocation, help="by which API"
    )
    group.add_argument(
        "--time-slices", type=_count, default=_DEFAULT.time_slices, help="pods that may share one device"
    )
    group.add_argument("--mig", dest="mig_profile", default="", metavar="PROFILE", help="for instance 1g.10gb")
    group.add_argument(
        "--gpu-cores", type=_positive, default=_DEFAULT.gpu_cores, help="CPU cores that are 100 %% of one device"
    )


def run(arguments: argparse.Namespace) -> int:
    """Kubeconfig and addresses on standard output, progress on standard error."""
    given = vars(arguments)
    foreground, images = given.pop("foreground"), given.pop("images")
    catalogues = tuple(str(Path(image).resolve()) for image in images)
    config = LabConfig(**{**given, "name": names.checked(arguments.name), "image_catalogues": catalogues})
    preflight.check()
    preflight.check_config(config)
    with reporter_for() as report:
        programs = ensure_for(config, report)
    began = time.monotonic()
    with Shown() as shown:
        held = bring_up(config, programs, shown.tell)
    seconds = time.monotonic() - began
    if foreground:
        return _stay(config, held, seconds)
    held.let_go()
    _print(config, held, seconds)
    return 0


def _print(config: LabConfig, held: Held, seconds: float) -> None:
    suffix = "" if config.name == _DEFAULT.name else f" --name {config.name}"
    print(f"lab {config.name} is up after {seconds:.1f} s: {_size(config)}")
    for label, value in (
        ("kubeconfig", held.paths.kubeconfig),
        ("Prometheus", _url(config, held, "prometheus")),
        ("Gateway", _url(config, held, "gateway")),
        ("look", f"bench lab exec{suffix} -- kubectl get nodes,pods -A"),
        ("how it is", f"bench lab status{suffix}"),
        ("end", f"bench lab down{suffix}"),
    ):
        print(f"  {label:<11}{value}")
    sys.stdout.flush()


def _url(config: LabConfig, held: Held, part: str) -> str:
    return f"http://127.0.0.1:{held.ports[part]}" if part in config.parts else "none"


def _size(config: LabConfig) -> str:
    nodes = "1 node" if config.nodes == 1 else f"{config.nodes} nodes"
    devices = f"{config.gpus_per_node} simulated {config.product}" if config.gpus_per_node else "no devices"
    return f"{nodes} with {devices}{' each' if config.nodes > 1 else ''}"


def _stay(config: LabConfig, held: Held, seconds: float) -> int:
    """Until Ctrl-C, SIGTERM, end of input, or the end of the lab."""
    watched: list[Held | int] = [held, *_inputs()]
    try:
        # Also where a shell started this in the background, with Ctrl-C ignored: who sends a signal means it.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _interrupt)
        _print(config, held, seconds)
        print("in the foreground: Ctrl-C takes the lab down", file=sys.stderr)
        while True:
            readable, _, _ = select.select(watched, [], [])
            if held in readable and (why := _why_it_ends(held)):
                print(f"the lab goes down: {why}", file=sys.stderr)
                return 0
            if _STDIN in readable and not os.read(_STDIN, 4096):
                return 0
    except KeyboardInterrupt:
        return 0
    finally:
        held.wait_until_gone()


def _why_it_ends(held: Held) -> str:
    """Empty while it does not; raises `LabFailed` if nobody wanted it to."""
    match held.listen():
        case Ended(by=who):
            return who
        case None:
            raise LabFailed(f"lab {held.paths.root.name} was killed.")
        case Failed(message=told):
            raise LabFailed(f"lab {held.paths.root.name}: {told}")
    return ""


def _inputs() -> list[int]:
    """
    Standard input, if its end means that someone has gone: a terminal or a pipe.

    From /dev/null or a file the end comes at once and means nothing.
    """
    try:
        mode = os.fstat(_STDIN).st_mode
    except OSError:
        return []
    return [_STDIN] if os.isatty(_STDIN) or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) else []


def _interrupt(number: int, _: FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return value


def _count_or_none(text: str) -> int:
    return 0 if text == "0" else _count(text)


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value < 1 << 16:
        raise argparse.ArgumentTypeError(f"{text} is no port")
    return value


def _listed(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (name.strip() for name in text.split(","))))
