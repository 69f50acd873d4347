"""Stock locust at its best: FastHttpUser, a line at a time by readline (iter_lines waits for 1024 bytes)."""

import json
import time

from locust import FastHttpUser, constant, task

_BODY = {"model": "m", "messages": [{"role": "user", "content": "hello"}], "stream": True}


class Asker(FastHttpUser):
    wait_time = constant(0)

    @task
    def ask(self) -> None:
        stamps = []
        with self.client.request("POST", "", json=_BODY, stream=True, catch_response=True, name="ask") as response:
            source = response._response
            while line := source.readline(b"\n"):
                if line.startswith(b"data: {"):
                    stamps.append(time.perf_counter())
                    json.loads(line[6:])
            response.success()
