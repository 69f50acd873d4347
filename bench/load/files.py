"""Files that a user names: read as text, or to be written; what cannot be is refused before anything is sent."""

import os
from pathlib import Path

from bench.errors import WrongUsage


def read_text(file: Path, *, named_by: str) -> str:
    """The whole text; `named_by` is the option, or what the file is for."""
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise WrongUsage(f"{named_by} {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise WrongUsage(f"{named_by} {file}: no UTF-8 text, from byte {error.start} on") from error


def require_writable(file: Path, *, named_by: str) -> None:
    """A result that has nowhere to go is known before the load and not after it."""
    if file.is_dir():
        raise WrongUsage(f"{named_by} {file}: is a directory; name a file in it")
    if not file.parent.is_dir():
        raise WrongUsage(f"{named_by} {file}: there is no directory {file.parent}")
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        raise WrongUsage(f"{named_by} {file}: may not be written")
