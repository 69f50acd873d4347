"""The policy that takes a namespace's Pod Security level away, and how it is known to be in force."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.lab.api import Access, ApiClient
from bench.lab.faults.changes import Creation, Lab
from bench.lab.faults.pod_security import PodSecurityOff
from bench.lab.paths import LabPaths

LEVEL = "pod-security.kubernetes.io/enforce"


class Api(ApiClient):
    """Of a cluster whose API server gives namespaces these levels, one after the other."""

    def __init__(self, *levels: str) -> None:
        super().__init__(Access(server="http://127.0.0.1:1", ca_pem="", token=""))
        self.asked: list[tuple[str, str]] = []
        self._levels = list(levels)

    async def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        self.asked.append((path, body["metadata"]["labels"][LEVEL]))
        level = self._levels.pop(0)
        return {**body, "metadata": {**body["metadata"], "labels": {LEVEL: level} if level else {}}}


def lab(api: Api) -> Lab:
    return Lab(api=api, paths=LabPaths(Path("/nowhere")), pid=1)


def created() -> dict[str, Mapping[str, Any]]:
    changes = asyncio.run(PodSecurityOff().changes(lab(Api()), {}))
    return {each.collection.rpartition("/")[2]: each.body for each in changes if isinstance(each, Creation)}


def test_the_policy_comes_before_its_binding_and_the_binding_names_it() -> None:
    made = created()

    assert list(made) == ["mutatingadmissionpolicies", "mutatingadmissionpolicybindings"]
    policy, binding = made.values()
    assert binding["spec"]["policyName"] == policy["metadata"]["name"]


def test_only_namespaces_are_rewritten_and_only_as_they_are_made() -> None:
    (rule,) = created()["mutatingadmissionpolicies"]["spec"]["matchConstraints"]["resourceRules"]

    assert (rule["resources"], rule["operations"]) == (["namespaces"], ["CREATE"])


def test_it_is_planted_when_a_namespace_that_asks_for_baseline_would_get_another_level() -> None:
    api = Api("baseline", "baseline", "privileged")

    asyncio.run(PodSecurityOff().wait_until_planted(lab(api), {}))

    assert api.asked == [("/api/v1/namespaces?dryRun=All", "baseline")] * 3  # none is made


def test_it_is_cleared_when_the_level_is_kept_and_not_when_there_is_none() -> None:
    api = Api("privileged", "", "baseline")

    asyncio.run(PodSecurityOff().wait_until_cleared(lab(api)))

    assert len(api.asked) == 3
