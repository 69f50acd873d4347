"""The benchmark's programs: built, pinned, watched from outside by /proc, and the server's truth read back."""

import contextlib
import datetime as dt
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bench.load.engine.build import target_dir

HERE = Path(__file__).parent
CLIENT_CORE, SERVER_CORE = 0, 1


def build(into: Path) -> None:
    """Compiles the C server and the C reference client."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        sys.exit("no C compiler; the benchmark's server and reference client are C")
    into.mkdir(parents=True, exist_ok=True)
    for name in ("server", "client"):
        subprocess.run(
            [compiler, "-O2", "-Wall", "-Wextra", "-o", str(into / name), str(HERE / f"{name}.c")], check=True
        )


def build_paced_server() -> Path:
    """The Rust server of the TLS and HTTP/2 rows; needs the toolchain that built the engine."""
    cargo = shutil.which("cargo")
    if cargo is None:
        sys.exit("no cargo; the server of the TLS and HTTP/2 rows is Rust")
    crate = HERE.parents[1] / "bench" / "load" / "engine" / "Cargo.toml"
    command = [cargo, "build", "--release", "--locked", "--example", "paced_server", "--manifest-path", str(crate)]
    subprocess.run(command, check=True, env=os.environ | {"CARGO_TARGET_DIR": str(target_dir())})
    return target_dir() / "release" / "examples" / "paced_server"


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 and its key, for a day."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    files = folder / "server.crt", folder / "server.key"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    files[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    return files


@dataclass(slots=True)
class Truth:
    """What the server's kernel and clock saw; nanoseconds of real time."""

    ids: list[str] = field(default_factory=list)
    received: list[int] = field(default_factory=list)
    tokens: list[list[int]] = field(default_factory=list)

    @classmethod
    def read(cls, file: Path) -> "Truth":
        truth = cls()
        for line in file.read_text().splitlines():
            name, received, _connection, *times = line.split()
            truth.ids.append(name)
            truth.received.append(int(received))
            truth.tokens.append([int(stamp) for stamp in times])
        return truth

    def sent_between(self, begin_ns: int, end_ns: int) -> int:
        stamps = np.fromiter((stamp for times in self.tokens for stamp in times), dtype=np.int64)
        return int(((stamps >= begin_ns) & (stamps < end_ns)).sum())

    def received_between(self, begin_ns: int, end_ns: int) -> int:
        stamps = np.asarray(self.received)
        return int(((stamps >= begin_ns) & (stamps < end_ns)).sum())

    def whole(self, tokens: int) -> list[int]:
        return [at for at, times in enumerate(self.tokens) if len(times) == tokens]

    def ttft_seconds(self, tokens: int) -> np.ndarray:
        return np.asarray([(self.tokens[at][0] - self.received[at]) / 1e9 for at in self.whole(tokens)])

    def itl_seconds(self, tokens: int) -> np.ndarray:
        return np.concatenate([np.diff(self.tokens[at]) / 1e9 for at in self.whole(tokens)])

    def e2e_seconds(self, tokens: int) -> np.ndarray:
        return np.asarray([(self.tokens[at][-1] - self.received[at]) / 1e9 for at in self.whole(tokens)])


@dataclass(slots=True)
class Server:
    """A test server that runs."""

    process: subprocess.Popen[str]
    port: int
    log: Path
    truth: Truth = field(default_factory=Truth)

    def wait_for_first(self) -> None:
        """Returns once the first request has come."""
        assert self.process.stdout is not None
        if self.process.stdout.readline().strip() != "first":
            sys.exit("the test server ended before a request came")


@contextlib.contextmanager
def serve(programs: Path, *, stall: str = "", core: int | None = SERVER_CORE) -> Iterator[Server]:
    """A server of its own for one run; its truth is there once it has ended."""
    log = programs / f"truth-{os.getpid()}.log"
    command = [str(programs / "server"), "0", str(log), *(["--stall", stall] if stall else [])]
    process = subprocess.Popen(pinned(command, core), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    server = Server(process=process, port=int(process.stdout.readline()), log=log)
    try:
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
        server.truth = Truth.read(log)
        log.unlink()


def may_go_first() -> bool:
    """Root may put clients and servers alike before the machine's other work; the table says whether it did."""
    return os.geteuid() == 0


def pinned(command: Sequence[str], core: int | None) -> list[str]:
    first = ["nice", "-n", "-15"] if may_go_first() else []
    return first + (list(command) if core is None else ["taskset", "-c", str(core), *command])


def family(pid: int) -> list[int]:
    """A process and its descendants."""
    found, at = [pid], 0
    while at < len(found):
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{found[at]}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
        at += 1
    return found


def cpu_seconds(pid: int) -> float:
    """CPU of all threads of a process and its descendants, to the nanosecond."""
    total = 0
    for one in family(pid):
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{one}/task").iterdir():
                with contextlib.suppress(OSError):
                    total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def memory_bytes(pid: int) -> int:
    """Proportional set size of a process and its descendants."""
    total = 0
    for one in family(pid):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total


def say(text: str) -> None:
    """Progress, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def wait_seconds(seconds: float) -> None:
    """A window of measurement is a while and not a condition."""
    time.sleep(seconds)
