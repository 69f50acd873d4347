"""Which rights the bench itself uses, which of a set this context has, and the roles that would give them."""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from bench.cluster.client import Cluster
from bench.cluster.inventory import COLLECTIONS, SYSTEM_NAMESPACE
from bench.model.rights import Right, Rights, distinct

ROLE: Final = "gpu-bench"
ASKED_AT_ONCE: Final = 8
REVIEWS: Final = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"

INVENTORY_RIGHTS: Final[Rights] = distinct(
    (
        *(
            Right(verb="list", group=api_version.rpartition("/")[0], resource=plural)
            for api_version, plural in COLLECTIONS.values()
        ),
        Right(verb="get", group="", resource="namespaces", name=SYSTEM_NAMESPACE),
    )
)
"""Of `bench inspect` and `bench plan`: each collection that the inventory is made of."""


def proxied_service(namespace: str, name: str, port: str) -> Right:
    """What asking a Service by way of the API server takes."""
    return Right(verb="get", group="", resource="services/proxy", namespace=namespace, name=f"{name}:{port}")


def missing_rights(cluster: Cluster, rights: Iterable[Right]) -> Rights:
    """
    Those that this context does not have, by asking the API server for each.

    Every authenticated user may ask (system:basic-user). A right that cannot be asked is not called missing: what
    needs it will say so.
    """
    asked = distinct(rights)
    with ThreadPoolExecutor(max_workers=ASKED_AT_ONCE) as pool:
        answers = list(pool.map(lambda right: _is_granted(cluster, right), asked))
    return tuple(right for right, is_granted in zip(asked, answers, strict=True) if not is_granted)


def _is_granted(cluster: Cluster, right: Right) -> bool:
    resource, _, subresource = right.resource.partition("/")
    attributes = {
        "verb": right.verb,
        "group": right.group,
        "resource": resource,
        "subresource": subresource,
        "namespace": right.namespace,
        "name": right.name,
    }
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {key: value for key, value in attributes.items() if value}},
    }
    answer = cluster.request("POST", REVIEWS, body=review)
    return bool(answer.get("status", {}).get("allowed", False))


def roles(rights: Iterable[Right], *, service_account: tuple[str, str] | None = None) -> Iterator[dict[str, Any]]:
    """
    A ClusterRole with the rights that hold everywhere, a Role for each namespace of the others; with a service account
    (namespace, name) also what binds them to it.

    Everywhere, because a run makes its namespaces itself and no role can be there before them.
    """
    asked = distinct(rights)
    for namespace in sorted({right.namespace for right in asked}):
        kind = "Role" if namespace else "ClusterRole"
        rules = list(_rules(right for right in asked if right.namespace == namespace))
        yield _object(kind, namespace, rules=rules)
        if service_account is not None:
            yield _binding(kind, namespace, service_account)


def _rules(rights: Iterable[Right]) -> Iterator[dict[str, Any]]:
    """One rule for all resources of a group and name that take the same verbs."""
    verbs: dict[tuple[str, str, str], list[str]] = {}
    for right in rights:
        verbs.setdefault((right.group, right.name, right.resource), []).append(right.verb)
    resources: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for (group, name, resource), found in verbs.items():
        resources.setdefault((group, name, tuple(found)), []).append(resource)
    for (group, name, found_verbs), found in resources.items():
        rule: dict[str, Any] = {"apiGroups": [group], "resources": found, "verbs": list(found_verbs)}
        yield rule | ({"resourceNames": [name]} if name else {})


def _object(kind: str, namespace: str, **content: Any) -> dict[str, Any]:
    metadata = {"name": ROLE} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": metadata, **content}


def _binding(kind: str, namespace: str, service_account: tuple[str, str]) -> dict[str, Any]:
    subject: Mapping[str, str] = {
        "kind": "ServiceAccount",
        "namespace": service_account[0],
        "name": service_account[1],
    }
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": ROLE}
    return _object(f"{kind}Binding", namespace, subjects=[subject], roleRef=role)
