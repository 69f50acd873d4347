"""
A device, its exporter and its scraper, with every true time known; the estimators are held against it.

Plays the mechanism (a counter that NVML renews every 100 ms, a cache renewed every collect interval, a scrape at a
fixed phase), not the formulas of the estimators.
"""

from dataclasses import dataclass

import numpy as np

from bench.analysis.signals import Signal

RENEWAL = 0.1


@dataclass(frozen=True, kw_only=True)
class Chain:
    """What the probe saw, what was scraped, and how old each scraped value really was."""

    probe_energy: Signal
    probe_busy: Signal
    energy: Signal
    busy: Signal
    ages: np.ndarray


def random_dwell(generator, seconds, dwell, levels=(0.0, 1.0)):
    """A level over time that holds for a random while and never divides an interval of the chain."""
    edges, values, at = [0.0], [levels[0]], 0.0
    while at < seconds:
        at += generator.uniform(0.5, 1.5) * dwell
        edges.append(at)
        values.append(levels[len(edges) % len(levels)])
    return Signal(times_seconds=np.array(edges), values=np.array(values))


def play(generator, *, collect, scrape, seconds=1800.0, dwell=None, start=1_700_000_000.0):
    load = random_dwell(generator, seconds, dwell or 2.2 * max(collect, scrape))
    grid = np.arange(0.0, seconds, 0.01)
    watts = 60.0 + 300.0 * load.at(grid)
    joules = np.cumsum(watts) * 0.01 + 12345.0

    def energy(times):
        renewed = np.floor(np.maximum(times, 0.0) / RENEWAL) * RENEWAL
        return np.floor(joules[np.clip((renewed / 0.01).astype(int), 0, grid.size - 1)] * 1000.0) / 1000.0

    probe = np.arange(generator.uniform(0, 0.1), seconds, 0.1)
    scrapes = np.arange(generator.uniform(0, scrape) + 2 * collect, seconds, scrape)
    phase = generator.uniform(0, collect)
    collected = phase + np.floor((scrapes - phase) / collect) * collect
    return Chain(
        probe_energy=Signal(times_seconds=start + probe, values=energy(probe)),
        probe_busy=Signal(times_seconds=start + probe, values=load.at(probe)),
        energy=Signal(times_seconds=start + scrapes, values=energy(collected)),
        busy=Signal(times_seconds=start + scrapes, values=load.at(collected)),
        ages=scrapes - collected,
    )


def late_now_and_then(generator, period, seconds):
    """Moments a period apart on a busy node: some a little late, a few as much as two periods."""
    count = int(seconds / period)
    little = generator.exponential(0.01, count) * (generator.random(count) < 0.3)
    much = generator.uniform(0.05, 0.2, count) * (generator.random(count) < 0.004)
    times = np.cumsum(period + little + much)
    return times[times < seconds]


def play_busy_node(generator, *, collect, scrape, seconds):
    """Energy alone, of a counter that is renewed late and a probe that looks late: probe, scraped, true ages."""
    renewals = late_now_and_then(generator, RENEWAL, seconds) + generator.uniform(0.0, RENEWAL)
    watts = 70.0 + 630.0 * (np.floor(renewals / (2.0 * max(collect, scrape))) % 2)
    joules = np.cumsum(np.diff(renewals, prepend=0.0) * watts)

    def energy(times):
        return joules[np.clip(np.searchsorted(renewals, times, side="right") - 1, 0, joules.size - 1)]

    looks = late_now_and_then(generator, 0.1, seconds) + generator.uniform(0.0, 0.1)
    passes = generator.uniform(0.0, collect) + np.cumsum(
        collect + generator.exponential(0.003, int(seconds / collect) + 1)
    )
    scrapes = np.arange(2.0 * collect + generator.uniform(0.0, scrape), seconds, scrape)
    read = passes[np.searchsorted(passes, scrapes) - 1]
    probe = Signal(times_seconds=looks, values=energy(looks))
    return probe, Signal(times_seconds=scrapes, values=energy(read), is_polled=False), scrapes - read
