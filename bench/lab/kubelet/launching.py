"""Makes a container's view and environment out of its spec, its image and its pod."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from bench.lab.cgroups import Limits
from bench.lab.gpu.devices import ContainerDevices, Mount
from bench.lab.images import Image
from bench.lab.kubelet import environment, sandbox, shelf
from bench.lab.kubelet.environment import ConfigMissing
from bench.lab.kubelet.objects import Name, entries
from bench.lab.kubelet.process import Launch
from bench.lab.kubelet.quantity import parse_quantity
from bench.lab.kubelet.setting import PodSetting
from bench.lab.kubelet.volumes import VolumeMissing
from bench.lab.network import API_SERVICE_ADDRESS

TERMINATION_LOG: Final = "/dev/termination-log"
_API_VARIABLES: Final = {"KUBERNETES_SERVICE_HOST": API_SERVICE_ADDRESS, "KUBERNETES_SERVICE_PORT": "443"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A container ready to be started."""

    launch: Launch
    environment: Mapping[str, str]
    termination_log: Path
    own_user_namespace: bool


async def prepare(setting: PodSetting, container: Mapping[str, Any], image: Image, attempt: int) -> Prepared:
    """Raises ConfigMissing for what the user may still bring, and shelf.ProgramMissing."""
    shown = setting.host.shelf.show(image)
    variables = await _environment(setting, container, image, shown)
    folder = setting.folder / "containers" / container["name"]
    folder.mkdir(parents=True, exist_ok=True)
    termination_log = folder / f"termination-{attempt}"
    termination_log.touch()
    view = _view(setting, container, image, (shown, variables, termination_log, folder))
    bwrap = setting.host.bwrap
    launch = Launch(
        arguments=lambda status, block: sandbox.arguments(view, bwrap, status_fd=status, block_fd=block),
        environment=variables,
        namespace=setting.network.namespace,
        group=container_group(setting, container),
    )
    return Prepared(
        launch=launch,
        environment=variables,
        termination_log=termination_log,
        own_user_namespace=bool(view.security.uid or view.security.gid),
    )


def container_group(setting: PodSetting, container: Mapping[str, Any]) -> str:
    """The name of its control group; empty where there are none."""
    return f"{setting.group}/{container['name']}" if setting.group else ""


def container_limits(container: Mapping[str, Any]) -> Limits:
    """What its resources ask to be enforced."""
    resources = container.get("resources") or {}
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    return Limits(
        cpu_cores=float(parse_quantity(limits.get("cpu", "0"))),
        memory_bytes=int(parse_quantity(limits.get("memory", "0"))),
        cpu_request_cores=float(parse_quantity(requests.get("cpu", "0"))),
    )


def pod_limits(cpu: Decimal, memory: Decimal, requested_cpu: Decimal) -> Limits:
    """Of the pod as a whole."""
    return Limits(cpu_cores=float(cpu), memory_bytes=int(memory), cpu_request_cores=float(requested_cpu))


def _view(
    setting: PodSetting,
    container: Mapping[str, Any],
    image: Image,
    made: tuple[shelf.Shown, Mapping[str, str], Path, Path],
) -> sandbox.View:
    shown, variables, termination_log, folder = made
    devices = setting.devices.get(container["name"], ContainerDevices())
    at = container.get("terminationMessagePath") or TERMINATION_LOG
    volumes = [*_volume_binds(setting, container, variables)]
    volumes += [sandbox.Bind(source=str(termination_log), target=at, writable=True)]
    volumes += [shelf.copy(each, folder) for each in shown.copies]
    binds = [*shown.binds, *(_bind(mount) for mount in devices.mounts if not mount.writable)]
    volumes += [_bind(mount) for mount in devices.mounts if mount.writable]
    return sandbox.View(
        hostname=environment.hostname(setting.pod, setting.node),
        command=command(container, image, variables),
        working_directory=container.get("workingDir") or image.working_directory,
        bin_folder=shown.bin_folder,
        binds=tuple(binds),
        overlays=shown.overlays,
        volumes=tuple(volumes),
        device_nodes=devices.device_nodes,
        etc=_etc(setting),
        security=security(setting.pod["spec"], container, image),
    )


def _bind(mount: Mount) -> sandbox.Bind:
    return sandbox.Bind(source=mount.host, target=mount.container, writable=mount.writable)


def command(container: Mapping[str, Any], image: Image, variables: Mapping[str, str]) -> tuple[str, ...]:
    """The Pod's command takes the place of the image's entrypoint and, without args, of its command too."""
    own, args = container.get("command") or (), container.get("args") or ()
    words = (*own, *args) if own else (*image.entrypoint, *(args or image.command))
    expanded = own or args
    return tuple(environment.expand(word, variables) for word in words) if expanded else tuple(words)


def security(spec: Mapping[str, Any], container: Mapping[str, Any], image: Image) -> sandbox.Security:
    """A container's own context over its pod's."""
    own = {**(spec.get("securityContext") or {}), **(container.get("securityContext") or {})}
    capabilities = own.get("capabilities") or {}
    uid = int(own.get("runAsUser", image.user))
    return sandbox.Security(
        uid=uid,
        gid=int(own.get("runAsGroup", uid if "runAsUser" not in own else 0)),
        privileged=bool(own.get("privileged")),
        add=tuple(sandbox.capability(each) for each in capabilities.get("add") or ()),
        drop=tuple(sandbox.capability(each) for each in capabilities.get("drop") or ()),
        read_only_root=bool(own.get("readOnlyRootFilesystem")),
    )


def _volume_binds(
    setting: PodSetting, container: Mapping[str, Any], variables: Mapping[str, str]
) -> Iterator[sandbox.Bind]:
    volumes = setting.volumes
    assert volumes is not None
    for mount in container.get("volumeMounts") or ():
        sub_path = mount.get("subPath") or environment.expand(mount.get("subPathExpr") or "", variables)
        try:
            source = volumes.source(mount, sub_path)
        except VolumeMissing as error:
            raise ConfigMissing(f'failed to prepare subPath for volumeMount "{mount["name"]}": {error}') from error
        yield sandbox.Bind(source=source, target=mount["mountPath"], writable=not volumes.is_read_only(mount))


def _etc(setting: PodSetting) -> dict[str, str]:
    shared = {name: str(setting.host.etc / name) for name in ("passwd", "group", "nsswitch.conf")}
    own = {name: str(setting.folder / "etc" / name) for name in ("resolv.conf", "hosts", "hostname")}
    return {**shared, **own}


async def _environment(
    setting: PodSetting, container: Mapping[str, Any], image: Image, shown: shelf.Shown
) -> dict[str, str]:
    spec, namespace = setting.pod["spec"], setting.pod["metadata"]["namespace"]
    known = await _referred(setting, container, namespace)
    links = spec.get("enableServiceLinks", True)
    services = environment.visible_services(setting.host.objects.services(), namespace, links=links)

    def value_of(source: Mapping[str, Any]) -> str:
        if "fieldRef" in source:
            return setting.field(source["fieldRef"]["fieldPath"])
        return environment.resource_field(source["resourceFieldRef"], container, setting.capacity)

    base = {**_API_VARIABLES, **environment.service_variables(services)}
    made = environment.container_environment(container, base, lambda kind, name: known[kind, name], value_of)
    own = {"PATH": shown.path, "HOME": "/root", "HOSTNAME": environment.hostname(setting.pod, setting.node)}
    if shown.python_path:
        own["PYTHONPATH"] = shown.python_path
    devices = setting.devices.get(container["name"], ContainerDevices())
    return with_devices({**own, **image.environment, **made}, devices)


def with_devices(variables: Mapping[str, str], devices: ContainerDevices) -> dict[str, str]:
    """What the devices set comes last; a value that ends in a colon is put before what is there."""
    result = dict(variables)
    for name, value in devices.environment.items():
        if value.endswith(":"):
            before = result.get(name, "")
            result[name] = f"{value}{before}" if before else value.removesuffix(":")
        else:
            result[name] = value
    return result


async def _referred(
    setting: PodSetting, container: Mapping[str, Any], namespace: str
) -> dict[tuple[str, str], dict[str, str] | None]:
    """Every ConfigMap and Secret that the environment names, as text."""
    known: dict[tuple[str, str], dict[str, str] | None] = {}
    for kind, name in references(container):
        found = await setting.host.objects.find(Name(kind, namespace, name))
        text = None if found is None else {key: each.decode(errors="replace") for key, each in entries(found).items()}
        known[kind, name] = text
    return known


def references(container: Mapping[str, Any]) -> set[tuple[str, str]]:
    """(kind, name) of the objects that `env` and `envFrom` refer to."""
    found: set[tuple[str, str]] = set()
    for source in container.get("envFrom") or ():
        found |= {
            (kind, source[f"{kind}Ref"].get("name", "")) for kind in ("configMap", "secret") if f"{kind}Ref" in source
        }
    for entry in container.get("env") or ():
        of = entry.get("valueFrom") or {}
        found |= {(kind, of[f"{kind}KeyRef"]["name"]) for kind in ("configMap", "secret") if f"{kind}KeyRef" in of}
    return found
