"""
What planting a fault changes in the cluster, and when that has come into effect.

A fault that is not here is nothing but a line in the state: a process of the lab reads it there and lies.
"""

import contextlib
import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final, Protocol

import yaml

from bench.errors import LabFailed
from bench.lab import network
from bench.lab.api import ApiError
from bench.lab.faults.changes import Change, Edit, Lab, PacketRules
from bench.lab.faults.declaration import Value
from bench.lab.faults.effects import is_up, until, until_up
from bench.lab.faults.pod_security import PodSecurityOff
from bench.lab.faults.restarting import PartRestarted
from bench.lab.faults.slow_stage import SlowStage
from bench.lab.parts import adapter, prometheus
from bench.lab.parts.objects import NAME_LABEL, Ready

Arguments = Mapping[str, Value]

_PROMETHEUS_CONFIG: Final = f"/api/v1/namespaces/{prometheus.NAMESPACE}/configmaps/prometheus"
_PROMETHEUS: Final = f"/api/v1/namespaces/{prometheus.NAMESPACE}/services/prometheus:{prometheus.PORT}/proxy"
_SECOND_JOB: Final = "dcgm-exporter-by-another-job"
_GATEWAY_PODS: Final = f"/api/v1/namespaces/traefik/pods?labelSelector={NAME_LABEL}%3Dtraefik"


class Planter(Protocol):
    """One fault's way into the cluster."""

    async def changes(self, lab: Lab, arguments: Arguments) -> Sequence[Change]:
        """What is to be different; only reads."""
        ...

    async def wait_until_planted(self, lab: Lab, arguments: Arguments) -> None:
        """Returns when the changes have come into effect."""
        ...

    async def wait_until_cleared(self, lab: Lab) -> None:
        """Returns when all is as it was."""
        ...


class Told:
    """A fault that a process of the lab reads in the state."""

    async def changes(self, lab: Lab, arguments: Arguments) -> Sequence[Change]:  # noqa: ARG002 - nothing changes
        return ()

    async def wait_until_planted(self, lab: Lab, arguments: Arguments) -> None:
        """At once."""

    async def wait_until_cleared(self, lab: Lab) -> None:
        """At once."""


class AdapterDown:
    """The adapter's Deployment has no replicas."""

    async def changes(self, lab: Lab, arguments: Arguments) -> Sequence[Change]:  # noqa: ARG002 - always the same
        return (Edit(path=_adapter().path, field=("spec", "replicas"), value=0),)

    async def wait_until_planted(self, lab: Lab, arguments: Arguments) -> None:  # noqa: ARG002 - always the same
        async def has_none() -> bool:
            found = await lab.api.get(_adapter().path)
            return not found.get("status", {}).get("replicas") and not await is_up(lab, adapter.ready[-1])

        await until(has_none, "the adapter's last pod is gone")

    async def wait_until_cleared(self, lab: Lab) -> None:
        await until_up(lab, adapter.ready)
        for each in adapter.ready:
            if each.kind == "APIService":
                # the API server tells a service as available a moment before it asks it
                await until(partial(_answers, lab, each.name), f"{each.name} answers")


async def _answers(lab: Lab, api_service: str) -> bool:
    api_version, _, group = api_service.partition(".")
    try:
        await lab.api.get(f"/apis/{group}/{api_version}")
    except ApiError:
        return False
    return True


def _adapter() -> Ready:
    return adapter.ready[0]


class SeriesDropped:
    """A rule of Prometheus' own configuration drops the series as they are scraped."""

    async def changes(self, lab: Lab, arguments: Arguments) -> Sequence[Change]:
        found = await lab.api.get(_PROMETHEUS_CONFIG)
        configuration = without_series(
            yaml.safe_load(found["data"]["prometheus.yml"]), str(arguments["field"]), str(arguments["device"])
        )
        text = yaml.safe_dump(configuration, sort_keys=False)
        return (Edit(path=_PROMETHEUS_CONFIG, field=("data", "prometheus.yml"), value=text),)

    async def wait_until_planted(self, lab: Lab, arguments: Arguments) -> None:  # noqa: ARG002 - whatever is dropped
        await until(lambda: _drops(lab), "Prometheus has read its new configuration")

    async def wait_until_cleared(self, lab: Lab) -> None:
        async def drops_none() -> bool:
            return not await _drops(lab)

        await until(drops_none, "Prometheus has read its old configuration")


def without_series(configuration: Mapping[str, Any], field: str, device: str) -> dict[str, Any]:
    """Prometheus' configuration with one rule more for what it takes from the exporter."""
    label = "gpu" if device.isdigit() else "UUID"
    rule = {
        "source_labels": ["__name__", label],
        "regex": f"{field or '.*'};{device or '.*'}",
        "action": "drop",
    }
    jobs = [
        {**job, "metric_relabel_configs": [*job.get("metric_relabel_configs", ()), rule]}
        if job["job_name"] == "dcgm-exporter"
        else job
        for job in configuration["scrape_configs"]
    ]
    return {**configuration, "scrape_configs": jobs}


async def _drops(lab: Lab) -> bool:
    """Whether the configuration that Prometheus runs with drops anything."""
    return "action: drop" in (await _reloaded(lab)).partition("job_name: kubernetes-pods")[0]


async def _reloaded(lab: Lab) -> str:
    """The configuration that Prometheus runs with, its file read again before."""
    # The answer is empty, which is no JSON.
    with contextlib.suppress(ApiError, json.JSONDecodeError):
        await lab.api.create(f"{_PROMETHEUS}/-/reload", {})
    told = await lab.api.get(f"{_PROMETHEUS}/api/v1/status/config")
    return str(told["data"]["yaml"])


class ScrapedTwice:
    """A second job of Prometheus' own configuration scrapes the exporter."""

    async def changes(self, lab: Lab, arguments: Arguments) -> Sequence[Change]:  # noqa: ARG002 - always the same
        found = await lab.api.get(_PROMETHEUS_CONFIG)
        text = yaml.safe_dump(with_second_job(yaml.safe_load(found["data"]["prometheus.yml"])), sort_keys=False)
        return (Edit(path=_PROMETHEUS_CONFIG, field=("data", "prometheus.yml"), value=text),)

    async def wait_until_planted(self, lab: Lab, arguments: Arguments) -> None:  # noqa: ARG002 - always the same
        async def has_second() -> bool:
            return _SECOND_JOB in await _reloaded(lab)

        await until(has_second, "Prometheus has read its new configuration")

    async def wait_until_cleared(self, lab: Lab) -> None:
        async def has_none() -> bool:
            return _SECOND_JOB not in await _reloaded(lab)

        await until(has_none, "Prometheus has read its old configuration")


def with_second_job(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Prometheus' configuration with the exporter's job once more, whose series say which job they are of."""
    jobs = configuration["scrape_configs"]
    again = [
        {**job, "job_name": _SECOND_JOB, "relabel_configs": _without_job_label(job["relabel_configs"])}
        for job in jobs
        if job["job_name"] == "dcgm-exporter"
    ]
    return {**configuration, "scrape_configs": [*jobs, *again]}


def _without_job_label(rules: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [rule for rule in rules if rule.get("target_label") != "job"]


class GatewayCutOff:
    """Nothing passes between the Gateway's pods and the API server any more."""

    async def changes(self, lab: Lab, arguments: Arguments) -> Sequence[Change]:  # noqa: ARG002 - always the same
        found = await lab.api.get(_GATEWAY_PODS)
        addresses = [pod["status"]["podIP"] for pod in found["items"] if pod["status"].get("podIP")]
        if not addresses:
            raise LabFailed("the Gateway has no pod that could be cut off: bring the lab up with the part gateway.")
        return (PacketRules(table="gateway_cut_off", content=between(addresses)),)

    async def wait_until_planted(self, lab: Lab, arguments: Arguments) -> None:
        """At once."""

    async def wait_until_cleared(self, lab: Lab) -> None:
        """The Gateway hears of what it missed when TCP sends it again: within about the time that it was cut off."""


def between(addresses: Sequence[str]) -> str:
    """Rules that drop what goes from these pods to the API server and back; open connections, too, fall silent."""
    pods = f"{{ {', '.join(addresses)} }}"
    return "\n".join(
        (
            "chain to_api {",
            "type filter hook input priority filter; policy accept;",
            f"ip saddr {pods} tcp dport {network.API_PORT} drop",
            "}",
            "chain from_api {",
            "type filter hook output priority filter; policy accept;",
            f"ip daddr {pods} tcp sport {network.API_PORT} drop",
            "}",
        )
    )


PLANTERS: Final[Mapping[str, Planter]] = {
    "adapter-down": AdapterDown(),
    "series-dropped": SeriesDropped(),
    "scraped-twice": ScrapedTwice(),
    "gateway-cut-off": GatewayCutOff(),
    "slow-stage": SlowStage(),
    "pod-security-off": PodSecurityOff(),
    "part-restarted": PartRestarted(),
}


def planter_of(name: str) -> Planter:
    """Of a fault."""
    return PLANTERS.get(name, Told())
