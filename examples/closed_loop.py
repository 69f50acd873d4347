"""Users that ask, wait and ask again: locust -f examples/closed_loop.py --headless -u 20 -t 30s --host http://127.0.0.1:8000"""

from bench.load.locustfile import StreamingUser


class Asker(StreamingUser):
    prompt_tokens = "uniform:16,64"
