"""
One device through the scenario's course as a busy node shows it: late probes, late passes, clocks that nearly agree.

Levels, windows and lags are those of the lab's model; every true time is known.
"""

from dataclasses import dataclass

import numpy as np

from bench.analysis.signals import Signal

GRID = 0.01
QUANTITIES = ("gpu_busy_time_ratio", "gpu_power_watts", "gpu_temperature_celsius", "gpu_memory_used_bytes")


@dataclass(frozen=True, kw_only=True)
class Course:
    """By quantity the probe's signal and the scraped one; the times of the readings as they were and as estimated."""

    probed: dict[str, Signal]
    scraped: dict[str, Signal]
    ages: np.ndarray
    told_ages: np.ndarray


def levels(generator, seconds, dwell):
    """Idle, turns of full work and rest with memory, a staircase, idle again."""
    edges, work, memory = [0.0], [0.0], [0]
    at = 0.15 * seconds
    while at < 0.65 * seconds:
        edges.append(at)
        work.append(float(len(edges) % 2))
        memory.append(int(generator.integers(0, 3)))
        at += generator.uniform(0.5, 1.5) * dwell
    for number, stair in enumerate((0.25, 0.5, 0.75, 1.0)):
        edges.append((0.65 + 0.0625 * number) * seconds)
        work.append(stair)
        memory.append(2)
    edges, work, memory = [*edges, 0.9 * seconds], [*work, 0.0], [*memory, 0]
    return np.array(edges), np.array(work), np.array(memory) * 4e9


def lagged(values, lag):
    """A first-order lag, by the exact step."""
    gone, state, found = 1.0 - np.exp(-GRID / lag), values[0], np.empty_like(values)
    for place, value in enumerate(values):
        state += (value - state) * gone
        found[place] = state
    return found


def play_course(generator, *, collect, scrape, seconds, dwell=None, delays=None, after=0.4, jitter=0.01, clock=0.03):
    """`delays` by quantity: what is shown from that part of the run on is so much older than the reading."""
    rest = 4.0 * scrape
    edges, work, memory = levels(generator, seconds, dwell or 2.0 * max(collect, scrape))
    grid = np.arange(-rest - 2.0 * collect, seconds + rest, GRID)
    step = Signal(times_seconds=np.append(-1e9, edges), values=np.append(0.0, work)).at(grid)
    held = Signal(times_seconds=np.append(-1e9, edges), values=np.append(0.0, memory)).at(grid)
    sums = np.concatenate([np.zeros(100), np.cumsum(step)])
    busy = (sums[100:] - sums[:-100]) / 100.0
    watts = lagged(70.0 + 630.0 * busy, 0.7)
    true = {
        "gpu_busy_time_ratio": np.round(busy, 2),
        "gpu_power_watts": watts,
        "gpu_temperature_celsius": np.round(30.0 + 50.0 * lagged(watts, 20.0) / 700.0),
        "gpu_memory_used_bytes": held + 5e8,
    }

    def at(name, times):
        renewed = np.floor(times / 0.1) * 0.1
        return true[name][np.clip(np.round((renewed - grid[0]) / GRID).astype(int), 0, grid.size - 1)]

    probe = np.cumsum(0.1 + generator.exponential(jitter, int((grid[-1] - grid[0]) / 0.1))) + grid[0]
    probe = probe[probe < grid[-1]]
    scrapes = np.arange(grid[0] + 2.0 * collect + generator.uniform(0, scrape), grid[-1], scrape)
    passes = (
        grid[0]
        + generator.uniform(0, collect)
        + np.cumsum(collect + generator.exponential(jitter / 2, int((grid[-1] - grid[0]) / collect) + 1))
    )
    last = passes[np.maximum(0, np.searchsorted(passes, scrapes) - 1)]
    scraped = {}
    for name in QUANTITIES:
        delay = np.where(scrapes >= after * seconds, (delays or {}).get(name, 0.0), 0.0)
        scraped[name] = Signal(times_seconds=scrapes, values=at(name, last - delay), is_polled=False)
    told = scrapes - last + generator.uniform(-clock, clock) + generator.uniform(-0.07, 0.07, scrapes.size)
    return Course(
        probed={name: Signal(times_seconds=probe, values=at(name, probe)) for name in QUANTITIES},
        scraped=scraped,
        ages=scrapes - last,
        told_ages=told,
    )
