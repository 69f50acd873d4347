"""A cluster whose namespaces are not held to the Pod Security level that was asked for."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from bench.lab.faults.changes import Change, Creation, Lab
from bench.lab.faults.declaration import Value
from bench.lab.faults.effects import until

_ADMISSION: Final = "/apis/admissionregistration.k8s.io/v1"
_LEVEL: Final = "pod-security.kubernetes.io/enforce"
_POLICY: Final = "no-pod-security"


class PodSecurityOff:
    """A policy that rewrites the label of namespaces, as one that a platform might have installed."""

    async def changes(self, lab: Lab, arguments: Mapping[str, Value]) -> Sequence[Change]:  # noqa: ARG002 - always the same
        return tuple(Creation(collection=f"{_ADMISSION}/{plural}", body=body) for plural, body in _no_pod_security())

    async def wait_until_planted(self, lab: Lab, arguments: Mapping[str, Value]) -> None:  # noqa: ARG002 - always the same
        async def is_rewritten() -> bool:
            return await _asked_level(lab) == "privileged"

        await until(is_rewritten, "the policy is in force")

    async def wait_until_cleared(self, lab: Lab) -> None:
        async def is_kept() -> bool:
            return await _asked_level(lab) == "baseline"

        await until(is_kept, "the policy is in force no more")


def _no_pod_security() -> Iterator[tuple[str, Mapping[str, Any]]]:
    rules = [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["namespaces"], "operations": ["CREATE"]}]
    patch = f'JSONPatch{{op: "add", path: "/metadata/labels/" + jsonpatch.escapeKey("{_LEVEL}"), value: "privileged"}}'
    spec = {
        "matchConstraints": {"resourceRules": rules},
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": f"[{patch}]"}}],
    }
    made = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": _POLICY}}
    yield "mutatingadmissionpolicies", {**made, "kind": "MutatingAdmissionPolicy", "spec": spec}
    bound = {**made, "kind": "MutatingAdmissionPolicyBinding", "spec": {"policyName": _POLICY}}
    yield "mutatingadmissionpolicybindings", bound


async def _asked_level(lab: Lab) -> str:
    """The level that a namespace of level baseline would get now; none is made."""
    metadata = {"name": "asked-for-its-level", "labels": {_LEVEL: "baseline"}}
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
    made = await lab.api.create("/api/v1/namespaces?dryRun=All", body)
    return str(made["metadata"]["labels"].get(_LEVEL, ""))
