"""The model against values worked out by hand, and against what must hold whatever is done to it."""

import itertools
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.lab.gpu import model
from bench.lab.gpu.board import crossed_level
from bench.lab.gpu.profiles import H100, PRODUCTS, T4, Product

CAPACITY = model.Capacity(cores=0.4)


def settle(product: Product, cores: float, seconds: float, capacity: model.Capacity = CAPACITY) -> model.DeviceState:
    state = model.initial_state(product, {})
    for _ in range(round(seconds * 10)):
        state = model.step(state, product, capacity, {"": model.Use(cpu_seconds=cores * 0.1)}, 0.1)
    return state


def test_half_the_capacity_is_half_the_utilisation_and_half_way_to_the_power_limit() -> None:
    state = settle(H100, 0.2, 300)

    assert state.part.utilization_ratio == pytest.approx(0.5)
    assert state.power_watts == pytest.approx(70 + 0.5 * (700 - 70))
    assert state.average_power_watts == pytest.approx(385)
    assert state.temperature_celsius == pytest.approx(26 + 44 * 385 / 700, abs=0.01)
    assert state.sm_clock_megahertz == 1980
    assert state.event_reasons == 0


def test_an_idle_device_draws_its_idle_power_and_says_that_it_idles() -> None:
    state = settle(T4, 0.0, 10)

    assert state.energy_joules == pytest.approx(10 * 10.0)
    assert state.event_reasons == model.REASON_IDLE
    assert (state.sm_clock_megahertz, state.memory_clock_megahertz, state.performance_state) == (300, 405, 8)


def test_full_load_meets_the_power_limit_and_lowers_the_clock() -> None:
    state = settle(H100, 0.4, 60)

    assert state.part.utilization_ratio == 1.0
    assert state.event_reasons & model.REASON_POWER_CAP
    assert state.sm_clock_megahertz == 1770  # nine tenths of 1980, in steps of 15
    assert state.power_violation_seconds > 50


def test_a_device_in_hot_air_slows_down_and_counts_the_time() -> None:
    hot = replace(T4, thermal=replace(T4.thermal, ambient_celsius=40))

    state = settle(hot, 0.4, 200)

    assert state.temperature_celsius == pytest.approx(90, abs=0.2)
    assert state.event_reasons & model.REASON_SOFTWARE_THERMAL
    assert state.sm_clock_megahertz < 0.8 * T4.clocks.sm_megahertz
    assert state.thermal_violation_seconds > 0


def test_power_follows_a_step_by_its_time_constant() -> None:
    """After one time constant 63 % of the way is gone; the window of utilisation is full at once by a big step."""
    begun = model.initial_state(H100, {})

    state = model.step(begun, H100, CAPACITY, {"": model.Use(cpu_seconds=0.4)}, 1.0)

    gone = 1 - math.exp(-1.0 / model.POWER_LAG_SECONDS)
    assert state.power_watts == pytest.approx(70 + 630 * gone)
    assert state.energy_joules == pytest.approx(700 * 1.0 + (70 - 700) * model.POWER_LAG_SECONDS * gone)


def test_utilisation_is_the_mean_of_the_last_second() -> None:
    state = settle(H100, 0.4, 0.3)

    assert state.part.utilization_ratio == pytest.approx(0.3)
    assert settle(H100, 0.4, 3).part.utilization_ratio == pytest.approx(1.0)


def test_the_visible_energy_moves_ten_times_a_second_though_it_is_looked_at_more_often() -> None:
    state = model.initial_state(H100, {})
    seen = []
    for _ in range(100):
        state = model.step(state, H100, CAPACITY, {}, 0.01)
        seen.append(state.visible_energy_joules)

    assert 9 <= len(set(seen)) - 1 <= 12


def test_memory_is_scaled_and_never_more_than_there_is() -> None:
    use = model.Use(memory_bytes=100 << 20)
    state = model.step(model.initial_state(T4, {}), T4, CAPACITY, {"": use}, 0.1)
    assert state.part.memory_used_bytes == (100 << 20) * model.MEMORY_SCALE

    greedy = model.step(state, T4, CAPACITY, {"": model.Use(memory_bytes=1 << 40)}, 0.1)
    assert greedy.part.memory_used_bytes == T4.memory_bytes - T4.memory_reserved_bytes


def test_an_instance_is_busy_by_its_own_share_and_the_device_by_all() -> None:
    capacity = model.Capacity(
        cores=0.7, instance_cores={"a": 0.1, "b": 0.1}, instance_memory_bytes={"a": 1 << 30, "b": 1 << 30}
    )
    state = model.initial_state(H100, capacity.instance_cores)
    for _ in range(20):
        state = model.step(state, H100, capacity, {"a": model.Use(cpu_seconds=0.01)}, 0.1)

    assert state.instances["a"].utilization_ratio == pytest.approx(1.0)
    assert state.instances["b"].utilization_ratio == 0.0
    assert state.part.utilization_ratio == pytest.approx(1 / 7)


def test_a_kernel_on_a_part_of_the_multiprocessors_is_all_of_the_utilisation_and_a_part_of_their_activity() -> None:
    state = settle_once(model.Use(cpu_seconds=0.4, multiprocessor_ratio=0.25))

    assert state.part.utilization_ratio == 1.0
    assert state.part.active_seconds == 1.0
    assert state.part.sm_active_seconds == pytest.approx(0.25)
    assert state.power_watts == settle_once(model.Use(cpu_seconds=0.4)).power_watts


def settle_once(use: model.Use) -> model.DeviceState:
    return model.step(model.initial_state(H100, {}), H100, CAPACITY, {"": use}, 1.0)


def test_of_a_device_in_parts_the_multiprocessors_count_by_the_work_that_each_part_did() -> None:
    uses = [
        model.Use(cpu_seconds=0.3, multiprocessor_ratio=0.5, memory_bytes=1),
        model.Use(cpu_seconds=0.1, memory_bytes=2),
        model.Use(multiprocessor_ratio=0.0),
    ]

    assert model.together(uses).multiprocessor_ratio == pytest.approx((0.15 + 0.1) / 0.4)
    assert model.together(uses).memory_bytes == 3
    assert model.together([]).multiprocessor_ratio == 1.0


loads = st.lists(
    st.tuples(st.floats(0.001, 2.0), st.floats(0.0, 4.0), st.integers(0, 1 << 36)), min_size=1, max_size=40
)


@given(load=loads, product=st.sampled_from(list(PRODUCTS.values())))
def test_whatever_is_done_the_device_stays_within_its_bounds(
    load: list[tuple[float, float, int]], product: Product
) -> None:
    state = model.initial_state(product, {})
    for seconds, cores, memory in load:
        before = state
        use = model.Use(cpu_seconds=seconds * cores, memory_bytes=memory)
        state = model.step(state, product, CAPACITY, {"": use}, seconds)

        assert 0.0 <= state.part.utilization_ratio <= 1.0
        assert product.power.idle_watts - 1e-6 <= state.power_watts <= product.power.limit_watts + 1e-6
        assert state.energy_joules >= before.energy_joules
        assert before.visible_energy_joules <= state.visible_energy_joules <= state.energy_joules + 1e-9
        assert state.part.active_seconds - before.part.active_seconds <= seconds + 1e-9
        assert state.part.sm_active_seconds <= state.part.active_seconds + 1e-9
        assert 0 <= state.part.memory_used_bytes <= product.memory_bytes - product.memory_reserved_bytes
        assert product.clocks.sm_idle_megahertz <= state.sm_clock_megahertz <= product.clocks.sm_megahertz
        assert product.thermal.ambient_celsius <= state.temperature_celsius < product.thermal.shutdown_celsius


@given(ratio=st.floats(0.0, 1.0), cuts=st.lists(st.floats(0.01, 0.99), max_size=8))
def test_energy_is_the_integral_of_power_however_the_time_is_cut(ratio: float, cuts: list[float]) -> None:
    """A constant use, from a window that is already full of it: one step of a second, or many."""
    full: model.Window = ((1.0, ratio * 0.4),)
    begun = model.initial_state(H100, {})
    begun = replace(begun, part=replace(begun.part, window=full, utilization_ratio=ratio))
    once = model.step(begun, H100, CAPACITY, {"": model.Use(cpu_seconds=ratio * 0.4)}, 1.0)

    often = begun
    marks = [0.0, *sorted(cuts), 1.0]
    for start, end in itertools.pairwise(marks):
        if end > start:
            use = model.Use(cpu_seconds=ratio * 0.4 * (end - start))
            often = model.step(often, H100, CAPACITY, {"": use}, end - start)

    assert often.energy_joules == pytest.approx(once.energy_joules, rel=1e-6)
    assert often.power_watts == pytest.approx(once.power_watts, rel=1e-6)


@given(steps=st.lists(st.tuples(st.floats(0.01, 1.5), st.floats(0.0, 1.0)), min_size=1, max_size=30))
def test_the_window_never_holds_more_than_its_second(steps: list[tuple[float, float]]) -> None:
    window: model.Window = ()
    for seconds, used in steps:
        window = model.slide(window, seconds, used)

    assert sum(length for length, _ in window) <= model.WINDOW_SECONDS + 1e-9
    assert sum(used for _, used in window) <= sum(used for _, used in steps) + 1e-9


def test_a_crossing_down_counts_when_it_is_clear_by_the_hysteresis() -> None:
    assert crossed_level(0, 0.31, 0.1, 0.02) == 3
    assert crossed_level(3, 0.295, 0.1, 0.02) == 3
    assert crossed_level(3, 0.27, 0.1, 0.02) == 2
    assert crossed_level(3, 0.0, 0.1, 0.02) == 0
    assert crossed_level(9, 1.0, 0.1, 0.02) == 10
