import pytest

from bench.model.rights import Right, made, polled, told
from bench.model.scenario import Footprint, Weighed
from bench.registry import Declaration, discover


def test_a_right_is_told_as_kubectl_names_it() -> None:
    assert str(Right(verb="create", group="apps", resource="deployments")) == "create deployments.apps"
    assert str(Right(verb="get", group="", resource="services/proxy", namespace="m", name="p:9090")) == (
        "get services/proxy 'p:9090' in namespace m"
    )


def test_making_objects_takes_the_rights_to_wait_for_them_and_to_remove_them() -> None:
    assert list(told(made("HTTPRoute"))) == ["create, delete, get, list, watch httproutes.gateway.networking.k8s.io"]
    assert list(told(made("rayjobs.ray.io"))) == ["create, delete, get, list, watch rayjobs.ray.io"]


def test_a_kind_that_nobody_knows_is_refused_with_the_cure() -> None:
    with pytest.raises(ValueError, match=r"'RayJob' is not known; name its resource and group"):
        made("RayJob")


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("Object", "get metrics.custom.metrics.k8s.io 'gpu'"),
        ("Pods", "get pods/gpu.custom.metrics.k8s.io"),
        ("External", "list gpu.external.metrics.k8s.io"),
    ],
)
def test_a_metric_is_asked_for_by_the_path_that_its_kind_has(kind: str, text: str) -> None:
    assert [str(each) for each in polled("gpu", kind=kind)] == [text]


def test_rights_said_and_rights_of_objects_are_one_set() -> None:
    footprint = Footprint(duration_seconds=1.0, objects=("Pod",), rights=made("Pod"))

    assert len(footprint.all_rights) == 5


@pytest.mark.parametrize("declaration", list(discover()), ids=lambda each: each.id)
def test_the_rights_of_each_scenario_can_be_told(declaration: Declaration) -> None:
    scenario = declaration.make({})

    assert isinstance(scenario, Weighed)
    assert scenario.footprint().all_rights
