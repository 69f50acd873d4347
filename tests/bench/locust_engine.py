"""locust with the engine below: the benchmark's subject."""

from bench.load.locustfile import StreamingUser


class Asker(StreamingUser):
    drain_seconds = 3.0
