"""What faults show to a container of devices that are not its own; without a fault every view stays as it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from bench.lab.config import Allocation
from bench.lab.faults.state import Faults
from bench.lab.gpu.allocation import VISIBLE_DEVICES, chosen_by_variable, literal_environment
from bench.lab.gpu.containers import View
from bench.lab.gpu.fleet import Gpu, Unit, units_of

ONE_QUOTA: Final = "gpu-of-"
"""Of the control group that all devices of a node are under when they are told to slow each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbourhood:
    """What there is on the node beside the pod's own devices."""

    gpus: tuple[Gpu, ...]
    held_by_others: tuple[Unit, ...]


def leaked(
    containers: Sequence[Mapping[str, Any]], views: Mapping[str, View], around: Neighbourhood, faults: Faults
) -> dict[str, View]:
    """The views of one pod's containers, with what leaks into them."""
    own = tuple(dict.fromkeys(unit for view in views.values() for unit in view.units))
    shown = {}
    for container in containers:
        view = views[container["name"]]
        if view.units:
            shown[container["name"]] = _of_holder(view, around, faults)
        elif not view.page_uuids:
            shown[container["name"]] = _of_bystander(container, own, around, faults)
        else:
            shown[container["name"]] = view
    return shown


def _of_holder(view: View, around: Neighbourhood, faults: Faults) -> View:
    if faults.find("device-hidden"):
        return View()
    if faults.find("claim-ignored"):
        view = replace(view, claimed_units=tuple(_next(unit, around.gpus) for unit in view.claimed_units))
    if faults.find("foreign-device-opens"):
        minors = (unit.gpu.minor for unit in (*view.units, *around.held_by_others))
        view = replace(view, minors=tuple(dict.fromkeys(minors)))
    return view


def _of_bystander(container: Mapping[str, Any], own: tuple[Unit, ...], around: Neighbourhood, faults: Faults) -> View:
    if own:
        return _seeing(own) if faults.find("second-container-leak") else View()
    if faults.find("device-leaked"):
        return _seeing([unit for gpu in around.gpus for unit in units_of(gpu)])
    if faults.find("visible-devices-honoured"):
        wanted = literal_environment(container).get(VISIBLE_DEVICES, "")
        return _seeing([units_of(gpu)[0] for gpu in chosen_by_variable(wanted, around.gpus)])
    return View()


def _seeing(units: Sequence[Unit]) -> View:
    """Of units that the container does not hold."""
    minors = dict.fromkeys(unit.gpu.minor for unit in units)
    return View(page_uuids=tuple(unit.uuid for unit in units), minors=tuple(minors))


def _next(unit: Unit, gpus: Sequence[Gpu]) -> Unit:
    """Another device that claims are given, the same one where there is none."""
    offered = [gpu for gpu in gpus if gpu.offered_by is Allocation.DRA]
    return units_of(offered[(offered.index(unit.gpu) + 1) % len(offered)])[0]
