"""
The memory of a device that libcuda.so.1 hands out; the layout is `cuda/memory.h`, and a test compares the two.

It is a part of a device's memory, enough to see whether an owner finds what another left: programs compute in the
CPU's memory, and what they take of that is what NVML shows as used.
"""

import os
import struct
from pathlib import Path
from typing import Final

MAGIC: Final = 0x4D555047
VERSION: Final = 1
OFFSET: Final = 4096
BYTES: Final = 16 << 20

_HEADER: Final = struct.Struct("=4IQ")


class DeviceMemory:
    """The file of one device's memory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is_scrubbed = True
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        try:
            os.fchmod(fd, 0o666)  # any user of a pod may compute
            os.ftruncate(fd, OFFSET + BYTES)
        finally:
            os.close(fd)
        self._write()

    def scrub(self, *, holds: bool) -> None:
        """Whether the driver clears memory before it hands it out."""
        if holds != self._is_scrubbed:
            self._is_scrubbed = holds
            self._write()

    def remove(self) -> None:
        """The device is gone; programs that have it open keep what they have."""
        self._path.unlink(missing_ok=True)

    def _write(self) -> None:
        with self._path.open("r+b") as file:
            file.write(_HEADER.pack(MAGIC, VERSION, int(self._is_scrubbed), 0, BYTES))
