"""The only place where the bench creates objects: each is labelled, journaled before, and removed in reverse order."""

import contextlib
import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from types import TracebackType
from typing import Any, Final, Self

from bench import interruption
from bench.cluster.client import Cluster
from bench.cluster.heartbeat import Heartbeat, lease_of
from bench.cluster.journal import Journal
from bench.cluster.objects import Object, Ref
from bench.cluster.wait import wait_until_gone
from bench.errors import ApiRefused, BenchError, Forbidden

RUN_LABEL: Final = "bench.run-id"
GIVEN_UP: Final = "its removal was interrupted"
REMOVAL_SECONDS: Final = 120.0
"""A namespace with pods that ignore SIGTERM for their 30 s, four times over."""
END_GRACE_SECONDS: Final = 2
"""For pods when all is over: nobody asks them any more, and nothing of theirs is kept. Kubernetes waits half of the
longest `terminationGracePeriodSeconds` for a namespace whose pods are still there when it first looks, after 5 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """An object that would not go, and why."""

    ref: Ref
    reason: str


@dataclass(slots=True)
class Sandbox:
    """The objects of one run. Leaving it removes them; what would not go is in `left`."""

    cluster: Cluster
    journal: Journal
    run_id: str
    left: list[Leftover] = field(default_factory=list)
    _created: list[Ref] = field(default_factory=list)
    _heartbeat: Heartbeat | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def namespace(self, name: str, labels: Mapping[str, str] | None = None) -> str:
        """A namespace of the run's own."""
        metadata = {"name": name, "labels": dict(labels or {})}
        self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        if self._heartbeat is None:
            self._heartbeat = Heartbeat(self.cluster, labelled(lease_of(name, self.run_id), self.run_id))
        return name

    def create(self, manifest: Mapping[str, Any]) -> Object:
        """Create one object, labelled (its pods too), named on disk before. Raises `Conflict` when it is there."""
        ref = Ref.of(manifest)
        self.journal.intend(ref)  # where that is not possible, nothing is created
        # Before it is created: an interruption or a broken connection may come when the server has it already.
        self._created.append(ref)
        try:
            return self.cluster.create(labelled(manifest, self.run_id))
        except (ApiRefused, Forbidden):
            self._created.remove(ref)
            self.journal.removed(ref)
            raise

    def remove(self, *refs: Ref, grace_seconds: int | None = None) -> None:
        """
        Remove objects now and wait until they are gone; one that stays is a leftover. Others' objects are let be.

        Of several, all are asked to go before the first is waited for. `grace_seconds`: for pods that would use up a
        longer one and save nothing.
        """
        for ref in refs if len(refs) > 1 or grace_seconds is not None else ():
            with contextlib.suppress(BenchError):  # told when it is waited for
                ask_to_go(self.cluster, ref, run_id=self.run_id, grace_seconds=grace_seconds)
        for ref in refs:
            left = remove(self.cluster, ref, run_id=self.run_id)
            if left is None:
                self._forget(ref)
            else:
                self.left.append(left)

    def close(self) -> None:
        """
        Remove all that is left, the last first. What lies in a namespace of ours goes with the namespace.

        Namespaces that follow each other go together: Kubernetes lets each of them rest for 5 s before it empties it.
        A user who interrupts this is told what stays: the rest is in `left` and in the journal.
        """
        try:
            with interruption.cleaning():
                for refs in () if interruption.is_given_up() else self._own_together():
                    self._end_pods(*refs)
                    self.remove(*refs)
        except KeyboardInterrupt:
            if not interruption.is_asked():
                raise
        told = {each.ref for each in self.left}
        self.left.extend(Leftover(ref=ref, reason=GIVEN_UP) for ref in self._own() if ref not in told)
        if self._heartbeat is not None:
            self._heartbeat.stop()

    def _end_pods(self, *refs: Ref) -> None:
        """Pods in namespaces that go are given little time; while a namespace goes, no controller replaces them."""
        for ref in filter(_is_namespace, refs):
            with contextlib.suppress(BenchError):  # then they take their time
                if ask_to_go(self.cluster, ref, run_id=self.run_id):
                    for pod in self.cluster.list(f"/api/v1/namespaces/{ref.name}/pods").items:
                        named = Ref(api_version="v1", kind="Pod", name=pod["metadata"]["name"], namespace=ref.name)
                        self.cluster.delete(named, grace_seconds=END_GRACE_SECONDS)

    def _own(self) -> tuple[Ref, ...]:
        """What is there, without what goes with its namespace; the last that was created comes first."""
        namespaces = {ref.name for ref in self._created if _is_namespace(ref)}
        return tuple(ref for ref in reversed(self._created) if ref.namespace not in namespaces)

    def _own_together(self) -> Iterator[tuple[Ref, ...]]:
        """The same, by what may be asked to go at once."""
        for are_namespaces, group in groupby(self._own(), key=_is_namespace):
            refs = tuple(group)
            yield from (refs,) if are_namespaces else ((ref,) for ref in refs)

    def _forget(self, gone: Ref) -> None:
        within = [ref for ref in self._created if _is_namespace(gone) and ref.namespace == gone.name]
        for ref in (*within, gone):
            self.journal.removed(ref)
            if ref in self._created:
                self._created.remove(ref)


def _is_namespace(ref: Ref) -> bool:
    return ref.kind == "Namespace"


def remove(cluster: Cluster, ref: Ref, *, run_id: str) -> Leftover | None:
    """Remove an object of this run and wait until it is gone; why it stays, if it does. Others' objects are let be."""
    try:
        if ask_to_go(cluster, ref, run_id=run_id):
            wait_until_gone(cluster, ref, within_seconds=REMOVAL_SECONDS)
    except BenchError as error:
        return Leftover(ref=ref, reason=str(error))
    return None


def ask_to_go(cluster: Cluster, ref: Ref, *, run_id: str, grace_seconds: int | None = None) -> bool:
    """Delete an object of this run; whether there was one."""
    found = cluster.find(ref)
    if found is None or not is_ours(found, run_id):
        return False
    cluster.delete(ref, grace_seconds=grace_seconds)
    return True


def is_ours(found: Mapping[str, Any], run_id: str) -> bool:
    """Whether the object carries the label of this run."""
    return (found["metadata"].get("labels") or {}).get(RUN_LABEL) == run_id


def labelled(manifest: Mapping[str, Any], run_id: str) -> dict[str, Any]:
    """The manifest with the run's label on it and on the pods that it is a template of."""
    marked: dict[str, Any] = copy.deepcopy(dict(manifest))
    marked["metadata"].setdefault("labels", {})[RUN_LABEL] = run_id
    template = marked.get("spec", {}).get("template")
    if isinstance(template, dict) and "spec" in template:
        template.setdefault("metadata", {}).setdefault("labels", {})[RUN_LABEL] = run_id
    return marked
