"""
A cluster as the contract tests see it: objects as dictionaries, waits that are watches with deadlines.

Speaks through the official client alone, so that a test cannot tell one cluster from another.
"""

import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import pytest
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import NotFoundError, ResourceNotFoundError
from kubernetes.dynamic.resource import Resource
from urllib3.response import BaseHTTPResponse

from tests.contract import answers

Object = dict[str, Any]
Found = TypeVar("Found")

PODS = ("v1", "Pod")
EVENTS = ("v1", "Event")
BAD_GATEWAY = 502
UNAVAILABLE = 503
LISTENS_SECONDS = 30.0
"""A container runs before its program listens."""


class ConditionNotMet(AssertionError):
    """A cluster did not come to a state in time; the message shows what was there instead."""


class WatchBroke(AssertionError):
    """The API server ended a watch with an error, for instance 410: the version is no longer known."""


class Target:
    """One cluster. `strict`: an unmet need is a failure (where the cluster is ours to equip), not a skip."""

    def __init__(self, kubeconfig: Path, scratch: Path, *, strict: bool = False, probe_image: str = "") -> None:
        self.strict = strict
        self.probe_image = probe_image
        configuration = client.Configuration()
        config.load_kube_config(str(kubeconfig), client_configuration=configuration)  # type: ignore[no-untyped-call]
        self._connect(configuration, scratch)

    def _connect(self, configuration: client.Configuration, scratch: Path) -> None:
        self.configuration = configuration
        self.api = client.ApiClient(configuration)
        cache = str(scratch / f"discovery-{secrets.token_hex(4)}.json")
        self._dynamic = DynamicClient(self.api, cache_file=cache)  # type: ignore[no-untyped-call]
        self._namespaces: list[str] = []
        self._pause = threading.Event()

    def close(self) -> None:
        self.api.rest_client.pool_manager.clear()

    # objects

    def resource(self, api_version: str, kind: str) -> Resource:
        found: Resource = self._dynamic.resources.get(api_version=api_version, kind=kind)
        return found

    def serves(self, api_version: str, kind: str) -> bool:
        try:
            self.resource(api_version, kind)
        except ResourceNotFoundError:
            return False
        return True

    def create(self, manifest: Object, **options: Any) -> Object:
        resource = self.resource(manifest["apiVersion"], manifest["kind"])
        namespace = manifest["metadata"].get("namespace")
        return answers.read(resource.create(body=manifest, namespace=namespace, serialize=False, **options))

    def replace(self, manifest: Object) -> Object:
        resource = self.resource(manifest["apiVersion"], manifest["kind"])
        return answers.read(
            resource.replace(body=manifest, namespace=manifest["metadata"].get("namespace"), serialize=False)
        )

    def patch(self, target: Object, patch: Any, content_type: str = "application/merge-patch+json") -> Object:
        resource = self.resource(target["apiVersion"], target["kind"])
        name, namespace = target["metadata"]["name"], target["metadata"].get("namespace")
        answer = self._dynamic.patch(  # type: ignore[no-untyped-call]
            resource, body=patch, name=name, namespace=namespace, content_type=content_type, serialize=False
        )
        return answers.read(answer)

    def apply(self, manifest: Object, *, manager: str, force: bool = False) -> Object:
        resource = self.resource(manifest["apiVersion"], manifest["kind"])
        namespace = manifest["metadata"].get("namespace")
        answer = resource.server_side_apply(
            body=manifest, namespace=namespace, field_manager=manager, force_conflicts=force, serialize=False
        )
        return answers.read(answer)

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> Object:
        return answers.read(self.resource(api_version, kind).get(name=name, namespace=namespace, serialize=False))

    def again(self, known: Object) -> Object:
        """The object as it is now."""
        return self.get(
            known["apiVersion"], known["kind"], known["metadata"]["name"], known["metadata"].get("namespace")
        )

    def listing(self, api_version: str, kind: str, namespace: str | None = None, **options: Any) -> Object:
        return answers.read(self.resource(api_version, kind).get(namespace=namespace, serialize=False, **options))

    def items(self, api_version: str, kind: str, namespace: str | None = None, **options: Any) -> list[Object]:
        return [
            {"apiVersion": api_version, "kind": kind, **item}
            for item in self.listing(api_version, kind, namespace, **options)["items"]
        ]

    def delete(self, known: Object, **options: Any) -> None:
        """Asks for deletion; an object that is gone already is as good."""
        body = {"apiVersion": "v1", "kind": "DeleteOptions", **options}
        resource = self.resource(known["apiVersion"], known["kind"])
        try:
            resource.delete(name=known["metadata"]["name"], namespace=known["metadata"].get("namespace"), body=body)
        except NotFoundError:
            return

    # waiting

    def events_since(
        self, resource_version: str, api_version: str, kind: str, namespace: str | None, *, within_seconds: float
    ) -> Iterator[tuple[str, Object]]:
        """
        What a watch tells from a resourceVersion on, until the deadline.

        Servers end watches as they like, those of slow readers first; what was told last is where the next goes on.
        """
        resource, deadline = self.resource(api_version, kind), time.monotonic() + within_seconds
        while (remaining := deadline - time.monotonic()) > 0:
            for change, item in self._watch(resource, namespace, {}, resource_version, remaining):
                resource_version = item["metadata"]["resourceVersion"]
                yield change, item

    def wait_until(
        self,
        api_version: str,
        kind: str,
        namespace: str | None,
        found: Callable[[Mapping[str, Object]], Found | None],
        *,
        within_seconds: float,
        **selectors: str,
    ) -> Found:
        """The first answer of `found`, given the objects by name, that holds; lists once, then watches."""
        deadline = time.monotonic() + within_seconds
        resource = self.resource(api_version, kind)
        seen: dict[str, Object] = {}
        while time.monotonic() < deadline:
            listed = answers.read(resource.get(namespace=namespace, serialize=False, **selectors))
            seen = {item["metadata"]["name"]: item for item in listed["items"]}
            if answer := found(seen):
                return answer
            version = listed["metadata"]["resourceVersion"]
            remaining = deadline - time.monotonic()
            # A watch that breaks, because its version is too old for instance, is one to list again for.
            with suppress(WatchBroke):
                for change, item in self._watch(resource, namespace, selectors, version, remaining):
                    seen[item["metadata"]["name"]] = item
                    if change == "DELETED":
                        del seen[item["metadata"]["name"]]
                    if answer := found(seen):
                        return answer
        raise ConditionNotMet(
            f"{kind} in {namespace} did not come to the state that was waited for within {within_seconds:g} s; "
            f"there is:\n{self._describe(seen, namespace)}"
        )

    def wait_for(
        self, known: Object, holds: Callable[[Object], object], *, within_seconds: float, what: str = ""
    ) -> Object:
        """The object as soon as `holds` says so of it."""
        name, namespace = known["metadata"]["name"], known["metadata"].get("namespace")

        def one(objects: Mapping[str, Object]) -> Object | None:
            item = objects.get(name)
            return item if item is not None and holds(item) else None

        try:
            item = self.wait_until(
                known["apiVersion"],
                known["kind"],
                namespace,
                one,
                within_seconds=within_seconds,
                field_selector=f"metadata.name={name}",
            )
        except ConditionNotMet as error:
            raise ConditionNotMet(f"{what or holds.__name__}: {error}") from None
        return {"apiVersion": known["apiVersion"], "kind": known["kind"], **item}

    def wait_until_gone(self, known: Object, *, within_seconds: float) -> None:
        self.wait_until(
            known["apiVersion"],
            known["kind"],
            known["metadata"].get("namespace"),
            lambda objects: not any(o["metadata"]["uid"] == known["metadata"]["uid"] for o in objects.values()),
            within_seconds=within_seconds,
            field_selector=f"metadata.name={known['metadata']['name']}",
        )

    def wait_for_event(self, involved: Object, matches: Callable[[Object], object], *, within_seconds: float) -> Object:
        """The first Event about an object that matches."""

        def one(objects: Mapping[str, Object]) -> Object | None:
            return next((event for event in objects.values() if matches(event)), None)

        return self.wait_until(
            *EVENTS,
            involved["metadata"].get("namespace"),
            one,
            within_seconds=within_seconds,
            field_selector=f"involvedObject.uid={involved['metadata']['uid']}",
        )

    def events_of(self, involved: Object) -> list[Object]:
        selector = f"involvedObject.uid={involved['metadata']['uid']}"
        return self.items(*EVENTS, involved["metadata"].get("namespace"), field_selector=selector)

    def _watch(
        self, resource: Resource, namespace: str | None, selectors: Mapping[str, str], version: str, seconds: float
    ) -> Iterator[tuple[str, Object]]:
        """Changes until the deadline, or until the server ends the watch."""
        if seconds <= 0:
            return
        response = resource.get(
            namespace=namespace,
            serialize=False,
            watch=True,
            resource_version=version,
            timeout_seconds=max(1, int(seconds)),
            _request_timeout=(10, seconds + 10),
            **selectors,
        )
        for line in answers.lines(response):
            event = json.loads(line)
            if event["type"] == "ERROR":
                raise WatchBroke(f"the watch of {resource.kind} broke: {event['object']}")
            yield event["type"], event["object"]

    def _describe(self, objects: Mapping[str, Object], namespace: str | None) -> str:
        shown = [
            f"{name}: {json.dumps(item.get('status', item.get('data', {})))[:3000]}" for name, item in objects.items()
        ]
        if namespace is not None:
            events = self.items(*EVENTS, namespace)[-20:]
            shown += [f"{e['involvedObject']['name']} {e['reason']}: {e.get('message', '')}" for e in events]
        return "\n".join(shown) or "nothing"

    # programs in pods

    def log(self, pod: Object, **options: Any) -> str:
        """What a container wrote; raises `ApiException` where the kubelet refuses."""
        with self._open_log(pod, **options) as response:
            return str(response.read().decode())

    @contextmanager
    def following(self, pod: Object, *, within_seconds: float, **options: Any) -> Iterator[Iterator[str]]:
        """The lines of a log as they are written, until the container ends; a silence over the deadline is an error."""
        with self._open_log(pod, follow=True, _request_timeout=(10, within_seconds), **options) as response:
            yield (line.decode() for line in answers.lines(response))

    def _open_log(self, pod: Object, **options: Any) -> AbstractContextManager[BaseHTTPResponse]:
        metadata = pod["metadata"]
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/log"
        timeout = options.pop("_request_timeout", (10, 30))
        return self.open(
            "GET", path, timeout=timeout, query={name: answers.query(value) for name, value in options.items()}
        )

    def ask(self, pod: Object, path: str, *, port: int = 8080) -> tuple[int, str]:
        """A GET of the program in a pod, through the API server's proxy, once it listens: status and body."""
        metadata = pod["metadata"]
        place = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}:{port}/proxy{path}"
        deadline = time.monotonic() + LISTENS_SECONDS
        while True:
            try:
                with self.open("GET", place) as response:
                    return response.status, response.read().decode()
            except ApiException as refused:
                said = str(refused.body)
                if "connection refused" not in said or time.monotonic() > deadline:
                    return refused.status, said
            self._pause.wait(0.1)

    def ask_to_end(self, pod: Object, *, port: int = 8080, code: int = 0) -> None:
        """Has the program in a pod exit; it does so before it answers, so that there is no answer."""
        status, said = self.ask(pod, f"/exit/{code}", port=port)
        assert status in {BAD_GATEWAY, UNAVAILABLE}, said

    @contextmanager
    def open(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        timeout: tuple[float, float] = (10, 30),
    ) -> Iterator[BaseHTTPResponse]:
        """A raw answer of the API server, read by the caller."""
        request = self.api.param_serialize(
            method, path, query_params=list((query or {}).items()), header_params={}, auth_settings=["BearerToken"]
        )
        answer = self.api.call_api(*request, _request_timeout=timeout)
        response = answer.response
        try:
            if not 200 <= response.status <= 299:
                raise ApiException(status=response.status, reason=response.reason, body=response.read().decode())
            yield response
        finally:
            response.close()
            response.release_conn()

    # access

    def as_service_account(self, namespace: str, name: str, scratch: Path) -> "Target":
        """The same cluster with a token of a service account."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 600}}
        answer = self._dynamic.request("post", path, body=body, serialize=False)
        return self.with_token(answers.read(answer)["status"]["token"], scratch)

    def with_token(self, token: str, scratch: Path) -> "Target":
        """The same cluster, asked by whom the token tells."""
        configuration = client.Configuration()
        configuration.host = self.configuration.host
        configuration.ssl_ca_cert = self.configuration.ssl_ca_cert
        configuration.verify_ssl = self.configuration.verify_ssl
        configuration.api_key = {"authorization": f"Bearer {token}"}
        other = Target.__new__(Target)
        other.strict, other.probe_image = self.strict, self.probe_image
        other._connect(configuration, scratch)  # noqa: SLF001  (it is one of us)
        return other

    # what is asked of the cluster, what is left behind

    def unmet(self, reason: str) -> NoReturn:
        """The cluster lacks what a test needs."""
        if self.strict:
            pytest.fail(f"this cluster must meet every need, yet: {reason}", pytrace=False)
        pytest.skip(reason)

    def need_api(self, api_version: str, kind: str) -> None:
        if not self.serves(api_version, kind):
            self.unmet(f"the API server does not serve {kind} of {api_version}")

    def make_namespace(self, labels: Mapping[str, str] | None = None) -> str:
        """A namespace of its own, with its default service account there."""
        metadata = {"generateName": "bench-contract-", "labels": dict(labels or {})}
        made = self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        name: str = made["metadata"]["name"]
        self._namespaces.append(name)
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name}}
        self.wait_for(account, lambda _: True, within_seconds=30, what="the default service account")
        return name

    def give_back(self, namespace: str) -> None:
        """Deletes a namespace without waiting for its end."""
        self.delete({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})

    def wait_until_nothing_is_left(self, *, within_seconds: float) -> None:
        """All namespaces that were made are gone."""
        made = set(self._namespaces)
        self.wait_until("v1", "Namespace", None, lambda objects: not made & set(objects), within_seconds=within_seconds)


def message_of(error: ApiException) -> str:
    """What the API server said."""
    return str(json.loads(error.body or "{}").get("message", ""))


def says(reason: str, words: str = "") -> Callable[[Object], bool]:
    """Of an Event: it has this reason, and its message these words."""
    return lambda event: event["reason"] == reason and words in event.get("message", "")
