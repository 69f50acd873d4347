"""Whether requests get through a Gateway: nothing in the API tells when its proxies know a route and its pods."""

import threading

import urllib3

from bench import interruption

ANSWER_SECONDS = 2.0
"""For one answer; a proxy without the route gives one at once."""


def is_answered(url: str, *, hostname: str, by_header: str, within_seconds: float) -> bool:
    """
    Whether a GET for this host was answered with the header within the time; it is asked four times a second.

    A Gateway whose certificate this machine does not trust is not asked again: that is settled where load is made.
    """
    with urllib3.PoolManager(retries=False, timeout=ANSWER_SECONDS) as pool:
        for seconds in interruption.slices(within_seconds):
            try:
                if by_header in pool.request("GET", url, headers={"Host": hostname}).headers:
                    return True
            except urllib3.exceptions.SSLError:
                return False
            except (urllib3.exceptions.HTTPError, OSError):
                pass  # nobody listens yet
            threading.Event().wait(seconds)
    return False
