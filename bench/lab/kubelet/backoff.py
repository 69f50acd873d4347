"""How long to wait before trying again: 10 s, doubled to 300 s, as the kubelet does for containers and images."""

from typing import Final

FIRST_SECONDS: Final = 10.0
LAST_SECONDS: Final = 300.0
FORGIVEN_AFTER_SECONDS: Final = 2 * LAST_SECONDS
"""A container that ran this long starts from the beginning."""


class Backoff:
    """
    Of one container. The first failure is followed by a try at once; waiting begins with the second.

    That is upstream's rule for restarts: the entry is made by the first failure, and only later ones meet it.
    """

    def __init__(self) -> None:
        self._next_seconds = 0.0

    def after_end(self, ran_seconds: float) -> float:
        """Seconds to wait now that the container has ended."""
        if ran_seconds >= FORGIVEN_AFTER_SECONDS:
            self._next_seconds = 0.0
        wait_seconds = self._next_seconds
        self._next_seconds = min(max(FIRST_SECONDS, 2 * wait_seconds), LAST_SECONDS)
        return wait_seconds


class PullBackoff:
    """Of one image: every failed pull is followed by a wait."""

    def __init__(self) -> None:
        self._next_seconds = FIRST_SECONDS

    def after_failure(self) -> float:
        wait_seconds = self._next_seconds
        self._next_seconds = min(2 * wait_seconds, LAST_SECONDS)
        return wait_seconds
