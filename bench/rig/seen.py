"""What can be seen of a scenario while it goes on: for the eye of whoever watches, and no evidence."""

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from bench.cluster.recorder import Followed
from bench.errors import BenchError
from bench.rig.load_pods import PodLoad
from bench.rig.load_process import LoadProcess
from bench.rig.polling import Poller
from bench.rig.probe_pods import ProbePods


@dataclass(slots=True)
class Seen:
    """What a rig has under way. Asked at any time, from any thread."""

    followed: list[Followed] = field(default_factory=list)
    pollers: list[Poller] = field(default_factory=list)
    probes: list[ProbePods] = field(default_factory=list)
    load: LoadProcess | PodLoad | None = None

    def figures(self) -> Mapping[str, float]:
        """By names that end in their unit; what is not known at the moment is not in it."""
        return dict((*self._load(), *self._replicas(), *self._devices(), *self._metric()))

    def _load(self) -> Iterator[tuple[str, float]]:
        told = self.load.now() if self.load is not None else {}
        for name, shown in (("rate_per_second", "rate_per_second"), ("ttft_p50_seconds", "ttft_seconds")):
            if told.get("finished") and name in told:
                yield shown, told[name]

    def _replicas(self) -> Iterator[tuple[str, float]]:
        try:
            present = [
                found
                for each in list(self.followed)
                if each.path.endswith("/deployments")
                for found in each.present().values()
            ]
        except BenchError:  # the watch has ended, and says so where the scenario asks it
            return
        if present:
            yield "replicas_total", sum(each["spec"].get("replicas", 1) for each in present)
            yield "ready_replicas_total", sum(each.get("status", {}).get("readyReplicas", 0) for each in present)

    def _devices(self) -> Iterator[tuple[str, float]]:
        busy = [ratio for each in list(self.probes) for ratio in each.busy_ratios().values()]
        if busy:
            yield "gpu_busy_time_ratio", statistics.fmean(busy)

    def _metric(self) -> Iterator[tuple[str, float]]:
        last = [each.last for each in list(self.pollers)]
        if last and last[-1] is not None:
            yield "metric_value", last[-1]
