"""Requests by a schedule: locust -f examples/open_loop.py --headless --bench-rate 50 --host http://127.0.0.1:8000"""

from bench.load.locustfile import ScheduledUser, ScheduleShape


class Asker(ScheduledUser):
    prompt_tokens = "uniform:16,64"


class Schedule(ScheduleShape):
    pass
