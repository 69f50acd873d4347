"""What an exporter's text declares, beside its values: which metrics, of which type, under which labels."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposition:
    """One answer of one exporter."""

    series_by_metric: Mapping[str, int]
    declared_by_metric: Mapping[str, str]
    """``gauge``, ``counter`` or what else the TYPE line says; ``unknown`` where there is none."""
    series_by_label: Mapping[str, int]


def read_exposition(text: str) -> Exposition:
    """
    Count the series of a text.

    Raises:
        ValueError: it is no text of an exporter.

    """
    metrics: Counter[str] = Counter()
    labels: Counter[str] = Counter()
    declared: dict[str, str] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            # the parser gives counters the ending of OpenMetrics, also where the text has none
            name = sample.name if sample.name in text else sample.name.removesuffix("_total")
            metrics[name] += 1
            declared[name] = family.type
            labels.update(name for name, value in sample.labels.items() if value)
    return Exposition(series_by_metric=metrics, declared_by_metric=declared, series_by_label=labels)
