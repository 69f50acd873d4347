"""The volumes of one pod: folders of this machine, filled as the API says and kept so."""

import asyncio
import base64
import contextlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.lab.api import ApiClient, ApiError
from bench.lab.kubelet import environment, kernel
from bench.lab.kubelet.objects import Name, Objects, entries
from bench.lab.kubelet.quantity import parse_quantity

_CONTENT: Final = ("configMap", "secret", "downwardAPI", "projected")
_DEFAULT_MODE: Final = 0o644
_RENEW_AT: Final = 0.8
"""Of a token's life, as the kubelet does."""
_TOKEN_SECONDS: Final = 3600
_RETRY_SECONDS: Final = 10.0


class VolumeMissing(Exception):  # told as a FailedMount event, and tried again
    """A volume cannot be provided now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One file of a volume."""

    content: bytes
    mode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeSetting:
    """What volumes need to know of their pod's surroundings."""

    api: ApiClient
    objects: Objects
    folder: Path
    node_root: Path
    field: Callable[[str], str]
    """The downward API's fields of this pod."""
    capacity: Mapping[str, str]


class Volumes:
    """All volumes of one pod."""

    def __init__(self, pod: dict[str, Any], setting: VolumeSetting) -> None:
        self._pod = pod
        self._setting = setting
        self._paths: dict[str, Path] = {}
        self._mounted: list[Path] = []
        self._listened: set[Name] = set()
        self._changed = asyncio.Event()
        self._tokens: dict[tuple[str, int], tuple[bytes, float]] = {}

    @property
    def has_content(self) -> bool:
        """Whether any volume follows something that may change."""
        return any(kind in volume for volume in self._declared for kind in _CONTENT)

    @property
    def _declared(self) -> list[dict[str, Any]]:
        return self._pod["spec"].get("volumes") or []

    def update(self, pod: dict[str, Any]) -> None:
        """The Pod object changed: its labels and annotations may be shown in a volume."""
        changed = any(
            pod["metadata"].get(each) != self._pod["metadata"].get(each) for each in ("labels", "annotations")
        )
        self._pod = pod
        if changed:
            self._changed.set()

    async def provide(self) -> None:
        """Make or fill every volume; raises VolumeMissing for the first that cannot be."""
        for volume in self._declared:
            try:
                self._paths[volume["name"]] = await self._provide(volume)
            except (VolumeMissing, ApiError, OSError) as error:
                name = volume["name"]
                raise VolumeMissing(f'MountVolume.SetUp failed for volume "{name}" : {error}') from error

    async def wait_for_change(self, within_seconds: float | None) -> None:
        """Returns when an object that a volume shows has changed, or the time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_seconds):
                await self._changed.wait()
        self._changed.clear()

    async def keep_fresh(self) -> None:
        """Follow ConfigMaps and Secrets, renew tokens; until cancelled."""
        wait_seconds = self._renew_in_seconds()
        while True:
            await self.wait_for_change(wait_seconds)
            try:
                await self._refill()
                wait_seconds = self._renew_in_seconds()
            except (VolumeMissing, ApiError, OSError):
                # What is shown stays as it was, as upstream; the object may come back.
                wait_seconds = _RETRY_SECONDS

    async def _refill(self) -> None:
        for volume in self._declared:
            if volume["name"] in self._paths and any(kind in volume for kind in _CONTENT):
                await self._provide(volume)

    def source(self, mount: Mapping[str, Any], sub_path: str) -> str:
        """The path of this machine that a container's volumeMount shows."""
        base = self._paths[mount["name"]]
        if not sub_path:
            return str(base)
        if ".." in Path(sub_path).parts or sub_path.startswith("/"):
            raise VolumeMissing(f"subPath {sub_path!r} leaves the volume")
        target = Path(os.path.realpath(base / sub_path))
        if not target.is_relative_to(os.path.realpath(base)):
            raise VolumeMissing(f"subPath {sub_path!r} leaves the volume")
        if not target.exists():
            target.mkdir(parents=True)
        return str(target)

    def is_read_only(self, mount: Mapping[str, Any]) -> bool:
        """By the mount, or because the volume's content is the API's."""
        volume = next(each for each in self._declared if each["name"] == mount["name"])
        return bool(mount.get("readOnly")) or any(kind in volume for kind in _CONTENT)

    def close(self) -> None:
        """The pod's processes are gone."""
        for name in self._listened:
            self._setting.objects.forget(name, self._changed.set)
        self._listened.clear()
        for path in self._mounted:
            with contextlib.suppress(OSError):
                kernel.unmount(str(path))
        shutil.rmtree(self._setting.folder, ignore_errors=True)

    async def _provide(self, volume: Mapping[str, Any]) -> Path:
        folder: Path = self._setting.folder / volume["name"]
        if "emptyDir" in volume:
            return self._empty(folder, volume["emptyDir"] or {})
        if "hostPath" in volume:
            return self._host_path(volume["hostPath"])
        for kind in _CONTENT:
            if kind in volume:
                write_atomically(folder, await self._content(kind, volume[kind]))
                return folder
        kind = next((key for key in volume if key != "name"), "unknown")
        raise VolumeMissing(
            f"volumes of type {kind} are not available in a lab; "
            "use emptyDir, configMap, secret, downwardAPI, projected or hostPath"
        )

    def _empty(self, folder: Path, source: Mapping[str, Any]) -> Path:
        if not folder.exists():
            folder.mkdir(parents=True)
            folder.chmod(0o777)
            if source.get("medium") == "Memory":
                kernel.mount_memory(str(folder), int(parse_quantity(source.get("sizeLimit") or "0")))
                self._mounted.append(folder)
        return folder

    def _host_path(self, source: Mapping[str, Any]) -> Path:
        """On the lab's own root of the node, never on this machine's."""
        root = self._setting.node_root
        root.mkdir(parents=True, exist_ok=True)
        path = root / str(source["path"]).lstrip("/")
        if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
            raise VolumeMissing(f"hostPath {source['path']} leaves the node")
        kind = source.get("type") or ""
        if not path.exists() and kind in {"", "DirectoryOrCreate"}:
            path.mkdir(parents=True)
        elif not path.exists() and kind == "FileOrCreate":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        checks = {
            "Directory": (path.is_dir, "a directory"),
            "DirectoryOrCreate": (path.is_dir, "a directory"),
            "File": (path.is_file, "a file"),
            "FileOrCreate": (path.is_file, "a file"),
            "Socket": (path.is_socket, "a socket file"),
            "CharDevice": (path.is_char_device, "a character device"),
            "BlockDevice": (path.is_block_device, "a block device"),
        }
        if kind in checks and not checks[kind][0]():
            raise VolumeMissing(f"hostPath type check failed: {source['path']} is not {checks[kind][1]}")
        return path

    async def _content(self, kind: str, source: Mapping[str, Any]) -> dict[str, File]:
        mode = source.get("defaultMode", _DEFAULT_MODE)
        if kind != "projected":
            return await self._source_content(kind, source, mode)
        files: dict[str, File] = {}
        for each in source.get("sources") or ():
            for projected, inner in each.items():
                files |= await self._source_content(projected, inner, mode)
        return files

    async def _source_content(self, kind: str, source: Mapping[str, Any], mode: int) -> dict[str, File]:
        if kind == "configMap":
            return await self._object_files("configMap", source.get("name", ""), source, mode)
        if kind == "secret":
            name = source.get("secretName") or source.get("name", "")
            return await self._object_files("secret", name, source, mode)
        if kind == "downwardAPI":
            return {each["path"]: self._downward(each, mode) for each in source.get("items") or ()}
        if kind == "serviceAccountToken":
            return {source["path"]: File(content=await self._token(source), mode=mode)}
        raise VolumeMissing(f"a projected source of type {kind} is not available in a lab")

    async def _object_files(self, kind: str, name: str, source: Mapping[str, Any], mode: int) -> dict[str, File]:
        key = Name(kind, self._pod["metadata"]["namespace"], name)
        self._listened.add(key)
        self._setting.objects.listen(key, self._changed.set)
        found = await self._setting.objects.find(key)
        if found is None:
            if source.get("optional"):
                return {}
            raise VolumeMissing(f'{kind.lower()} "{name}" not found')
        return pick(entries(found), source, mode)

    def _downward(self, item: Mapping[str, Any], mode: int) -> File:
        if "fieldRef" in item:
            text = self._setting.field(item["fieldRef"]["fieldPath"])
        else:
            ref = item["resourceFieldRef"]
            containers = self._pod["spec"]["containers"]
            container = next(each for each in containers if each["name"] == ref["containerName"])
            text = environment.resource_field(ref, container, self._setting.capacity)
        return File(content=text.encode(), mode=item.get("mode", mode))

    async def _token(self, source: Mapping[str, Any]) -> bytes:
        audience = source.get("audience", "")
        seconds = int(source.get("expirationSeconds") or _TOKEN_SECONDS)
        known = self._tokens.get((audience, seconds))
        if known is not None and time.time() < known[1]:
            return known[0]
        metadata, spec = self._pod["metadata"], self._pod["spec"]
        bound = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {
                "audiences": [audience] if audience else [],
                "expirationSeconds": seconds,
                "boundObjectRef": bound,
            },
        }
        account = spec.get("serviceAccountName") or "default"
        path = f"/api/v1/namespaces/{metadata['namespace']}/serviceaccounts/{account}/token"
        token = str((await self._setting.api.create(path, body))["status"]["token"])
        self._tokens[audience, seconds] = (token.encode(), renewal_time(token))
        return token.encode()

    def _renew_in_seconds(self) -> float | None:
        if not self._tokens:
            return None
        return max(1.0, min(when for _, when in self._tokens.values()) - time.time())


def renewal_time(token: str) -> float:
    """When a token is to be replaced, in seconds of UTC, read from the token itself."""
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return float(claims["iat"] + _RENEW_AT * (claims["exp"] - claims["iat"]))


def pick(data: Mapping[str, bytes], source: Mapping[str, Any], mode: int) -> dict[str, File]:
    """All entries, or those that `items` names, at the paths it gives."""
    if not source.get("items"):
        return {key: File(content=value, mode=mode) for key, value in data.items()}
    files = {}
    for item in source["items"]:
        if item["key"] in data:
            files[item["path"]] = File(content=data[item["key"]], mode=item.get("mode", mode))
        elif not source.get("optional"):
            raise VolumeMissing(f"references non-existent config key: {item['key']}")
    return files


def write_atomically(folder: Path, files: Mapping[str, File]) -> None:
    """Readers see all of the old files or all of the new: names are links into a folder that is swapped at once."""
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / "..data"
    if data.is_symlink() and _same(folder / os.readlink(data), files):
        return
    before = os.readlink(data) if data.is_symlink() else ""
    fresh = folder / f"..{time.strftime('%Y_%m_%d_%H_%M_%S', time.gmtime())}.{uuid.uuid4().int % 10**10}"
    fresh.mkdir()
    for name, file in files.items():
        path = fresh / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)
        path.chmod(file.mode)
    coming = folder / "..data_tmp"
    coming.symlink_to(fresh.name)
    coming.rename(data)
    _link_names(folder, {Path(name).parts[0] for name in files})
    if before:
        shutil.rmtree(folder / before, ignore_errors=True)


def _link_names(folder: Path, names: set[str]) -> None:
    for entry in os.listdir(folder):
        if not entry.startswith("..") and entry not in names:
            (folder / entry).unlink()
    for name in names:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(Path("..data") / name)


def _same(folder: Path, files: Mapping[str, File]) -> bool:
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    return found == set(files) and all((folder / name).read_bytes() == file.content for name, file in files.items())
