"""A pod from its creation to its end: phases, restarts, init containers, sidecars, termination."""

import re
from datetime import datetime

from tests.contract.pods import (
    BUSYBOX,
    STARTED_SECONDS,
    condition,
    is_finished,
    is_running,
    output_of,
    pod,
    python,
    restarts,
    run_to_end,
    server,
    shell,
    start,
    status_of,
    waiting_reason,
)
from tests.contract.target import Object, Target, says

DATA = {"name": "data", "emptyDir": {}}
MOUNT = {"name": "data", "mountPath": "/data"}


def seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


def terminated(found: Object, name: str = "main") -> Object:
    state: Object = status_of(found, name).get("state", {}).get("terminated", {})
    return state


def test_a_program_that_ends_well_makes_the_pod_succeed(target: Target, namespace: str) -> None:
    ended = run_to_end(target, pod(namespace, "well", shell("exit 0")))

    assert ended["status"]["phase"] == "Succeeded"
    assert (terminated(ended)["exitCode"], terminated(ended)["reason"]) == (0, "Completed")
    assert condition(ended, "Ready")["status"] == "False"
    assert condition(ended, "Ready")["reason"] == "PodCompleted"


def test_a_program_that_fails_makes_the_pod_fail_with_its_exit_code(target: Target, namespace: str) -> None:
    ended = run_to_end(target, pod(namespace, "badly", shell("exit 42")))

    assert ended["status"]["phase"] == "Failed"
    assert (terminated(ended)["exitCode"], terminated(ended)["reason"]) == (42, "Error")
    assert restarts(ended) == 0


def test_a_pod_fails_when_one_of_its_containers_failed(target: Target, namespace: str) -> None:
    ended = run_to_end(target, pod(namespace, "mixed", shell("exit 0", "good"), shell("exit 7", "bad")))

    assert ended["status"]["phase"] == "Failed"
    assert terminated(ended, "good")["exitCode"] == 0
    assert terminated(ended, "bad")["exitCode"] == 7


def test_a_running_pod_tells_where_since_when_and_what(target: Target, namespace: str) -> None:
    running = start(target, pod(namespace, "told", server()))

    status = running["status"]
    assert (status["phase"], status["podIP"], status["podIPs"][0]["ip"]) == (
        "Running",
        status["podIP"],
        status["podIP"],
    )
    assert status["hostIP"]
    assert status["startTime"]
    main = status_of(running)
    assert main["ready"]
    assert main["started"]
    assert main["containerID"]
    assert main["imageID"]
    assert main["state"]["running"]["startedAt"]
    order = [condition(running, kind) for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready")]
    assert all(c["status"] == "True" for c in order)
    assert seconds(order[0]["lastTransitionTime"]) <= seconds(order[3]["lastTransitionTime"])


def test_a_pod_tells_its_story_in_events(target: Target, namespace: str) -> None:
    running = start(target, pod(namespace, "told", server()))

    for reason in ("Scheduled", "Pulled", "Created", "Started"):
        event = target.wait_for_event(running, says(reason), within_seconds=30)
        assert event["type"] == "Normal"
        assert event["involvedObject"]["name"] == "told"


def test_a_failing_program_is_started_again_until_it_succeeds(target: Target, namespace: str) -> None:
    script = "test -f /data/tried || { touch /data/tried; exit 3; }; exit 0"
    wanted = pod(namespace, "again", shell(script, volumeMounts=[MOUNT]), volumes=[DATA], restartPolicy="OnFailure")

    ended = run_to_end(target, wanted)

    assert ended["status"]["phase"] == "Succeeded"
    assert restarts(ended) == 1
    assert status_of(ended)["lastState"]["terminated"]["exitCode"] == 3
    assert terminated(ended)["exitCode"] == 0


def test_a_program_that_must_always_run_is_started_again_after_it_succeeded(target: Target, namespace: str) -> None:
    made = target.create(pod(namespace, "always", shell("exit 0"), restartPolicy="Always"))

    again = target.wait_for(made, lambda p: restarts(p) >= 1, within_seconds=STARTED_SECONDS, what="a restart")

    assert status_of(again)["lastState"]["terminated"]["reason"] == "Completed"


def test_a_crash_loop_backs_off_and_says_so(target: Target, namespace: str) -> None:
    made = target.create(pod(namespace, "crashing", shell("exit 5"), restartPolicy="Always"))

    looping = target.wait_for(
        made,
        lambda p: waiting_reason(p) == "CrashLoopBackOff" and restarts(p) >= 1,
        within_seconds=STARTED_SECONDS,
        what="a crash loop",
    )

    assert looping["status"]["phase"] == "Running"
    waiting = status_of(looping)["state"]["waiting"]
    announced = re.search(r"back-off (?:(\d+)m)?(?:(\d+)s)? restarting failed container=main", waiting["message"])
    assert announced, waiting
    crash = status_of(looping)["lastState"]["terminated"]
    assert (crash["exitCode"], crash["reason"]) == (5, "Error")
    event = target.wait_for_event(looping, lambda e: e["reason"] == "BackOff", within_seconds=60)
    assert event["type"] == "Warning"
    assert "Back-off restarting failed container main" in event["message"]

    count = restarts(looping)
    later = target.wait_for(made, lambda p: restarts(p) > count, within_seconds=90, what="a restart after the back-off")
    ended = status_of(later).get("state", {})
    begun = (ended.get("terminated") or ended.get("running") or status_of(later)["lastState"]["terminated"])[
        "startedAt"
    ]
    promised = int(announced[1] or 0) * 60 + int(announced[2] or 0)
    assert seconds(begun) - seconds(crash["finishedAt"]) >= promised - 1.5


def test_init_containers_run_one_after_another_before_the_others(target: Target, namespace: str) -> None:
    init = [shell(f"sleep 0.3; echo {name} >> /data/order", name, volumeMounts=[MOUNT]) for name in ("first", "second")]
    main = shell("echo main >> /data/order; cat /data/order", volumeMounts=[MOUNT])
    wanted = pod(namespace, "ordered", main, initContainers=init, volumes=[DATA])

    assert output_of(target, wanted).split() == ["first", "second", "main"]

    ended = target.get("v1", "Pod", "ordered", namespace)
    first, second, last = (terminated(ended, name) for name in ("first", "second", "main"))
    assert seconds(first["finishedAt"]) <= seconds(second["startedAt"])
    assert seconds(second["finishedAt"]) <= seconds(last["startedAt"])


def test_a_pod_waits_for_its_init_containers(target: Target, namespace: str) -> None:
    made = target.create(pod(namespace, "waiting", shell("exit 0"), initContainers=[server("init")]))

    held = target.wait_for(
        made, lambda p: status_of(p, "init").get("state", {}).get("running"), within_seconds=STARTED_SECONDS
    )

    assert held["status"]["phase"] == "Pending"
    assert waiting_reason(held) == "PodInitializing"
    assert condition(held, "Initialized")["status"] == "False"
    assert "init" in condition(held, "Initialized")["message"]


def test_an_init_container_that_fails_fails_the_pod_and_nothing_else_runs(target: Target, namespace: str) -> None:
    wanted = pod(namespace, "stopped", shell("echo ran"), initContainers=[shell("exit 9", "init")])

    ended = run_to_end(target, wanted)

    assert ended["status"]["phase"] == "Failed"
    assert terminated(ended, "init")["exitCode"] == 9
    assert not terminated(ended)
    assert "startedAt" not in status_of(ended).get("state", {}).get("running", {})


def test_an_init_container_that_fails_is_tried_again_where_the_policy_says_so(target: Target, namespace: str) -> None:
    script = "test -f /data/tried || { touch /data/tried; exit 3; }"
    init = shell(script, "init", volumeMounts=[MOUNT])
    wanted = pod(
        namespace, "retried", shell("exit 0"), initContainers=[init], volumes=[DATA], restartPolicy="OnFailure"
    )

    ended = run_to_end(target, wanted)

    assert ended["status"]["phase"] == "Succeeded"
    assert restarts(ended, "init") == 1


def test_a_sidecar_is_started_before_the_program_and_ended_after_it(target: Target, namespace: str) -> None:
    probe = {"httpGet": {"path": "/up", "port": 8080}, "periodSeconds": 1, "failureThreshold": 60}
    sidecar = server("sidecar", restartPolicy="Always", startupProbe=probe)
    ask = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8080/up').status)"
    wanted = pod(namespace, "helped", python(ask), initContainers=[sidecar], terminationGracePeriodSeconds=10)

    assert output_of(target, wanted).strip() == "200"

    # a pod has succeeded when its program has: its sidecars may end after that
    helped = target.get("v1", "Pod", "helped", namespace)
    ended = target.wait_for(helped, lambda p: terminated(p, "sidecar"), within_seconds=60, what="an ended sidecar")
    assert seconds(terminated(ended, "sidecar")["finishedAt"]) >= seconds(terminated(ended)["finishedAt"])
    assert target.log(ended, container="sidecar").split() == ["serving", "stopping"]


def test_a_sidecar_that_dies_is_started_again_while_the_program_goes_on(target: Target, namespace: str) -> None:
    sidecar = server("sidecar", restartPolicy="Always", port=8081)
    running = start(target, pod(namespace, "helped", server(), initContainers=[sidecar]))

    target.ask_to_end(running, port=8081, code=1)

    again = target.wait_for(
        running,
        lambda p: restarts(p, "sidecar") == 1 and status_of(p, "sidecar")["state"].get("running"),
        within_seconds=60,
        what="a restarted sidecar",
    )
    assert restarts(again) == 0
    assert is_running(again)


def test_containers_of_a_pod_share_network_and_name(target: Target, namespace: str) -> None:
    ask = """
import socket, time, urllib.request
for attempt in range(100):
    try:
        print(urllib.request.urlopen("http://127.0.0.1:8080/who").read().decode(), socket.gethostname())
        break
    except OSError:
        time.sleep(0.1)
"""
    made = target.create(pod(namespace, "shared", server("server"), python(ask)))

    asked = target.wait_for(made, terminated, within_seconds=STARTED_SECONDS, what="an ended program")

    assert target.log(asked, container="main").split() == ["shared", "shared"]


def test_containers_of_a_pod_see_their_own_processes_and_files_only(target: Target, namespace: str) -> None:
    hide = shell("echo secret > /tmp/secret; exec sleep 3600", "other")
    look = shell("test ! -e /tmp/secret && ps -o args", "main")
    made = target.create(pod(namespace, "apart", hide, look))

    ended = target.wait_for(made, terminated, within_seconds=STARTED_SECONDS, what="an ended program")

    assert terminated(ended)["exitCode"] == 0
    assert "sleep 3600" not in target.log(ended, container="main")


def test_a_deleted_pod_is_asked_to_end_and_may_end_in_its_own_way(target: Target, namespace: str) -> None:
    running = start(target, pod(namespace, "polite", server(), terminationGracePeriodSeconds=60))

    with target.following(running, within_seconds=60) as lines:
        assert next(lines) == "serving"
        target.delete(running)
        assert "stopping" in list(lines)

    target.wait_until_gone(running, within_seconds=30)


def test_a_pod_that_will_not_end_is_killed_after_its_grace(target: Target, namespace: str) -> None:
    stubborn = shell("trap '' TERM; echo deaf; while true; do sleep 1; done")
    running = target.create(pod(namespace, "stubborn", stubborn, terminationGracePeriodSeconds=3))
    with target.following(
        target.wait_for(running, is_running, within_seconds=STARTED_SECONDS), within_seconds=30
    ) as log:
        assert next(log) == "deaf"
    since = target.again(running)["metadata"]["resourceVersion"]

    target.delete(running)
    last, asked = running, ""
    for change, item in target.events_since(since, "v1", "Pod", namespace, within_seconds=60):
        asked = asked or item["metadata"].get("deletionTimestamp", "")
        last = item
        if change == "DELETED":
            break

    assert terminated(last)["exitCode"] == 137
    assert seconds(terminated(last)["finishedAt"]) >= seconds(asked) - 1.5, "killed before its grace was over"


def test_a_deletion_without_grace_is_at_once(target: Target, namespace: str) -> None:
    running = start(target, pod(namespace, "at-once", server(), terminationGracePeriodSeconds=600))

    target.delete(running, gracePeriodSeconds=0)

    target.wait_until_gone(running, within_seconds=10)


def test_a_deleted_pod_says_that_it_is_killed(target: Target, namespace: str) -> None:
    running = start(target, pod(namespace, "killed", server()))

    target.delete(running)

    event = target.wait_for_event(running, lambda e: e["reason"] == "Killing", within_seconds=60)
    assert event["message"] == "Stopping container main"


def test_a_pod_past_its_deadline_fails(target: Target, namespace: str) -> None:
    made = target.create(pod(namespace, "late", shell("sleep 3600"), activeDeadlineSeconds=2))

    ended = target.wait_for(made, is_finished, within_seconds=STARTED_SECONDS, what="a pod that failed")

    assert (ended["status"]["phase"], ended["status"]["reason"]) == ("Failed", "DeadlineExceeded")


def test_a_program_runs_in_its_working_directory_with_its_arguments(target: Target, namespace: str) -> None:
    words = {"name": "main", "image": BUSYBOX, "command": ["sh", "-c", 'pwd; echo "$0 $1"'], "args": ["a b", "c"]}
    wanted = pod(namespace, "placed", {**words, "workingDir": "/data", "volumeMounts": [MOUNT]}, volumes=[DATA])

    assert output_of(target, wanted).splitlines() == ["/data", "a b c"]
