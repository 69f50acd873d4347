from typing import Any

from bench.targets.opening import find_prometheus


def service(
    name: str, *, port: int = 9090, port_name: str = "", labels: dict[str, str] | None = None, ip: str = "10.0.0.1"
) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "monitoring", "labels": labels or {}},
        "spec": {"clusterIP": ip, "ports": [{"port": port, "name": port_name}]},
    }


def test_the_label_of_the_charts_decides() -> None:
    labelled = service("kube-prom-stack", labels={"app.kubernetes.io/name": "prometheus"})

    assert find_prometheus([service("prometheus-ui"), labelled]) == ("monitoring", "kube-prom-stack", "9090")


def test_the_headless_service_of_the_operator_comes_last() -> None:
    found = find_prometheus([service("prometheus-operated", ip="None"), service("my-prometheus")])

    assert found == ("monitoring", "my-prometheus", "9090")


def test_an_exporter_of_prometheus_metrics_is_no_prometheus() -> None:
    assert find_prometheus([service("prometheus-node-exporter", port=9100)]) is None


def test_a_moved_port_is_known_by_its_name() -> None:
    assert find_prometheus([service("prometheus", port=80, port_name="http-web")]) == ("monitoring", "prometheus", "80")
