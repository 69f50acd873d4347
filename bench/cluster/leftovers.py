"""What runs left in a cluster: found by their label in whatever is served there, and told from what is at work."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from bench.cluster.client import Cluster
from bench.cluster.heartbeat import beating
from bench.cluster.objects import Object, Ref, path_of
from bench.cluster.sandbox import RUN_LABEL, Leftover, is_ours, remove
from bench.errors import ApiRefused, BenchError, Forbidden

_NEEDED: Final = frozenset({"list", "delete"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The objects of each run, the last to be removed last; and what could not be looked at."""

    refs: Mapping[str, tuple[Ref, ...]] = field(default_factory=dict)
    unseen: tuple[str, ...] = ()


def find_labelled(cluster: Cluster, run_id: str = "") -> Found:
    """All objects that carry a run's label (of one run, or of any) and that nothing else will remove with it."""
    selector = f"{RUN_LABEL}={run_id}" if run_id else RUN_LABEL
    refs: dict[str, list[Ref]] = {}
    unseen: list[str] = []
    for api_version, resource in _resources(cluster):
        try:
            items = cluster.list(path_of(api_version, resource["name"]), label_selector=selector).items
        except (Forbidden, ApiRefused):
            unseen.append(f"{resource['name']} ({api_version})")
            continue
        for item in items:
            if not item["metadata"].get("ownerReferences"):
                ref = Ref.of({"apiVersion": api_version, "kind": resource["kind"], **_named(item)})
                refs.setdefault(item["metadata"]["labels"][RUN_LABEL], []).append(ref)
    return Found(refs={run: in_order(found) for run, found in refs.items()}, unseen=tuple(unseen))


def _named(item: Object) -> dict[str, Any]:
    return {"metadata": item["metadata"]}


def _resources(cluster: Cluster) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """What can be listed and deleted, each group in the version that it prefers."""
    groups = cluster.request("GET", "/apis").get("groups", ())
    for api_version in ("v1", *(each["preferredVersion"]["groupVersion"] for each in groups)):
        root = "/api/" if api_version == "v1" else "/apis/"
        try:
            listed = cluster.request("GET", root + api_version).get("resources", ())
        except ApiRefused:  # an aggregated API whose server is away
            continue
        for resource in listed:
            if "/" not in resource["name"] and set(resource.get("verbs", ())) >= _NEEDED:
                yield api_version, resource


def in_order(refs: Iterable[Ref]) -> tuple[Ref, ...]:
    """As they are to be removed: what lies in a namespace that goes itself is left out, and namespaces are the last."""
    given = list(dict.fromkeys(refs))
    namespaces = {ref.name for ref in given if ref.kind == "Namespace"}
    free = [ref for ref in given if ref.namespace not in namespaces]
    return tuple(sorted(free, key=lambda ref: ref.kind == "Namespace"))


def at_work(cluster: Cluster) -> Mapping[str, bool]:
    """Each run with a heartbeat, and whether it beats."""
    return beating(cluster, RUN_LABEL)


def still_there(cluster: Cluster, refs: Iterable[Ref], *, run_id: str) -> tuple[Ref, ...]:
    """Those of the refs that are there and carry the run's label."""
    found = [(ref, _find(cluster, ref)) for ref in refs]
    return tuple(ref for ref, each in found if each is not None and is_ours(each, run_id))


def _find(cluster: Cluster, ref: Ref) -> Object | None:
    try:
        return cluster.find(ref)
    except Forbidden:
        return None


def remove_all(cluster: Cluster, refs: Sequence[Ref], *, run_id: str) -> tuple[Leftover, ...]:
    """Remove these objects of a run; those that would not go."""
    for ref in refs:  # asked for all at once, so that their grace periods pass together
        try:
            cluster.delete(ref)
        except BenchError:  # said below, where it is waited for
            continue
    left = (remove(cluster, ref, run_id=run_id) for ref in refs)
    return tuple(each for each in left if each is not None)
