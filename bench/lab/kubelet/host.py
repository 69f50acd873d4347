"""What all pods of a lab share: the one object that is handed down from the agent."""

from dataclasses import dataclass
from pathlib import Path

from bench.lab.api import ApiClient
from bench.lab.cgroups import Groups
from bench.lab.config import LabConfig
from bench.lab.faults.state import Faults
from bench.lab.gpu.devices import Devices
from bench.lab.images import Catalogue
from bench.lab.kubelet.admission import Rooms
from bench.lab.kubelet.events import EventRecorder
from bench.lab.kubelet.network import Networks
from bench.lab.kubelet.objects import Objects
from bench.lab.kubelet.probes import Asker
from bench.lab.kubelet.process import Spawner
from bench.lab.kubelet.publishing import Publisher
from bench.lab.kubelet.shelf import Shelf
from bench.lab.paths import LabPaths
from bench.lab.truth import TruthLog


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """Opened by the agent, closed by the agent."""

    config: LabConfig
    paths: LabPaths
    truth: TruthLog
    faults: Faults
    api: ApiClient
    events: EventRecorder
    publisher: Publisher
    objects: Objects
    catalogue: Catalogue
    shelf: Shelf
    networks: Networks
    spawner: Spawner
    groups: Groups
    devices: Devices
    rooms: Rooms
    asker: Asker
    bwrap: str

    @property
    def etc(self) -> Path:
        """passwd, group and nsswitch.conf of every container."""
        return self.paths.root / "etc"
