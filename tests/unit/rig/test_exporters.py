"""What an exporter is told to do, and what its text declares."""

import pytest

from bench.metrics.exposition import read_exposition
from bench.rig.exporters import configured_interval

TEXT = """\
# HELP DCGM_FI_DEV_GPU_UTIL GPU utilization (in %).
# TYPE DCGM_FI_DEV_GPU_UTIL gauge
DCGM_FI_DEV_GPU_UTIL{gpu="0",UUID="GPU-1",pod="a"} 97
DCGM_FI_DEV_GPU_UTIL{gpu="1",UUID="GPU-2",pod=""} 0
# TYPE DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION counter
DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu="0",UUID="GPU-1"} 5
"""


def env(name: str, value: str) -> dict[str, str]:
    return {"name": name, "value": value}


def test_series_types_and_labels_are_counted_and_an_empty_label_is_none() -> None:
    found = read_exposition(TEXT)

    assert found.series_by_metric == {"DCGM_FI_DEV_GPU_UTIL": 2, "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION": 1}
    assert found.declared_by_metric["DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"] == "counter"
    assert found.series_by_label == {"gpu": 3, "UUID": 3, "pod": 1}


def test_a_login_page_is_no_exporters_text() -> None:
    with pytest.raises(ValueError, match="html"):
        read_exposition("<html>sign in</html>\n")


@pytest.mark.parametrize(
    ("container", "seconds"),
    [
        ({}, 30.0),
        ({"env": [env("DCGM_EXPORTER_INTERVAL", "5000")]}, 5.0),
        ({"args": ["-f", "x.csv", "-c", "2000"], "env": [env("DCGM_EXPORTER_INTERVAL", "5000")]}, 2.0),
        ({"args": ["--collect-interval=1000"]}, 1.0),
        ({"env": [{"name": "DCGM_EXPORTER_INTERVAL", "valueFrom": {}}]}, None),
    ],
)
def test_the_interval_is_the_flags_or_the_variables_or_the_default(
    container: dict[str, object], seconds: float | None
) -> None:
    assert configured_interval(container) == (seconds, ())


def test_a_variable_with_nearly_the_right_name_is_told() -> None:
    wrong = "DCGM_EXPORTER_COLLECT_INTERVAL"

    assert configured_interval({"env": [env(wrong, "1000")]}) == (30.0, (wrong,))
