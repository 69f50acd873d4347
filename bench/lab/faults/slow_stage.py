"""
A delay in exactly one stage between load and relief, at the place where that stage happens.

In the exporter, the kubelet and the adapter's query the delay is the lab's own. What the API server is asked to do is
held up by an admission webhook that answers late, as slow webhooks do on clusters: the autoscaler's write of the
replicas, the creation and the deletion of pods, the scheduler's binding, and the endpoints that the Gateway follows.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml

from bench.lab.api import ApiError
from bench.lab.control.files import Pki
from bench.lab.faults.changes import Change, Creation, Edit, Lab
from bench.lab.faults.declaration import Value
from bench.lab.faults.effects import until, until_up
from bench.lab.kubelet.slow_admission import PROBE_NAME
from bench.lab.network import BRIDGE_ADDRESS, SLOW_ADMISSION_PORT
from bench.lab.parts import adapter
from bench.lab.parts.prometheus import NAMESPACE as MONITORING

_WEBHOOKS: Final = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
_PROBES: Final = "/api/v1/namespaces/default/configmaps"
_NAME: Final = "slow-admission"
_DEPLOYMENT: Final = adapter.ready[0].path
_CONFIG_MAP: Final = f"/api/v1/namespaces/{MONITORING}/configmaps/prometheus-adapter"


@dataclass(frozen=True, slots=True, kw_only=True)
class _HeldUp:
    """Requests that the webhook is asked about."""

    resource: str
    operations: tuple[str, ...]
    by: str
    """Whose requests: the user name."""
    group: str = ""


def _controller(name: str) -> str:
    return f"system:serviceaccount:kube-system:{name}"


_ENDPOINTS: Final = _HeldUp(
    group="discovery.k8s.io",
    resource="endpointslices",
    operations=("CREATE", "UPDATE"),
    by=_controller("endpointslice-controller"),
)
HELD_UP: Final[Mapping[str, _HeldUp]] = {
    "decision": _HeldUp(
        group="apps",
        resource="deployments/scale",
        operations=("UPDATE",),
        by=_controller("horizontal-pod-autoscaler"),
    ),
    "pod-created": _HeldUp(resource="pods", operations=("CREATE",), by=_controller("replicaset-controller")),
    "scheduled": _HeldUp(resource="pods/binding", operations=("CREATE",), by="system:kube-scheduler"),
    "serving": _ENDPOINTS,
    "pod-deleted": _HeldUp(resource="pods", operations=("DELETE",), by=_controller("replicaset-controller")),
    "last-answer": _ENDPOINTS,
}
"""Stages that end with a request to the API server."""


class SlowStage:
    """What the stage's delay changes in the cluster; nothing for those that the lab's own programs delay."""

    async def changes(self, lab: Lab, arguments: Mapping[str, Value]) -> Sequence[Change]:
        stage = str(arguments["stage"])
        if stage == "metrics-api":
            return await _older_query(lab, float(arguments["seconds"]))
        if stage in HELD_UP:
            return (Creation(collection=_WEBHOOKS, body=configuration(HELD_UP[stage], lab.paths.pki)),)
        return ()

    async def wait_until_planted(self, lab: Lab, arguments: Mapping[str, Value]) -> None:
        if arguments["stage"] == "metrics-api":
            await _until_rolled_out(lab)
        if arguments["stage"] in HELD_UP:
            await until(lambda: _is_asked(lab), "the API server asks the webhook")

    async def wait_until_cleared(self, lab: Lab) -> None:
        async def is_not_asked() -> bool:
            return not await _is_asked(lab)

        await until(is_not_asked, "the API server asks no webhook")
        await _until_rolled_out(lab)


async def _until_rolled_out(lab: Lab) -> None:
    """While an adapter of before still answers, the Deployment counts as up and the change is not in effect."""

    async def is_alone() -> bool:
        status = (await lab.api.get(_DEPLOYMENT))["status"]
        return bool(status.get("replicas") == status.get("updatedReplicas") == status.get("availableReplicas"))

    await until_up(lab, adapter.ready)
    await until(is_alone, "the adapter of before is gone")


async def _older_query(lab: Lab, seconds: float) -> Sequence[Change]:
    """The adapter's rules look at the past; it reads them at its start only."""
    found = await lab.api.get(_CONFIG_MAP)
    rules = with_offset(yaml.safe_load(found["data"]["config.yaml"]), seconds)
    template = (await lab.api.get(_DEPLOYMENT))["spec"]["template"]["metadata"]
    annotations = {**(template.get("annotations") or {}), "gpu-bench/rules": f"offset {seconds:g} s"}
    return (
        Edit(path=_CONFIG_MAP, field=("data", "config.yaml"), value=yaml.safe_dump(rules, sort_keys=False)),
        Edit(path=_DEPLOYMENT, field=("spec", "template", "metadata", "annotations"), value=annotations),
    )


def with_offset(rules: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """The adapter's configuration with every query that many seconds back."""
    selection = "<<.Series>>{<<.LabelMatchers>>}"
    back = f"{selection} offset {round(seconds * 1000)}ms"
    return {
        kind: [{**rule, "metricsQuery": rule["metricsQuery"].replace(selection, back)} for rule in of_kind]
        for kind, of_kind in rules.items()
    }


def configuration(held_up: _HeldUp, pki_folder: Any) -> dict[str, Any]:
    """The object that has the API server ask; an answer that never comes holds nothing up for ever."""
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": _NAME},
        "webhooks": [
            _webhook(pki_folder, _NAME, held_up, f"request.userInfo.username == '{held_up.by}'"),
            _webhook(
                pki_folder,
                PROBE_NAME,
                _HeldUp(resource="configmaps", operations=("CREATE",), by=""),
                f"object.metadata.name == '{PROBE_NAME}'",
            ),
        ],
    }


def _webhook(pki_folder: Any, name: str, held_up: _HeldUp, condition: str) -> dict[str, Any]:
    ca_pem = Pki(pki_folder).ca.read_bytes()
    return {
        "name": f"{name}.lab.internal",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "timeoutSeconds": 30,
        "failurePolicy": "Ignore",
        "clientConfig": {
            "url": f"https://{BRIDGE_ADDRESS}:{SLOW_ADMISSION_PORT}/",
            "caBundle": base64.b64encode(ca_pem).decode(),
        },
        "rules": [
            {
                "apiGroups": [held_up.group],
                "apiVersions": ["v1"],
                "operations": list(held_up.operations),
                "resources": [held_up.resource],
            }
        ],
        "matchConditions": [{"name": "meant", "expression": condition}],
    }


async def _is_asked(lab: Lab) -> bool:
    """Whether the API server asks the webhook, by an object that it refuses; nothing is created."""
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": PROBE_NAME}}
    try:
        await lab.api.create(f"{_PROBES}?dryRun=All", body)
    except ApiError as error:
        if "denied the request" not in error.message:
            raise
        return True
    return False
