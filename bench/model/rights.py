"""
Rights: verbs on resources, as RBAC spells them.

A scenario says which kinds of object it makes, and by that which rights it needs on them; what it needs beside those it
says with the words of this module.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Right:
    """One verb on one resource, in every namespace, or in one, or on one object."""

    verb: str
    group: str
    resource: str
    namespace: str = ""
    name: str = ""

    def __str__(self) -> str:
        """``create deployments.apps``, as kubectl writes it."""
        group = f".{self.group}" if self.group else ""
        object_name = f" {self.name!r}" if self.name else ""
        place = f" in namespace {self.namespace}" if self.namespace else ""
        return f"{self.verb} {self.resource}{group}{object_name}{place}"


Rights = tuple[Right, ...]

MADE: Final = ("create", "get", "list", "watch", "delete")
"""What the bench does with an object of its own: create it, wait for its state, remove it, and see it gone."""

_RESOURCES: Final[Mapping[str, str]] = {
    "ConfigMap": "configmaps",
    "CronJob": "cronjobs.batch",
    "DaemonSet": "daemonsets.apps",
    "Deployment": "deployments.apps",
    "DeviceClass": "deviceclasses.resource.k8s.io",
    "Gateway": "gateways.gateway.networking.k8s.io",
    "HTTPRoute": "httproutes.gateway.networking.k8s.io",
    "HorizontalPodAutoscaler": "horizontalpodautoscalers.autoscaling",
    "Job": "jobs.batch",
    "LimitRange": "limitranges",
    "Namespace": "namespaces",
    "NetworkPolicy": "networkpolicies.networking.k8s.io",
    "PersistentVolumeClaim": "persistentvolumeclaims",
    "Pod": "pods",
    "PriorityClass": "priorityclasses.scheduling.k8s.io",
    "ResourceClaim": "resourceclaims.resource.k8s.io",
    "ResourceClaimTemplate": "resourceclaimtemplates.resource.k8s.io",
    "ResourceQuota": "resourcequotas",
    "Role": "roles.rbac.authorization.k8s.io",
    "RoleBinding": "rolebindings.rbac.authorization.k8s.io",
    "Secret": "secrets",
    "Service": "services",
    "ServiceAccount": "serviceaccounts",
    "StatefulSet": "statefulsets.apps",
}


def on(resource: str, *verbs: str) -> Rights:
    """Verbs on a resource as kubectl names it: ``pods``, ``pods/log``, ``deployments.apps``."""
    plain, _, group = resource.partition(".")
    return tuple(Right(verb=verb, group=group, resource=plain) for verb in verbs)


def made(kind: str) -> Rights:
    """
    What making objects takes: of a kind by its name, of one that Kubernetes does not bring as ``rayjobs.ray.io``.

    Raises:
        ValueError: neither of both.

    """
    resource = _RESOURCES.get(kind, kind)
    if resource == kind and "." not in kind:
        raise ValueError(f"the kind {kind!r} is not known; name its resource and group, such as 'rayjobs.ray.io'")
    return on(resource, *MADE)


def followed(resource: str) -> Rights:
    """What following a collection takes."""
    return on(resource, "list", "watch")


GATEWAYS: Final = on("gateways.gateway.networking.k8s.io", "list")
"""Of `rig.gateway`."""
LOGS: Final = on("pods/log", "get")
"""Of `rig.logs`."""
PROBES: Final = (*made("Pod"), *LOGS)
"""Of `rig.probes`: a pod a node, heard through its log; the exporters are found among all pods."""
LOAD_PODS: Final = (*made("Namespace"), *made("Secret"), *made("Job"), *made("Service"), *on("pods/proxy", "create"))
"""Of `rig.load` with workers: Jobs in a namespace of their own, and the master among them asked through the proxy."""


def polled(metric: str, *, kind: str = "Object") -> Rights:
    """
    What asking the metrics API takes as an HPA does; `kind` is that of the HPA's metric.

    The API server reads these paths as it reads any other: an external metric is a collection of its own name.
    """
    match kind:
        case "External":
            return (Right(verb="list", group="external.metrics.k8s.io", resource=metric),)
        case "Pods":
            return (Right(verb="get", group="custom.metrics.k8s.io", resource=f"pods/{metric}"),)
        case _:
            return (Right(verb="get", group="custom.metrics.k8s.io", resource="metrics", name=metric),)


def distinct(rights: Iterable[Right]) -> Rights:
    """Each once, in an order of their own."""
    return tuple(
        sorted(set(rights), key=lambda each: (each.group, each.resource, each.namespace, each.name, each.verb))
    )


def told(rights: Iterable[Right]) -> Iterator[str]:
    """A line a resource, such as ``create, get, list pods``."""
    verbs: dict[Right, list[str]] = {}
    for right in distinct(rights):
        bare = Right(verb="", group=right.group, resource=right.resource, namespace=right.namespace, name=right.name)
        verbs.setdefault(bare, []).append(right.verb)
    for bare, found in verbs.items():
        yield f"{', '.join(found)}{bare}"
