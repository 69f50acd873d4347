"""
A load in a network of its own whose packets are all lost for a while: ``python -m tests.bench.in_lossy_network``.

Run it by `unshare --net` (with `--user --map-root-user` where one is not root). The result goes to standard output.
"""

import json
import subprocess
import sys
import threading
from dataclasses import replace

from bench.load.arrivals import Shape
from bench.load.engines import EngineKind, Glance
from bench.load.orders import Limits
from bench.load.workers import Means, run
from tests.unit.load.faulty_server import faulty_server
from tests.unit.load.test_bad_input import order_for

RATE = 20.0
BEFORE_SECONDS, LOST_SECONDS, AFTER_SECONDS = 1.0, 3.0, 4.0


def nft(words: str) -> None:
    subprocess.run(["nft", words], check=True)


def main(kind: EngineKind) -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    nft("add table inet lossy; add chain inet lossy input { type filter hook input priority 0; }")
    over = threading.Event()
    lost = False

    def watch(glance: Glance) -> None:
        nonlocal lost
        if not lost and glance.elapsed_seconds >= BEFORE_SECONDS:
            lost = True
            nft("add rule inet lossy input drop")
            threading.Timer(LOST_SECONDS, lambda: (nft("flush chain inet lossy input"), over.set())).start()

    with faulty_server() as server:
        order = replace(
            order_for(f"http://127.0.0.1:{server.port}/good"),
            shape=Shape.constant(RATE, BEFORE_SECONDS + LOST_SECONDS + AFTER_SECONDS),
            limits=Limits(timeout_seconds=1.0, connect_timeout_seconds=0.5, drain_seconds=2.0),
        )
        result = run(order, Means(kind=kind), watcher=watch)
        over.wait(LOST_SECONDS)
    sys.stdout.write(json.dumps(result.to_json(with_histograms=False) | {"exit_code": int(result.exit_code)}))


if __name__ == "__main__":
    main(EngineKind(sys.argv[1]))
