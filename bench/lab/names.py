"""What a lab may be called: the name becomes a folder, a control group and a kubeconfig context."""

import re
from typing import Final

from bench.errors import WrongUsage

_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?")


def checked(name: str) -> str:
    """The name itself, or `WrongUsage`."""
    if not _NAME.fullmatch(name):
        raise WrongUsage(f"{name!r} is no name for a lab: small letters, digits and inner dashes, at most 32.")
    return name
