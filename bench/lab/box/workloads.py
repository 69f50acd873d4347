"""Applies the parts of a lab that are workloads in it, and tells whether they serve."""

from collections.abc import Callable
from typing import Any

from bench.lab.api import ApiClient
from bench.lab.box.leash import Progress
from bench.lab.config import LabConfig
from bench.lab.paths import LabPaths


class Workloads:
    """All parts of one lab."""

    def __init__(self, config: LabConfig, paths: LabPaths, client: ApiClient, tell: Callable[[Progress], None]) -> None:
        self._config = config
        self._client = client

    async def apply(self) -> None:
        """Returns when every part serves."""

    async def describe(self) -> list[dict[str, Any]]:
        return []

    def waiting(self) -> list[str]:
        return []
