"""
The arithmetic of a Pod's status: phase and conditions from what its containers are. Pure.

Follows the kubelet's own rules, case by case, because controllers, schedulers and people read these fields.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

Status = Mapping[str, Any]

FINAL_PHASES: Final = frozenset({"Succeeded", "Failed"})


def is_sidecar(container: Mapping[str, Any]) -> bool:
    """An init container that keeps running beside the others."""
    return bool(container.get("restartPolicy") == "Always")


def should_restart(pod_policy: str, container: Mapping[str, Any], exit_code: int) -> bool:
    """Whether a container that ended is started again."""
    for rule in container.get("restartPolicyRules") or ():
        on = rule.get("exitCodes") or {}
        held = exit_code in (on.get("values") or ())
        if rule.get("action") == "Restart" and held == (on.get("operator") == "In"):
            return True
    policy = container.get("restartPolicy") or pod_policy
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def phase(spec: Mapping[str, Any], inits: Sequence[Status], mains: Sequence[Status], *, over: bool) -> str:
    """
    What the Pod as a whole is.

    `over`: nothing will be started any more, because the pod is being ended.
    """
    policy = spec.get("restartPolicy", "Always")
    failed, pending = _init_progress(spec, inits)
    if failed and policy == "Never":
        return "Failed"
    counts = _counts(mains)
    if not over and (pending or failed or counts["waiting"]):
        return "Pending"
    if counts["running"]:
        return "Running"
    if over and counts["waiting"]:
        return "Failed"
    if not counts["stopped"]:
        return "Pending"
    return _phase_of_stopped(policy, counts, over=over)


def _phase_of_stopped(policy: str, counts: Mapping[str, int], *, over: bool) -> str:
    if not over and policy == "Always":
        return "Running"
    if counts["stopped"] == counts["succeeded"]:
        return "Succeeded"
    return "Failed" if over or policy == "Never" else "Running"


def _counts(mains: Iterable[Status]) -> dict[str, int]:
    counts = dict.fromkeys(("running", "waiting", "stopped", "succeeded"), 0)
    for each in mains:
        state = each["state"]
        if "running" in state:
            counts["running"] += 1
        elif "terminated" in state:
            counts["stopped"] += 1
            counts["succeeded"] += state["terminated"]["exitCode"] == 0
        elif "terminated" in (each.get("lastState") or {}):
            counts["stopped"] += 1
        else:
            counts["waiting"] += 1
    return counts


def _init_progress(spec: Mapping[str, Any], inits: Sequence[Status]) -> tuple[bool, bool]:
    """Whether one has failed, and whether one is still to come."""
    failed = pending = False
    sidecars = {each["name"] for each in spec.get("initContainers") or () if is_sidecar(each)}
    for each in inits:
        if each["name"] in sidecars:
            pending |= _sidecar_pending(each)
            continue
        ended = each["state"].get("terminated") or (each.get("lastState") or {}).get("terminated")
        if ended is None or "running" in each["state"]:
            pending = True
        elif ended["exitCode"] != 0:
            failed = True
        elif "terminated" not in each["state"]:
            pending = True
    return failed, pending


def _sidecar_pending(status: Status) -> bool:
    """One that has run and ended holds nothing up: it will be restarted beside the others."""
    if "running" in status["state"]:
        return not status.get("started")
    return "waiting" in status["state"] and not status.get("lastState")


def _condition(kind: str, *, holds: bool, reason: str = "", message: str = "") -> dict[str, Any]:
    condition: dict[str, Any] = {"type": kind, "status": "True" if holds else "False"}
    if reason:
        condition["reason"] = reason
    if message:
        condition["message"] = message
    return condition


def _names(names: Iterable[str]) -> str:
    return "[" + " ".join(names) + "]"


def initialized(spec: Mapping[str, Any], inits: Sequence[Status], mains: Sequence[Status], phase_now: str) -> Status:
    """All init containers are done, and sidecars have started."""
    sidecars = {each["name"] for each in spec.get("initContainers") or () if is_sidecar(each)}
    open_ones = [each["name"] for each in inits if not _init_done(each, sidecars)]
    if phase_now == "Succeeded":
        return _condition("Initialized", holds=True, reason="PodCompleted")
    begun = any("waiting" not in each["state"] or each.get("lastState") for each in mains)
    if not open_ones or begun:
        return _condition("Initialized", holds=True)
    message = f"containers with incomplete status: {_names(open_ones)}"
    return _condition("Initialized", holds=False, reason="ContainersNotInitialized", message=message)


def _init_done(status: Status, sidecars: set[str]) -> bool:
    if status["name"] in sidecars:
        return bool(status.get("started"))
    return bool((status["state"].get("terminated") or {}).get("exitCode") == 0)


def containers_ready(spec: Mapping[str, Any], statuses: Sequence[Status], phase_now: str) -> Status:
    """Every container, sidecars among them, is ready."""
    if phase_now in FINAL_PHASES:
        reason = "PodCompleted" if phase_now == "Succeeded" else "PodFailed"
        return _condition("ContainersReady", holds=False, reason=reason)
    once = {each["name"] for each in spec.get("initContainers") or () if not is_sidecar(each)}
    unready = [each["name"] for each in statuses if each["name"] not in once and not each["ready"]]
    if not unready:
        return _condition("ContainersReady", holds=True)
    message = f"containers with unready status: {_names(unready)}"
    return _condition("ContainersReady", holds=False, reason="ContainersNotReady", message=message)


def ready(spec: Mapping[str, Any], of_containers: Status, known: Sequence[Status]) -> Status:
    """The Pod takes part in Services: its containers are ready and its readiness gates hold."""
    if of_containers["status"] != "True":
        return {**of_containers, "type": "Ready"}
    seen = {each["type"]: each["status"] for each in known}
    messages = [message for gate in spec.get("readinessGates") or () if (message := _gate(gate["conditionType"], seen))]
    if not messages:
        return _condition("Ready", holds=True)
    return _condition("Ready", holds=False, reason="ReadinessGatesNotReady", message=", ".join(messages))


def _gate(kind: str, seen: Mapping[str, str]) -> str:
    status = seen.get(kind)
    if status == "True":
        return ""
    if status is None:
        return f'corresponding condition of pod readiness gate "{kind}" does not exist.'
    return f'the status of pod readiness gate "{kind}" is not "True", but {status}'


def sandbox_ready(*, holds: bool) -> Status:
    """The pod's network is up."""
    return _condition("PodReadyToStartContainers", holds=holds)


def with_times(now: str, conditions: Iterable[Status], before: Iterable[Status]) -> list[dict[str, Any]]:
    """A transition time is that of the last change of `status`, not of the last look."""
    known = {each["type"]: each for each in before}
    timed = []
    for condition in conditions:
        old = known.get(condition["type"])
        same = old is not None and old["status"] == condition["status"]
        since = old["lastTransitionTime"] if old is not None and same else now
        timed.append({**condition, "lastProbeTime": None, "lastTransitionTime": since})
    return timed
