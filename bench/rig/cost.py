"""What the bench takes while it looks: a tool that loads what it measures measures itself."""

import time
from collections.abc import Iterator

from bench.model.measurement import Measurement, Reading, Source
from bench.model.units import Unit

STATEMENT = "this process: CPU time and requests to the API server, over the time since the scenario began"


class CostMeter:
    """Counts from when it was made; of this process alone, not of load generators and probe pods."""

    def __init__(self, requests_total: int) -> None:
        self._requests_total = requests_total
        self._began_seconds = time.monotonic()
        self._cpu_seconds = time.process_time()

    def readings(self, requests_total: int) -> Iterator[Reading]:
        """The share of one core, and the rate of requests."""
        wall_seconds = time.monotonic() - self._began_seconds
        cpu_seconds = time.process_time() - self._cpu_seconds
        rate = (requests_total - self._requests_total) / wall_seconds
        yield _reading("bench_cpu_ratio", Unit.RATIO, cpu_seconds / wall_seconds)
        yield _reading("bench_api_requests_per_second", Unit.PER_SECOND, rate)


def _reading(name: str, unit: Unit, value: float) -> Measurement:
    return Measurement(name=name, unit=unit, values=[value], source=Source.WORKLOAD, statement=STATEMENT)
