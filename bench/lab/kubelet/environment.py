"""A container's environment, its resolv.conf and its hosts file, from what a Pod says. Pure."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from bench.lab.kubelet.quantity import parse_quantity
from bench.lab.network import CLUSTER_DOMAIN, DNS_SERVICE_ADDRESS

_REFERENCE: Final = re.compile(r"\$\$|\$\(([^)]+)\)")
_NAME: Final = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")
_SUBSCRIPT: Final = re.compile(r"^(metadata\.(?:labels|annotations))\['([^']+)'\]$")
_MAX_HOSTNAME: Final = 63


class ConfigMissing(Exception):  # told as CreateContainerConfigError
    """A ConfigMap, a Secret or a key of them that a container needs is not there."""


Lookup = Callable[[str, str], Mapping[str, str] | None]
"""(``configMap`` or ``secret``, name) → its entries as text; None if there is no such object."""


def expand(text: str, known: Mapping[str, str]) -> str:
    """``$(NAME)`` becomes the value of NAME; unknown names stay as they are; ``$$`` is a dollar sign."""

    def replacement(match: re.Match[str]) -> str:
        if match.group(0) == "$$":
            return "$"
        return known.get(match.group(1), match.group(0))

    return _REFERENCE.sub(replacement, text)


def field(path: str, pod: Mapping[str, Any], more: Mapping[str, str]) -> str:
    """A field of the downward API. `more` holds what the agent knows and the Pod object may not tell yet."""
    subscript = _SUBSCRIPT.match(path)
    metadata = pod["metadata"]
    if subscript:
        return str((metadata.get(subscript.group(1).split(".")[1]) or {}).get(subscript.group(2), ""))
    if path in more:
        return more[path]
    if path in {"metadata.labels", "metadata.annotations"}:
        entries = metadata.get(path.split(".")[1]) or {}
        return "\n".join(f"{key}={_quoted(value)}" for key, value in sorted(entries.items()))
    value: Any = pod
    for part in path.split("."):
        value = value.get(part, "") if isinstance(value, Mapping) else ""
    return str(value)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


def resource_field(ref: Mapping[str, Any], container: Mapping[str, Any], capacity: Mapping[str, str]) -> str:
    """A resource of a container in units of the divisor, rounded up; without a limit, the node's."""
    kind, _, name = ref["resource"].partition(".")
    resources = (container.get("resources") or {}).get(kind) or {}
    fallback = capacity.get(name, "0") if kind == "limits" else "0"
    divisor = parse_quantity(ref.get("divisor") or "1") or parse_quantity("1")
    value = parse_quantity(resources.get(name, fallback)) / divisor
    return str(math.ceil(value))


def service_variables(services: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Both spellings, the present one and that of Docker links, for Services with an address."""
    variables: dict[str, str] = {}
    for service in services:
        address = service["spec"].get("clusterIP") or "None"
        ports = service["spec"].get("ports") or ()
        if address == "None" or not ports:
            continue
        prefix = service["metadata"]["name"].upper().replace("-", "_")
        variables |= {f"{prefix}_SERVICE_HOST": address, f"{prefix}_SERVICE_PORT": str(ports[0]["port"])}
        for port in ports:
            if port.get("name"):
                variables[f"{prefix}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = str(port["port"])
        variables |= _links(prefix, address, ports)
    return variables


def _links(prefix: str, address: str, ports: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    links: dict[str, str] = {}
    for number, port in enumerate(ports):
        protocol = port.get("protocol", "TCP")
        url = f"{protocol.lower()}://{address}:{port['port']}"
        if number == 0:
            links[f"{prefix}_PORT"] = url
        one = f"{prefix}_PORT_{port['port']}_{protocol}"
        links |= {
            one: url,
            f"{one}_PROTO": protocol.lower(),
            f"{one}_PORT": str(port["port"]),
            f"{one}_ADDR": address,
        }
    return links


def visible_services(services: Sequence[Mapping[str, Any]], namespace: str, *, links: bool) -> list[Mapping[str, Any]]:
    """Those of the pod's namespace unless it asks for none, and always the API server's."""

    def shown(service: Mapping[str, Any]) -> bool:
        where = (service["metadata"]["namespace"], service["metadata"]["name"])
        return where == ("default", "kubernetes") or (links and where[0] == namespace)

    return [service for service in services if shown(service)]


def container_environment(
    container: Mapping[str, Any],
    base: Mapping[str, str],
    lookup: Lookup,
    value_of: Callable[[Mapping[str, Any]], str],
) -> dict[str, str]:
    """
    The variables that a container's `envFrom` and `env` make, in their order.

    `base` are the service variables: they may be referred to, and are overridden. `value_of` tells fieldRef and
    resourceFieldRef. Raises ConfigMissing.
    """
    made: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        made |= _all_of(source, lookup)
    for entry in container.get("env") or ():
        value = _value(entry, {**base, **made}, lookup, value_of)
        if value is not None:
            made[entry["name"]] = value
    return {**base, **made}


def _all_of(source: Mapping[str, Any], lookup: Lookup) -> dict[str, str]:
    kind = "secret" if "secretRef" in source else "configMap"
    ref = source.get(f"{kind}Ref") or {}
    entries = lookup(kind, ref.get("name", ""))
    if entries is None:
        if ref.get("optional"):
            return {}
        raise ConfigMissing(f'{kind.lower()} "{ref.get("name", "")}" not found')
    prefix = source.get("prefix", "")
    return {prefix + key: value for key, value in entries.items() if _NAME.fullmatch(prefix + key)}


def _value(
    entry: Mapping[str, Any],
    known: Mapping[str, str],
    lookup: Lookup,
    value_of: Callable[[Mapping[str, Any]], str],
) -> str | None:
    source = entry.get("valueFrom")
    if not source:
        return expand(entry.get("value", ""), known)
    for kind in ("configMap", "secret"):
        ref = source.get(f"{kind}KeyRef")
        if ref:
            return _key(kind, ref, lookup)
    return value_of(source)


def _key(kind: str, ref: Mapping[str, Any], lookup: Lookup) -> str | None:
    entries = lookup(kind, ref["name"])
    if entries is not None and ref["key"] in entries:
        return entries[ref["key"]]
    if ref.get("optional"):
        return None
    if entries is None:
        raise ConfigMissing(f'{kind.lower()} "{ref["name"]}" not found')
    raise ConfigMissing(f"couldn't find key {ref['key']} in {kind[0].upper()}{kind[1:]} {ref['name']}")


def resolv_conf(spec: Mapping[str, Any], namespace: str) -> str:
    """By `dnsPolicy`. A node of a lab has no name server of its own: there is nothing outside to ask."""
    policy = spec.get("dnsPolicy", "ClusterFirst")
    cluster = policy == "ClusterFirstWithHostNet" or (policy == "ClusterFirst" and not spec.get("hostNetwork"))
    servers = [DNS_SERVICE_ADDRESS] if cluster else []
    domains = (f"{namespace}.svc.{CLUSTER_DOMAIN}", f"svc.{CLUSTER_DOMAIN}", CLUSTER_DOMAIN)
    searches = list(domains) if cluster else []
    options = {"ndots": "5"} if cluster else {}
    own = spec.get("dnsConfig") or {}
    servers += [each for each in own.get("nameservers") or () if each not in servers]
    searches += [each for each in own.get("searches") or () if each not in searches]
    options |= {each["name"]: each.get("value", "") for each in own.get("options") or ()}
    lines = [f"nameserver {each}" for each in servers]
    lines += [f"search {' '.join(searches)}"] if searches else []
    told = " ".join(f"{name}:{value}" if value else name for name, value in options.items())
    lines += [f"options {told}"] if told else []
    return "".join(f"{line}\n" for line in lines)


def hostname(pod: Mapping[str, Any], node: str) -> str:
    """What `hostname` says inside the pod."""
    spec = pod["spec"]
    if spec.get("hostNetwork"):
        return node
    name = str(spec.get("hostname") or pod["metadata"]["name"])
    return name[:_MAX_HOSTNAME].rstrip("-.")


def hosts(pod: Mapping[str, Any], node: str, address: str) -> str:
    """The hosts file as the kubelet writes it."""
    spec = pod["spec"]
    own = hostname(pod, node)
    lines = ["# Kubernetes-managed hosts file.", "127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"]
    if spec.get("subdomain"):
        namespace = pod["metadata"]["namespace"]
        lines.append(f"{address}\t{own}.{spec['subdomain']}.{namespace}.svc.{CLUSTER_DOMAIN}\t{own}")
    else:
        lines.append(f"{address}\t{own}")
    if spec.get("hostAliases"):
        lines += ["", "# Entries added by HostAliases."]
    lines += ["\t".join((alias["ip"], *(alias.get("hostnames") or ()))) for alias in spec.get("hostAliases") or ()]
    return "".join(f"{line}\n" for line in lines)
