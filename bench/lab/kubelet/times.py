"""Times as the API writes them."""

from datetime import UTC, datetime


def now() -> str:
    """UTC, whole seconds: metav1.Time."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def now_micro() -> str:
    """UTC, microseconds: metav1.MicroTime."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse(text: str) -> datetime:
    """Any RFC 3339 time of the API."""
    return datetime.fromisoformat(text)
