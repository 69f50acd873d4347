"""
What became of each request of a load, as columns: what the analyses of latency and routing start from.

How a load is asked for, made and counted is the business of `bench.load`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from bench.model.measurement import FloatArray


def _columns_agree(sizes: Mapping[str, int]) -> None:
    if len(set(sizes.values())) > 1:
        raise ValueError(f"load records have columns of different lengths: {dict(sizes)}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoadRecords:
    """
    One entry a request, as columns; times are UTC seconds, NaN where it did not come to that.

    `intended` is when the schedule wanted the request, `sent` when it left; what a user waits counts from `intended`.
    """

    intended_seconds: FloatArray
    sent_seconds: FloatArray
    first_token_seconds: FloatArray
    end_seconds: FloatArray
    is_ok: np.ndarray[tuple[int], np.dtype[np.bool_]]
    output_tokens_total: FloatArray
    backends: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        sizes = {
            "intended": self.intended_seconds.size,
            "sent": self.sent_seconds.size,
            "first_token": self.first_token_seconds.size,
            "end": self.end_seconds.size,
            "is_ok": self.is_ok.size,
            "output_tokens": self.output_tokens_total.size,
            "backends": len(self.backends) or self.intended_seconds.size,
        }
        _columns_agree(sizes)

    @property
    def count(self) -> int:
        """Number of requests."""
        return int(self.intended_seconds.size)

    @property
    def lateness_seconds(self) -> FloatArray:
        """How much later than intended each request left; the generator's own fault, not the target's."""
        late = self.sent_seconds - self.intended_seconds
        return late[np.isfinite(late)]
