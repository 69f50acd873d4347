/*
 * The state page of one device: what the lab's agent writes and libnvidia-ml.so.1 reads, by mmap of one file.
 *
 * Byte order and sizes are those of the machine; fields are laid out so that no compiler pads them.
 * `bench/lab/gpu/page.py` is the same table in Python, and a test compares every offset.
 *
 * Writing is a sequence lock: `sequence` is odd while the writer is at work, and grows by two with each sample.
 * A reader copies `live` and `samples` between two reads of an equal, even `sequence`. `fixed` never changes.
 */
#ifndef BENCH_LAB_STATE_H
#define BENCH_LAB_STATE_H

#include <stdint.h>

#define STATE_MAGIC 0x53555047u /* "GPUS" */
#define STATE_VERSION 2u
#define STATE_TEXT 96
#define STATE_SAMPLES 120 /* twelve seconds at ten a second, as long as the driver keeps them */
#define STATE_INSTANCES 8

struct state_instance_fixed {
    char uuid[STATE_TEXT];
    char profile[32];
    uint64_t memory_bytes;
    uint32_t gpu_instance_id;
    uint32_t profile_id;
    uint32_t slices;
    uint32_t multiprocessors;
};

struct state_fixed {
    char uuid[STATE_TEXT];
    char name[STATE_TEXT];
    char serial[32];
    char board_part_number[32];
    char vbios_version[32];
    char inforom_version[32];
    char driver_version[32];
    char nvml_version[32];
    uint64_t memory_bytes;
    uint64_t memory_reserved_bytes;
    uint64_t bar1_bytes;
    uint32_t cuda_version;
    uint32_t brand;
    uint32_t architecture;
    uint32_t compute_major;
    uint32_t compute_minor;
    uint32_t cores;
    uint32_t multiprocessors;
    uint32_t memory_bus_bits;
    uint32_t index;
    uint32_t minor;
    uint32_t pci_domain;
    uint32_t pci_bus;
    uint32_t pci_device_id;
    uint32_t pci_subsystem_id;
    uint32_t board_id;
    uint32_t power_limit_milliwatts;
    uint32_t power_min_milliwatts;
    uint32_t power_max_milliwatts;
    uint32_t sm_max_megahertz;
    uint32_t memory_max_megahertz;
    uint32_t video_max_megahertz;
    uint32_t shutdown_celsius;
    uint32_t slowdown_celsius;
    uint32_t max_operating_celsius;
    uint32_t memory_max_celsius; /* 0: no memory sensor */
    uint32_t pcie_generation;
    uint32_t pcie_width;
    uint32_t nvlink_links;
    uint32_t nvlink_version;
    uint32_t nvlink_megabytes_per_second;
    uint32_t has_gpm;
    uint32_t mig_max_instances; /* 0: the product has no MIG */
    uint32_t mig_enabled;
    uint32_t is_instance_view; /* 1: shows one instance, and the device around it tells no use */
    uint32_t reserved;
    uint32_t instance_count;
    struct state_instance_fixed instances[STATE_INSTANCES];
};

struct state_instance_live {
    uint64_t memory_used_bytes;
    double active_seconds;
    double sm_active_seconds; /* the same times the share of multiprocessors at work */
};

struct state_live {
    uint64_t timestamp_microseconds;
    uint64_t energy_millijoules;
    uint64_t memory_used_bytes;
    uint64_t event_reasons;
    uint64_t power_violation_nanoseconds;
    uint64_t thermal_violation_nanoseconds;
    uint64_t pcie_sent_bytes;
    uint64_t pcie_received_bytes;
    uint64_t nvlink_sent_kibibytes;
    uint64_t nvlink_received_kibibytes;
    uint64_t ecc_corrected;
    uint64_t ecc_uncorrected;
    uint64_t xid_count;
    double active_seconds;
    double sm_active_seconds;
    struct state_instance_live instances[STATE_INSTANCES];
    uint32_t lost; /* 1: every call about this device answers GPU_IS_LOST */
    uint32_t utilization_percent;
    uint32_t memory_utilization_percent;
    uint32_t power_average_milliwatts;
    uint32_t power_instant_milliwatts;
    uint32_t celsius;
    uint32_t memory_celsius;
    uint32_t sm_megahertz;
    uint32_t memory_megahertz;
    uint32_t video_megahertz;
    uint32_t performance_state;
    uint32_t pcie_replays;
    uint32_t retired_pages;
    uint32_t retired_pending;
    uint32_t remapped_correctable;
    uint32_t remapped_uncorrectable;
    uint32_t remapped_pending;
    uint32_t remapped_failure;
    uint32_t last_xid;
    uint32_t sample_count; /* ever taken; the newest is at (sample_count - 1) % STATE_SAMPLES */
};

struct state_sample {
    uint64_t timestamp_microseconds;
    uint32_t power_milliwatts;
    uint32_t utilization_percent;
    uint32_t memory_utilization_percent;
    uint32_t sm_megahertz;
    uint32_t memory_megahertz;
    uint32_t reserved;
};

struct state_page {
    uint32_t magic;
    uint32_t version;
    uint32_t sequence;
    uint32_t reserved;
    struct state_fixed fixed;
    struct state_live live;
    struct state_sample samples[STATE_SAMPLES];
};

/* Of the time in which multiprocessors are at work; bench/lab/gpu/model.py has the same, and a test compares them. */
#define SM_ACTIVE_FACTOR 0.9
#define SM_OCCUPANCY_FACTOR 0.5
#define TENSOR_FACTOR 0.4
#define DRAM_FACTOR 0.35
#define FP32_FACTOR 0.3
#define FP16_FACTOR 0.1

#endif
