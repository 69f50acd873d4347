"""One API server, asked for objects: not every call there is, but what scenarios need, with errors one can act on."""

import itertools
import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import kubernetes.client
import kubernetes.config
import urllib3
import yaml

from bench import interruption
from bench.cluster.objects import Object, Ref, path_of
from bench.errors import ApiRefused, Conflict, Forbidden, NoSuchContext, NotFound, Unreachable
from bench.model.presence import Presence

FIELD_MANAGER: Final = "bench"
MERGE_PATCH: Final = "application/merge-patch+json"
JSON: Final = "application/json"
APPLY_PATCH: Final = "application/apply-patch+yaml"

REQUEST_TIMEOUT_SECONDS: Final = 30.0
"""Of one request that is no watch. kubectl waits without end; a bench that hangs tells nothing."""
PATIENCE_SECONDS: Final = 60.0
"""How long a run waits for an API server that is away: longer than its restart."""
_BUSY: Final = 429
"""What a server answers to a request that it does not take up: because it is shutting down, or has too much to do."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A collection at one resourceVersion, from which a watch may go on."""

    items: tuple[Object, ...]
    resource_version: str


@dataclass(frozen=True, slots=True)
class _Call:
    method: str
    path: str
    body: Mapping[str, Any] | None
    query: Mapping[str, str]
    content_type: str
    is_patient: bool = True


class Cluster:
    """
    The API server of one target.

    Raises `Unreachable` when it does not answer, `Forbidden` when a right is missing, `NotFound`, `Conflict` and
    `ApiRefused` for what it says itself. Safe to use from several threads: the connection pool below it is.
    """

    def __init__(self, api: kubernetes.client.ApiClient, *, server: str) -> None:
        self._api = api
        self._plurals: dict[str, Mapping[str, Mapping[str, Any]]] = {}
        self._requests = itertools.count()
        self.requests_total = 0
        """Sent so far, watches and those that failed among them."""
        self.presence = Presence()
        self.server = server
        self.patience_seconds = 0.0
        """How long a request is tried again while the server is away. Of none, its absence is told at once."""

    @classmethod
    def open(cls, *, kubeconfig: Path | None = None, context: str | None = None) -> Self:
        """The cluster of a context; both default to what kubectl would take. Raises `NoSuchContext`."""
        where = str(kubeconfig) if kubeconfig else "the default kubeconfig ($KUBECONFIG or ~/.kube/config)"
        try:
            api = kubernetes.config.new_client_from_config(  # type: ignore[no-untyped-call]
                config_file=str(kubeconfig) if kubeconfig else None, context=context, persist_config=False
            )
        except (kubernetes.config.ConfigException, yaml.YAMLError, OSError) as error:
            wanted = f"context {context!r}" if context else "a current context"
            raise NoSuchContext(
                f"{where} has no usable {wanted}: {str(error).rstrip('.')}. "
                "`kubectl config get-contexts` lists what there is."
            ) from error
        return cls(api, server=api.configuration.host)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._api.close()  # type: ignore[no-untyped-call]

    @property
    def configuration(self) -> kubernetes.client.Configuration:
        """Address, certificates and token of this context."""
        configuration: kubernetes.client.Configuration = self._api.configuration
        return configuration

    def get(self, ref: Ref) -> Object:
        """The object. Raises `NotFound`."""
        return self.request("GET", self.path(ref))

    def find(self, ref: Ref) -> Object | None:
        """The object, or None."""
        try:
            return self.get(ref)
        except NotFound:
            return None

    def list(
        self, path: str, *, label_selector: str = "", field_selector: str = "", is_patient: bool = True
    ) -> Listing:
        """All objects of a collection."""
        call = _Call("GET", path, None, _selectors(label_selector, field_selector), JSON, is_patient)
        found = self._parsed(call)
        return Listing(tuple(found.get("items") or ()), found["metadata"].get("resourceVersion", ""))

    def create(self, manifest: Mapping[str, Any], *, dry_run: bool = False) -> Object:
        """Create it; with `dry_run` the server admits it and stores nothing. Raises `Conflict` when it is there."""
        query = {"fieldManager": FIELD_MANAGER} | ({"dryRun": "All"} if dry_run else {})
        return self.request("POST", self.collection(Ref.of(manifest)), body=manifest, query=query)

    def apply(self, manifest: Mapping[str, Any]) -> Object:
        """Server-side apply, owning what the manifest names."""
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        return self.request("PATCH", self.path(Ref.of(manifest)), body=manifest, query=query, content_type=APPLY_PATCH)

    def patch(self, ref: Ref, change: Mapping[str, Any], *, subresource: str = "") -> Object:
        """Merge `change` into the object."""
        path = self.path(ref) + (f"/{subresource}" if subresource else "")
        return self.request("PATCH", path, body=change, content_type=MERGE_PATCH)

    def delete(self, ref: Ref, *, grace_seconds: int | None = None) -> None:
        """Delete it and, in the foreground, what it owns; one that is gone already is no error."""
        body: dict[str, Any] = {"propagationPolicy": "Foreground"}
        if grace_seconds is not None:
            body["gracePeriodSeconds"] = grace_seconds
        try:
            self.request("DELETE", self.path(ref), body=body)
        except NotFound:
            return

    def path(self, ref: Ref) -> str:
        """Where one object lies."""
        return f"{self.collection(ref)}/{ref.name}"

    def collection(self, ref: Ref) -> str:
        """Where the objects of this kind and namespace lie. Raises `NotFound` for a kind that is not served."""
        resource = self.resource(ref.api_version, ref.kind)
        return path_of(ref.api_version, resource["name"], ref.namespace if resource["namespaced"] else "")

    def resource(self, api_version: str, kind: str) -> Mapping[str, Any]:
        """What discovery says of a kind (`name` is the plural, `namespaced`, `verbs`). One request a group version."""
        if api_version not in self._plurals:
            root = "/api/" if "/" not in api_version else "/apis/"
            listed = self.request("GET", root + api_version).get("resources", ())
            self._plurals[api_version] = {each["kind"]: each for each in listed if "/" not in each["name"]}
        try:
            return self._plurals[api_version][kind]
        except KeyError:
            raise NotFound(f"{self.server} serves no kind {kind} in {api_version}.", status=404) from None

    def request(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = JSON,
    ) -> Object:
        """One request, its answer as JSON."""
        return self._parsed(_Call(method, path, body, query or {}, content_type))

    def _parsed(self, call: _Call) -> Object:
        answer = self._send(call, REQUEST_TIMEOUT_SECONDS)
        try:
            parsed: Object = json.loads(answer.data or b"{}")
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Unreachable(f"The API server {self.server} broke off its answer to {call.path} ({error}).") from error
        except ValueError as error:
            raise ApiRefused(f"{self.server}{call.path} answered no JSON: {answer.data[:80]!r}.") from error
        return parsed

    def stream(self, path: str, *, query: Mapping[str, str], read_timeout_seconds: float) -> urllib3.BaseHTTPResponse:
        """An answer not yet read, for watches and logs; asked for once. Close it, or read it to its end."""
        return self._send(_Call("GET", path, None, query, JSON, is_patient=False), read_timeout_seconds)

    def _send(self, call: _Call, read_timeout_seconds: float) -> urllib3.BaseHTTPResponse:
        deadline = time.monotonic() + (self.patience_seconds if call.is_patient else 0.0)
        pause_seconds = 0.2
        while True:
            try:
                return self._send_once(call, read_timeout_seconds)
            except Unreachable as error:
                is_over = time.monotonic() + pause_seconds > deadline
                if is_over or not _may_repeat(call, error.__cause__):
                    raise
            except ApiRefused as refused:
                if refused.status != _BUSY or time.monotonic() + pause_seconds > deadline:
                    raise
            interruption.wait(threading.Event(), pause_seconds)
            pause_seconds = min(2 * pause_seconds, 2.0)

    def _send_once(self, call: _Call, read_timeout_seconds: float) -> urllib3.BaseHTTPResponse:
        self.requests_total, asked_seconds = next(self._requests) + 1, time.time()
        request = self._api.param_serialize(
            call.method,
            call.path,
            query_params=list(call.query.items()),
            header_params={"Accept": "application/json, */*", "Content-Type": call.content_type},
            body=call.body,
            auth_settings=["BearerToken"],
        )
        try:
            answer = self._api.call_api(*request, _request_timeout=(5.0, read_timeout_seconds))
        except (urllib3.exceptions.HTTPError, OSError) as error:
            self.presence.silent(asked_seconds)
            raise Unreachable(
                f"The API server {self.server} does not answer ({error}). "
                "`kubectl get --raw /readyz` tells whether this machine reaches it."
            ) from error
        self.presence.answered()
        if not 200 <= answer.status <= 299:
            raise self._refusal(call.method, call.path, answer)
        response: urllib3.BaseHTTPResponse = answer.response
        return response

    def _refusal(self, method: str, path: str, answer: Any) -> Exception:
        answer.read()
        message = _message(answer.data)
        said = f"{method} {path}: {message}"
        match answer.status:
            case 401:
                return Forbidden(f"{self.server} does not accept this context's credentials ({said}). Log in again.")
            case 403:
                return Forbidden(f"A right is missing. {said}. `bench rbac` prints the least rights that are needed.")
            case 404:
                return NotFound(said, status=404)
            case 409:
                return Conflict(said, status=409)
            case status:
                return ApiRefused(f"{said} (HTTP {status})", status=status)


def _may_repeat(call: _Call, cause: BaseException | None) -> bool:
    """Whether the request can do no harm a second time: it changes nothing new, or it never reached the server."""
    reason = cause.reason if isinstance(cause, urllib3.exceptions.MaxRetryError) else cause
    return call.method != "POST" or isinstance(reason, urllib3.exceptions.NewConnectionError)


def _selectors(label_selector: str, field_selector: str) -> dict[str, str]:
    given = {"labelSelector": label_selector, "fieldSelector": field_selector}
    return {name: value for name, value in given.items() if value}


def _message(body: bytes | None) -> str:
    """What a refusal says; cut, since bodies of proxies in between are of any length and may hold secrets."""
    text = (body or b"").decode(errors="replace")
    try:
        return str(json.loads(text)["message"])[:512]
    except (ValueError, KeyError, TypeError):
        return text[:256] or "no reason given"
