"""The faults that a lab knows; what each needs beyond being told is in `planters`."""

from typing import Final

from bench.errors import WrongUsage
from bench.lab.faults.declaration import Argument, Fault, Kind
from bench.lab.faults.stages import STAGES

_AUTOSCALING: Final = "pod-autoscaling"
_METRICS: Final = "accelerator-metrics"

_ISOLATION: Final = "secure-accelerator-access"

_DEVICE: Final = Argument(name="device", default="", help="index or uuid; all devices without it")
_LONGEST_SECONDS: Final = 25.0
"""The API server waits at most 30 s for a webhook."""


def _field(default: str) -> Argument:
    return Argument(name="field", default=default, help="DCGM's name of the metric; empty: all of them")


_OF_ISOLATION: Final = (
    Fault(
        name="device-leaked",
        does="Pods that asked for no device and are started from now on see all devices of their node.",
        must_fail=((_ISOLATION, "seen_without_request_total"), (_ISOLATION, "nbody_results_without_request_total")),
    ),
    Fault(
        name="visible-devices-honoured",
        does="The container runtime gives any pod the devices that its variable NVIDIA_VISIBLE_DEVICES names.",
        must_fail=((_ISOLATION, "devices_seen_by_bypass_total"),),
    ),
    Fault(
        name="foreign-device-opens",
        does="A pod that holds a device can open the device files of those that other pods of its node hold.",
        must_fail=((_ISOLATION, "foreign_devices_reached_total"),),
    ),
    Fault(
        name="second-container-leak",
        does="All containers of a pod see the devices that one of them asked for.",
        must_fail=((_ISOLATION, "seen_by_second_container_total"),),
    ),
    Fault(
        name="claim-ignored",
        does="A pod gets another device than the one that its claim was allocated.",
        must_fail=((_ISOLATION, "seen_other_than_allocated_total"),),
    ),
    Fault(
        name="memory-not-scrubbed",
        does="The driver hands out device memory as its last owner left it.",
        must_fail=((_ISOLATION, "marks_of_earlier_owners_total"),),
    ),
    Fault(
        name="neighbours-slow",
        does="The devices of a node have the speed of one between them: each slows the others.",
        must_fail=((_ISOLATION, "slowdown_at_least_ratio"),),
    ),
    Fault(
        name="pod-security-off",
        does="A policy sets the Pod Security level of every new namespace to privileged, whatever was asked for.",
        must_fail=((_ISOLATION, "host_path_devices_admitted_total"),),
    ),
)

_OF_AUTOSCALING: Final = (
    Fault(
        name="adapter-down",
        does="No metrics adapter runs: the metrics API answers 503, and the autoscaler is given nothing.",
        must_fail=((_AUTOSCALING, "replicas_short_of_predicted_total"),),
    ),
    Fault(
        name="series-dropped",
        does="Prometheus drops the samples of a metric as it scrapes the exporter, which still shows them.",
        arguments=(_field("DCGM_FI_DEV_GPU_UTIL"), _DEVICE),
        must_fail=((_AUTOSCALING, "replicas_short_of_predicted_total"), (_METRICS, "coverage_ratio")),
    ),
    Fault(
        name="scraped-twice",
        does="Prometheus scrapes the exporters by a second job as well: every series is there under two names of jobs.",
        must_fail=((_AUTOSCALING, "metrics_api_to_device_ratio"), (_METRICS, "duplicates_total")),
    ),
    Fault(
        name="exporter-slow",
        does="The exporter collects less often than its configuration says, which stays as it is.",
        arguments=(
            Argument(
                name="factor",
                kind=Kind.NUMBER,
                default=10.0,
                help="how many configured intervals pass until it collects again",
            ),
        ),
        must_fail=((_AUTOSCALING, "collect_interval_measured_to_configured_ratio"),),
    ),
    Fault(
        name="ready-without-serving",
        does="Containers that are started from now on are told as Ready at once, while their program never runs.",
        arguments=(Argument(name="image", default="*ollama*", help="which images, with * and ?"),),
        must_fail=((_AUTOSCALING, "ready_pods_that_never_answered_total"),),
    ),
    Fault(
        name="two-pods-one-device",
        does="A pod that is admitted from now on gets a device that another pod of its node holds, if there is one.",
        must_fail=((_AUTOSCALING, "pods_that_share_a_device_total"), (_ISOLATION, "holders_beyond_shares_total")),
    ),
    Fault(
        name="device-hidden",
        does="Containers that are started from now on see none of the devices that their pod was given.",
        must_fail=((_AUTOSCALING, "pods_without_a_device_total"), (_ISOLATION, "holder_sees_other_than_one_total")),
    ),
    Fault(
        name="gateway-cut-off",
        does="The Gateway hears no more from the API server: it serves what it knew, and learns of no new endpoint.",
        must_fail=((_AUTOSCALING, "ready_pods_that_never_answered_total"),),
    ),
    Fault(
        name="slow-stage",
        does="One stage between load and relief takes so much longer.",
        arguments=(
            Argument(name="stage", choices=STAGES, help=f"one of {', '.join(STAGES)}"),
            Argument(name="seconds", kind=Kind.NUMBER, help="how much longer", at_most=_LONGEST_SECONDS),
        ),
        must_fail=((_AUTOSCALING, "stage_beyond_its_worst_seconds"),),
    ),
)
_OF_METRICS: Final = (
    Fault(
        name="series-frozen",
        does="The exporter shows for ever what it showed first after this.",
        arguments=(_field(""), _DEVICE),
        must_fail=((_METRICS, "frozen_seconds"),),
    ),
    Fault(
        name="delayed-series",
        does="The exporter shows what it read so much earlier.",
        arguments=(
            Argument(name="seconds", kind=Kind.NUMBER, default=10.0, help="how much earlier"),
            _field(""),
            _DEVICE,
        ),
        must_fail=((_METRICS, "sample_age_excess_seconds"),),
    ),
    Fault(
        name="wrong-unit",
        does="The exporter shows a metric times a factor: 1000 makes milliwatts of watts, 0.01 a ratio of percents.",
        arguments=(
            Argument(name="factor", kind=Kind.NUMBER, default=1000.0, help="what values are multiplied by"),
            _field("DCGM_FI_DEV_POWER_USAGE"),
            _DEVICE,
        ),
        must_fail=((_METRICS, "unit_factor_ratio"),),
    ),
    Fault(
        name="sm-active-is-utilization",
        does="The exporter shows utilisation under the name of DCGM_FI_PROF_SM_ACTIVE, where it shows that.",
        arguments=(_DEVICE,),
        must_fail=((_METRICS, "partial_kernels_hidden_total"),),
    ),
    Fault(
        name="sentinel-leaked",
        does="The exporter shows DCGM's mark for a value that is not supported as if it were the value.",
        arguments=(_field("DCGM_FI_DEV_FB_USED"), _DEVICE),
        must_fail=((_METRICS, "sentinels_total"),),
    ),
    Fault(
        name="counter-reset",
        does="The exporter's counter begins anew at 0.",
        arguments=(_field("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"), _DEVICE),
        must_fail=((_METRICS, "counter_resets_total"),),
    ),
    Fault(
        name="wrong-pod",
        does="The exporter names another pod at a device than the one that holds it.",
        arguments=(_DEVICE,),
        must_fail=((_METRICS, "wrong_pods_total"),),
    ),
    Fault(
        name="missing-pod-label",
        does="The exporter names no pod at a device that one holds.",
        arguments=(_DEVICE,),
        must_fail=((_METRICS, "missing_labels_total"),),
    ),
    Fault(
        name="duplicated-series",
        does="The exporter shows a device twice, the second time with the name of a pod that does not hold it.",
        arguments=(_DEVICE,),
        must_fail=((_METRICS, "duplicates_total"),),
    ),
    Fault(
        name="shares-copied",
        does="The exporter tells each pod that shares a device all that the device does, as if it did it alone.",
        must_fail=((_METRICS, "shares_wrong_total"),),
    ),
    Fault(
        name="ghost-pod",
        does="The kubelet still lists pods with their devices that ended since, so that the exporter names them.",
        must_fail=((_METRICS, "ghosts_total"),),
    ),
)
_OF_DEVICES: Final = (
    Fault(
        name="xid",
        does="The driver reports an XID of the device, once.",
        arguments=(Argument(name="code", kind=Kind.WHOLE, default=13, help="which"), _DEVICE),
    ),
    Fault(
        name="ecc",
        does="The device counts uncorrectable errors of its memory, and the driver reports XID 48.",
        arguments=(Argument(name="count", kind=Kind.WHOLE, default=1, help="how many more"), _DEVICE),
    ),
    Fault(
        name="lost-device",
        does="The device has fallen off the bus: NVML says that it is lost, and the driver reports XID 79.",
        arguments=(_DEVICE,),
    ),
    Fault(
        name="hot",
        does="The device is so hot that its clocks fall.",
        arguments=(Argument(name="celsius", kind=Kind.NUMBER, default=95.0, help="how hot"), _DEVICE),
    ),
    Fault(
        name="energy-falls",
        does="The device's energy counter falls back to 0 each time it comes to an amount.",
        arguments=(Argument(name="joules", kind=Kind.NUMBER, default=100.0, help="the amount"), _DEVICE),
    ),
)
_OF_PARTS: Final = (
    Fault(
        name="part-restarted",
        does="A part of the lab ends, once, and is away until what keeps it running has started it again.",
        arguments=(Argument(name="part", choices=("kube-apiserver", "prometheus"), help="which"),),
    ),
)
CATALOGUE: Final = (*_OF_AUTOSCALING, *_OF_ISOLATION, *_OF_METRICS, *_OF_DEVICES, *_OF_PARTS)


def get(name: str) -> Fault:
    """The fault of this name; `WrongUsage` that names the way to see those that exist."""
    for fault in CATALOGUE:
        if fault.name == name:
            return fault
    raise WrongUsage(f"There is no fault {name!r}: `bench lab fault list` shows those that exist.")
