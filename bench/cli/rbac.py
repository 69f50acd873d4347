"""
Print the least rights that scenarios need, as roles that `kubectl apply` takes.

    bench rbac pod-autoscaling --service-account NAMESPACE/NAME | kubectl apply -f -

No cluster is asked. What is printed is what the bench always does (it reads the inventory, and keeps a Lease while it
runs) and what the chosen scenarios make and use with their parameters.
"""

import argparse
import json

import yaml

from bench.cli._choosing import add_scenario_arguments, chosen
from bench.cluster.heartbeat import HEARTBEAT_RIGHTS
from bench.cluster.rights import INVENTORY_RIGHTS, proxied_service, roles
from bench.errors import WrongUsage
from bench.model.rights import Rights
from bench.model.scenario import Weighed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    add_scenario_arguments(parser)
    parser.add_argument(
        "--service-account",
        metavar="NAMESPACE/NAME",
        help="bind the roles to this service account, which must be there",
    )
    parser.add_argument(
        "--prometheus-service",
        metavar="NAMESPACE/NAME:PORT",
        help="the Service that is asked by way of the API server; not needed with `--prometheus URL`",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON list (of kind List) instead of YAML")


def run(arguments: argparse.Namespace) -> int:
    """Tell."""
    found = [*INVENTORY_RIGHTS, *HEARTBEAT_RIGHTS, *_proxied(arguments.prometheus_service)]
    asked = chosen(arguments)
    for declaration in asked.declarations:
        scenario = declaration.make(asked.settings.get(declaration.id, {}))
        found += scenario.footprint().all_rights if isinstance(scenario, Weighed) else ()
    account = _split(arguments.service_account, "--service-account", "NAMESPACE/NAME")
    manifests = list(roles(found, service_account=account))
    if arguments.json:
        print(json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}, indent=1))
    else:
        print(yaml.safe_dump_all(manifests, sort_keys=False, explicit_start=True), end="")
    return 0


def _proxied(text: str | None) -> Rights:
    place = _split(text, "--prometheus-service", "NAMESPACE/NAME:PORT")
    if place is None:
        return ()
    name, colon, port = place[1].partition(":")
    if not (name and colon and port):
        raise WrongUsage(f"--prometheus-service {text!r}: the form is NAMESPACE/NAME:PORT.")
    return (proxied_service(place[0], name, port),)


def _split(text: str | None, option: str, form: str) -> tuple[str, str] | None:
    if text is None:
        return None
    namespace, slash, name = text.partition("/")
    if not (namespace and slash and name):
        raise WrongUsage(f"{option} {text!r}: the form is {form}.")
    return namespace, name
