import dataclasses

import pytest

from bench.errors import BadParameter
from bench.model.inventory import Inventory
from bench.model.needs import ApiServed, Gateways
from bench.model.scenario import Footprint
from bench.plan import make_plan, parse_settings
from bench.registry import Registry, scenario

INVENTORY = Inventory(server_version="v1.36.0", cluster_uid="u")


class Routing:
    """Traffic is split."""

    requests: int = 100

    def needs(self):
        yield Gateways()
        yield ApiServed(group_version="gateway.networking.k8s.io/v1")

    def run(self, rig):
        yield from ()

    def checks(self):
        return ()

    def footprint(self):
        return Footprint(duration_seconds=self.requests * 1.2, accelerators=2)


def declarations():
    registry = Registry()
    scenario("routing", requirement="ai_inference", registry=registry)(Routing)
    return list(registry)


def test_unmet_needs_are_told_and_met_ones_are_not():
    seen = dataclasses.replace(INVENTORY, gateway_classes=("traefik",))
    step = make_plan(declarations(), {}, seen).steps[0]

    assert not step.can_run
    assert step.unmet == (
        "gateway.networking.k8s.io/v1 is not served; the API server has nothing of gateway.networking.k8s.io",
    )


def test_a_plan_tells_parameters_and_what_it_takes():
    seen = dataclasses.replace(
        INVENTORY, gateway_classes=("traefik",), api_group_versions=("gateway.networking.k8s.io/v1",)
    )
    plan = make_plan(declarations(), {"routing": {"requests": "50"}}, seen)

    assert plan.steps[0].can_run
    assert plan.steps[0].parameters == {"requests": "50"}
    assert plan.duration_seconds == 60
    assert plan.gpu_minutes == 2


def test_what_cannot_run_costs_nothing():
    plan = make_plan(declarations(), {}, INVENTORY)

    assert (plan.duration_seconds, plan.gpu_minutes) == (0, 0)


def test_settings_are_split_by_scenario_and_may_hold_equals_signs():
    assert parse_settings(["routing.requests=5", "routing.url=http://a/?b=c"], declarations()) == {
        "routing": {"requests": "5", "url": "http://a/?b=c"}
    }


@pytest.mark.parametrize("wrong", ["routing", "routing.requests", "=5", "requests=5", ".requests=5", "other.key=1"])
def test_a_setting_of_another_form_or_scenario_is_refused(wrong):
    with pytest.raises(BadParameter, match="--set"):
        parse_settings([wrong], declarations())


def test_a_wrong_value_is_refused_before_anything_runs():
    with pytest.raises(BadParameter, match=r"routing\.requests"):
        make_plan(declarations(), {"routing": {"requests": "many"}}, INVENTORY)
