"""What a scrape gets: Prometheus' own parser reads it, and every value is the device's at that time."""

import json
import socketserver
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bench.errors import WrongUsage
from bench.lab.config import Allocation
from bench.lab.programs.dcgm_collector import Collector, open_entities, unknown_fields
from bench.lab.programs.dcgm_counters import DEFAULT_COLLECTORS, Counter, parse_counters, read_counters
from bench.lab.programs.dcgm_exporter import Exporter, make_server, parse_settings
from tests.unit.lab.gpu.small_lab import NODE, SmallLab, container, pod
from tests.unit.lab.gpu.test_gpu_allocation import claim, claiming_pod

GPU = {"nvidia.com/gpu": "1"}
Make = Callable[..., SmallLab]


class Kubelet:
    """PodResources of one node, on a socket."""

    def __init__(self, lab: SmallLab, path: Path) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = json.dumps({"podResources": lab.devices.pod_resources(NODE)}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self._server = socketserver.ThreadingUnixStreamServer(str(path), Handler)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Scraped:
    """The exporter on a node, its devices and its scrapes."""

    def __init__(self, lab: SmallLab, tmp_path: Path, flags: Sequence[str] = ()) -> None:
        self.lab = lab
        socket = str(tmp_path / "k.sock")
        settings = parse_settings(["-k", "--pod-resources-kubelet-socket", socket, *flags], {"NODE_NAME": NODE})
        counters = read_counters(settings.collectors)
        assert unknown_fields(counters) == ()
        self.collector = Collector(counters, interval_seconds=30, entities=open_entities(settings.devices))
        self.exporter = Exporter(settings, counters, self.collector)
        self._stamp = 0
        self.collect()

    def collect(self) -> None:
        """One interval goes by: a second of the devices' time for each."""
        self._stamp += 1_000_000
        for boards in self.lab.devices._boards.values():
            for board in boards:
                board.publish(self._stamp)
        self.collector.collect()

    def series(self, name: str) -> list[tuple[dict[str, str], float]]:
        families = text_string_to_metric_families(self.exporter.metrics())
        return [
            (dict(sample.labels), sample.value)
            for family in families
            if family.name == name  # the parser gives samples of a counter the ending of the newer format
            for sample in family.samples
        ]

    def values(self, name: str) -> list[float]:
        return [value for _, value in self.series(name)]


@pytest.fixture
def scrape(tmp_path: Path, nvml_of: Callable[[Path], Any]) -> Iterator[Callable[..., Scraped]]:
    """An exporter in a pod with SYS_ADMIN that sees all devices, beside a kubelet that answers."""
    kubelets = []

    def start(lab: SmallLab, *flags: str) -> Scraped:
        everything = [{"name": "NVIDIA_VISIBLE_DEVICES", "value": "all"}]
        privileged = container(env=everything, securityContext={"capabilities": {"add": ["SYS_ADMIN"]}})
        granted = lab.devices.allocate(NODE, pod("exporter", privileged), [])["main"]
        nvml_of(lab.folder(granted, "exporter-devices"))
        kubelets.append(Kubelet(lab, tmp_path / "k.sock"))
        return Scraped(lab, tmp_path, flags)

    yield start
    for kubelet in kubelets:
        kubelet.stop()


def half_busy(lab: SmallLab, *pods: str) -> None:
    lab.run(0.1, cores=dict.fromkeys(pods, 0.0))
    lab.run(5.0, cores=dict.fromkeys(pods, 0.2), memory_bytes=100 << 20)


def test_the_official_parser_reads_every_default_counter(make_lab: Make, scrape: Callable[..., Scraped]) -> None:
    lab = make_lab(gpus_per_node=2)
    lab.give("a", GPU)
    half_busy(lab, "a")
    scraped = scrape(lab)
    scraped.collect()

    families = {family.name: family for family in text_string_to_metric_families(scraped.exporter.metrics())}

    asked = {counter.field: counter for counter in read_counters(DEFAULT_COLLECTORS) if counter.type != "label"}
    assert len(asked) == 25
    # the parser takes the ending off counters of the newer format; these have none
    assert families.keys() == asked.keys()
    for name, family in families.items():
        assert (family.type, family.documentation) == (asked[name].type, asked[name].help)
        assert len(family.samples) == 2


def test_values_and_units_are_those_of_the_device(make_lab: Make, scrape: Callable[..., Scraped]) -> None:
    lab = make_lab(gpus_per_node=1)
    lab.give("a", GPU)
    half_busy(lab, "a")
    scraped = scrape(lab)

    state = lab.devices._boards[NODE][0].state
    assert scraped.values("DCGM_FI_DEV_GPU_UTIL") == [50]
    assert scraped.values("DCGM_FI_DEV_FB_USED") == [100 * 16]
    assert scraped.values("DCGM_FI_DEV_FB_RESERVED") == [551]
    assert scraped.values("DCGM_FI_DEV_FB_FREE") == [81559 - 551 - 1600]
    assert scraped.values("DCGM_FI_DEV_POWER_USAGE") == [pytest.approx(state.average_power_watts, abs=0.001)]
    assert scraped.values("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION") == [int(state.visible_energy_joules * 1000)]
    [(labels, value)] = scraped.series("DCGM_FI_DEV_XID_ERRORS")
    assert (labels["err_code"], labels["err_msg"], value) == ("0", "No Error", 0)


def test_ratios_are_means_over_the_interval(make_lab: Make, scrape: Callable[..., Scraped]) -> None:
    lab = make_lab(gpus_per_node=1)
    lab.give("a", GPU)
    half_busy(lab, "a")
    scraped = scrape(lab)
    assert scraped.values("DCGM_FI_PROF_GR_ENGINE_ACTIVE") == []  # one sample is no interval

    lab.run(1.0, cores={"a": 0.3})
    scraped.collect()

    assert scraped.values("DCGM_FI_PROF_GR_ENGINE_ACTIVE") == [pytest.approx(0.75, abs=1e-6)]
    assert scraped.values("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE") == [pytest.approx(0.3, abs=1e-6)]
    assert scraped.values("DCGM_FI_PROF_PCIE_RX_BYTES")[0] > 1e8


def test_values_wait_for_the_interval_but_pods_are_of_the_scrape(
    make_lab: Make, scrape: Callable[..., Scraped]
) -> None:
    lab = make_lab(gpus_per_node=1)
    scraped = scrape(lab)
    [(idle, _)] = scraped.series("DCGM_FI_DEV_GPU_UTIL")
    assert {"pod", "namespace", "container"}.isdisjoint(idle)

    lab.give("a", GPU)
    half_busy(lab, "a")

    [(labels, value)] = scraped.series("DCGM_FI_DEV_GPU_UTIL")
    assert (labels["pod"], labels["namespace"], labels["container"], value) == ("pod-a", "trial", "main", 0)
    scraped.collect()
    assert scraped.values("DCGM_FI_DEV_GPU_UTIL") == [50]


def test_the_labels_of_a_device(make_lab: Make, scrape: Callable[..., Scraped]) -> None:
    lab = make_lab(gpus_per_node=2)
    scraped = scrape(lab)

    labels = [labels for labels, _ in scraped.series("DCGM_FI_DEV_GPU_TEMP")]

    assert list(labels[1]) == [
        "gpu", "UUID", "pci_bus_id", "device", "modelName", "Hostname", "DCGM_FI_DRIVER_VERSION",
    ]  # fmt: skip
    assert (labels[1]["gpu"], labels[1]["device"]) == ("1", "nvidia1")
    assert labels[1]["UUID"] == lab.devices._boards[NODE][1].gpu.uuid
    assert (labels[1]["Hostname"], labels[1]["DCGM_FI_DRIVER_VERSION"]) == (NODE, "580.95.05")


def test_of_sharers_one_is_named_or_all_with_the_whole_value(make_lab: Make, scrape: Callable[..., Scraped]) -> None:
    lab = make_lab(gpus_per_node=1, time_slices=2)
    lab.give("a", GPU)
    lab.give("b", GPU)
    half_busy(lab, "a", "b")
    scraped = scrape(lab)

    assert [labels["pod"] for labels, _ in scraped.series("DCGM_FI_DEV_GPU_UTIL")] == ["pod-b"]
    shared = Exporter(
        parse_settings(
            ["-k", "--kubernetes-virtual-gpus", "--pod-resources-kubelet-socket", str(lab.paths.root / "k.sock")], {}
        ),
        read_counters(DEFAULT_COLLECTORS),
        scraped.collector,
    )
    families = {family.name: family for family in text_string_to_metric_families(shared.metrics())}
    told = [
        (sample.labels["pod"], sample.labels["vgpu"], sample.value)
        for sample in families["DCGM_FI_DEV_GPU_UTIL"].samples
    ]
    assert told == [("pod-a", "0", 100), ("pod-b", "1", 100)]


def test_instances_have_series_of_their_own_and_no_utilisation(make_lab: Make, scrape: Callable[..., Scraped]) -> None:
    lab = make_lab(gpus_per_node=1, mig_profile="3g.40gb", gpu_cores=0.7)
    lab.give("a", {"nvidia.com/mig-3g.40gb": "1"})
    scraped = scrape(lab)
    half_busy(lab, "a")
    scraped.collect()

    used = scraped.series("DCGM_FI_DEV_FB_USED")

    assert [(labels["GPU_I_PROFILE"], labels["GPU_I_ID"], labels.get("pod")) for labels, _ in used] == [
        ("3g.40gb", "1", "pod-a"),
        ("3g.40gb", "2", None),
    ]
    assert [value for _, value in used] == [1600, 0]
    assert scraped.series("DCGM_FI_DEV_GPU_UTIL") == []
    busy, idle = scraped.values("DCGM_FI_PROF_GR_ENGINE_ACTIVE")
    assert busy > 0.5
    assert idle == 0


def test_devices_of_claims_are_attributed_when_that_is_asked_for(
    make_lab: Make, scrape: Callable[..., Scraped]
) -> None:
    lab = make_lab(gpus_per_node=2, allocation=Allocation.DRA)
    lab.devices.allocate(NODE, claiming_pod("a"), [claim("made-up", "gpu-1")])

    told = [labels for labels, _ in scrape(lab, "--kubernetes-enable-dra").series("DCGM_FI_DEV_GPU_UTIL")]

    assert "pod" not in told[0]
    assert (told[1]["pod"], told[1]["dra_claim_name"], told[1]["dra_device_name"]) == ("pod-a", "made-up", "gpu-1")


def test_without_the_kubelet_the_series_are_served_without_pods(
    make_lab: Make, scrape: Callable[..., Scraped], caplog: pytest.LogCaptureFixture
) -> None:
    lab = make_lab(gpus_per_node=1)
    lab.give("a", GPU)
    scraped = scrape(lab, "--pod-resources-kubelet-socket", str(lab.paths.root / "nowhere.sock"))

    [(labels, _)] = scraped.series("DCGM_FI_DEV_GPU_UTIL")

    assert "pod" not in labels
    assert "Failed to map devices to pods" in caplog.text


def test_it_serves_metrics_and_health_over_http(make_lab: Make, scrape: Callable[..., Scraped]) -> None:
    server = make_server(scrape(make_lab(gpus_per_node=1)).exporter, ("127.0.0.1", 0))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        with urllib.request.urlopen(f"{base}/metrics", timeout=5) as answer:
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            assert b"DCGM_FI_DEV_GPU_UTIL{" in answer.read()
        with urllib.request.urlopen(f"{base}/health", timeout=5) as answer:
            assert answer.status == 200
    finally:
        server.shutdown()
        server.server_close()


def test_the_collector_reads_again_each_interval(make_lab: Make, nvml_of: Callable[[Path], Any]) -> None:
    lab = make_lab(gpus_per_node=1)
    nvml_of(lab.folder(lab.give("a", GPU)))
    counters = tuple(parse_counters("DCGM_FI_DEV_FB_USED, gauge, x"))
    collector = Collector(counters, interval_seconds=0.05, entities=open_entities("f"))
    collector.start()
    assert collector.latest()[0].values == {"DCGM_FI_DEV_FB_USED": 0}

    lab.run(0.1, cores={"a": 0.0}, memory_bytes=1 << 20)

    deadline = time.monotonic() + 2
    while collector.latest()[0].values != {"DCGM_FI_DEV_FB_USED": 16} and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    collector.stop()
    assert collector.latest()[0].values == {"DCGM_FI_DEV_FB_USED": 16}


@pytest.mark.parametrize(
    ("environment", "arguments", "seconds"),
    [
        ({}, [], 30.0),
        ({"DCGM_EXPORTER_INTERVAL": "1000"}, [], 1.0),
        ({"DCGM_EXPORTER_COLLECT_INTERVAL": "1000"}, [], 30.0),
        ({"DCGM_EXPORTER_INTERVAL": "1000"}, ["-c", "5000"], 5.0),
    ],
)
def test_the_interval_is_thirty_seconds_unless_the_right_name_says_otherwise(
    environment: dict[str, str], arguments: list[str], seconds: float
) -> None:
    assert parse_settings(arguments, environment).interval_seconds == seconds


def test_a_collectors_file_chooses_fields_types_and_help(tmp_path: Path) -> None:
    file = tmp_path / "counters.csv"
    file.write_text("# comment\n\nDCGM_FI_DEV_GPU_UTIL , gauge, Busy\nDCGM_FI_DEV_SERIAL, label, Serial\n")

    util, serial = read_counters(str(file))

    assert util == Counter(field="DCGM_FI_DEV_GPU_UTIL", type=util.type, help="Busy")
    assert serial.type == "label"
    assert unknown_fields([util, serial]) == ()


@pytest.mark.parametrize("row", ["DCGM_FI_DEV_GPU_UTIL, gauge", "DCGM_FI_DEV_GPU_UTIL, number, Busy"])
def test_a_malformed_row_is_refused(row: str) -> None:
    with pytest.raises(WrongUsage):
        list(parse_counters(row))


def test_a_field_that_dcgm_has_not_is_found_out() -> None:
    assert unknown_fields(tuple(parse_counters("DCGM_FI_DEV_GPU_UTILS, gauge, Busy"))) == ("DCGM_FI_DEV_GPU_UTILS",)
