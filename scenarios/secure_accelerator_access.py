"""Does a pod come to an accelerator that it was not given? Pods with one, pods with none, and all that they try."""

from collections.abc import Iterator

from bench import Check, Footprint, Reading, Rig, isolation, needs, scenario
from scenarios._access_trial import DRIVER, Trial, absent

PARTS = ("control", "none", "pair", "second-container", "bypass", "residue", "interference", "seed")


@scenario("secure-accelerator-access", requirement="secure_accelerator_access")
class SecureAcceleratorAccess:
    """
    A container sees and reaches the accelerators that its pod was given and no others, by whatever way it tries.

    Pods with a device, without one, and with a container of either kind look for devices by their files, by NVML and by
    CUDA, on one node and from one image; what one of them must not see counts only because another one sees it. They
    try each other's devices, ways around the allocation, and memory that an owner before them left.
    """

    parts: str = ",".join(PARTS)
    """Which to run, of these; control always runs."""
    allocation: str = "auto"
    """device-plugin, dra, or auto: by every way that the node offers."""
    repeats: int = 3
    resource: str = "nvidia.com/gpu"
    probe_image: str = "gpu-bench:0.1.0"
    """Any image with Python; with pynvml in it NVML is asked too."""
    burn_image: str = "nvcr.io/nvidia/pytorch:25.08-py3"
    hold_seconds: float = 10.0
    """How long two pods hold their devices beside each other; they may start seconds apart."""
    memory_bytes: int = 1 << 30
    """Of a device, to be searched for what an owner before left; more finds more and takes longer."""
    window_seconds: float = 10.0
    """Of interference, on average: the neighbour works in every second window."""
    windows: int = 13
    slowdown_budget_ratio: float = 0.05
    pod_seconds: float = 180.0
    """Until a pod that looks must have ended; the first one pulls the image."""
    seed_placeholders: int = 32
    """So many devices, or MIG instances, at most are occupied to leave the seed's procedure one."""

    def __post_init__(self) -> None:
        unknown = set(self.chosen) - set(PARTS)
        if unknown:
            raise ValueError(f"parts has no {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")

    @property
    def chosen(self) -> tuple[str, ...]:
        """The parts, in the order in which they are run."""
        named = {"control", *(each.strip() for each in self.parts.split(",") if each.strip())}
        return (*(each for each in PARTS if each in named), *sorted(named - set(PARTS)))

    def needs(self) -> Iterator[needs.Need]:
        yield needs.Accelerators(at_least=1)

    def footprint(self) -> Footprint:
        burning = self.windows * self.window_seconds + 60.0 if "interference" in self.chosen else 0.0
        seconds = 60.0 + self.repeats * (30.0 + self.hold_seconds) + burning
        return Footprint(
            duration_seconds=seconds + (90.0 if "seed" in self.chosen else 0.0),
            accelerators=2,
            objects=("Namespace", "ConfigMap", "ResourceClaimTemplate", "Pod"),
        )

    def run(self, rig: Rig) -> Iterator[Reading]:
        ground = isolation.choose_ground(rig.inventory, self.resource, self.allocation)
        if ground is None:
            reason = f"no ready node offers {self.resource} or devices of {DRIVER} by the way {self.allocation}"
            if others := isolation.other_resources(rig.inventory, self.resource):
                reason += f"; --set secure-accelerator-access.resource= one of {', '.join(others)} looks at those"
            yield absent("devices_seen_total", "nodes and ResourceSlices", reason, {"part": "control"})
            return
        trial = Trial(self, rig, ground)
        yield from trial.open()
        for repetition in range(1, self.repeats + 1):
            yield from trial.repetition(str(repetition))
        yield from trial.allocated()
        if "interference" in self.chosen:
            yield from trial.interference()
        if "seed" in self.chosen:
            yield from trial.seed()

    def analyse(self, readings: tuple[Reading, ...]) -> Iterator[Reading]:
        budget = self.slowdown_budget_ratio
        yield from isolation.derive(readings, self.chosen, slowdown_budget_ratio=budget)

    def checks(self) -> Iterator[Check]:
        yield from isolation.checks(self.chosen, slowdown_budget_ratio=self.slowdown_budget_ratio)
