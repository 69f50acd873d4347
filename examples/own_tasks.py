"""Tasks of one's own over the engine: locust -f examples/own_tasks.py --headless -u 5 -t 10s --host http://127.0.0.1:8000"""

from locust import between, task

from bench.load.locustfile import EngineUser


class Asker(EngineUser):
    wait_time = between(0.1, 0.5)

    @task
    def ask(self) -> None:
        first = self.client.chat("Name a river.", output_tokens=8)
        if not first.error:
            self.client.chat(f"Is {first.text} long?", output_tokens=8)
