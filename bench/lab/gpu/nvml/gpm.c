/* GPU performance monitoring: ratios over the time between two samples, from Hopper on. */
#include <stdlib.h>

#include "library.h"

#define MOST_METRICS 512u /* more than any version of the interface numbers */

struct gpm_sample {
    uint64_t timestamp_microseconds;
    double active_seconds, sm_active_seconds;
    uint64_t pcie_sent_bytes, pcie_received_bytes, nvlink_sent_kibibytes, nvlink_received_kibibytes;
};
typedef struct gpm_sample *nvmlGpmSample_t;

typedef struct {
    unsigned int version, supported;
} nvmlGpmSupport_t;

typedef struct {
    unsigned int id, code;
    double value;
    struct {
        const char *name, *long_name, *unit;
    } info;
} nvmlGpmMetric_t;

typedef struct {
    unsigned int version, count;
    nvmlGpmSample_t first, second;
    nvmlGpmMetric_t metrics[];
} nvmlGpmMetricsGet_t;

API nvmlReturn_t nvmlGpmQueryDeviceSupport(nvmlDevice_t device, nvmlGpmSupport_t *support)
{
    struct view view;
    nvmlReturn_t code = look(device, support, &view);

    if (code != NVML_SUCCESS)
        return code;
    if (support->version != 1)
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    support->supported = view.fixed->has_gpm;
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlGpmSampleAlloc(nvmlGpmSample_t *sample)
{
    nvmlReturn_t code = require_initialized();

    if (code != NVML_SUCCESS)
        return code;
    if (!sample)
        return NVML_ERROR_INVALID_ARGUMENT;
    *sample = calloc(1, sizeof(**sample));
    return *sample ? NVML_SUCCESS : NVML_ERROR_MEMORY;
}

API nvmlReturn_t nvmlGpmSampleFree(nvmlGpmSample_t sample)
{
    if (!sample)
        return NVML_ERROR_INVALID_ARGUMENT;
    free(sample);
    return NVML_SUCCESS;
}

static void take(const struct view *view, const struct state_instance_live *instance, nvmlGpmSample_t sample)
{
    *sample = (struct gpm_sample){
        .timestamp_microseconds = view->live.timestamp_microseconds,
        .active_seconds = instance ? instance->active_seconds : view->live.active_seconds,
        .sm_active_seconds = instance ? instance->sm_active_seconds : view->live.sm_active_seconds,
        .pcie_sent_bytes = view->live.pcie_sent_bytes,
        .pcie_received_bytes = view->live.pcie_received_bytes,
        .nvlink_sent_kibibytes = view->live.nvlink_sent_kibibytes,
        .nvlink_received_kibibytes = view->live.nvlink_received_kibibytes,
    };
}

API nvmlReturn_t nvmlGpmSampleGet(nvmlDevice_t device, nvmlGpmSample_t sample)
{
    struct view view;
    nvmlReturn_t code = look(device, sample, &view);

    if (code != NVML_SUCCESS)
        return code;
    if (!view.fixed->has_gpm)
        return NVML_ERROR_NOT_SUPPORTED;
    if (!view.instance && view.fixed->is_instance_view)
        return NVML_ERROR_NO_PERMISSION;
    take(&view, view.instance ? &view.live.instances[device->slot] : NULL, sample);
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlGpmMigSampleGet(nvmlDevice_t device, unsigned int gpu_instance_id, nvmlGpmSample_t sample)
{
    struct view view;
    nvmlReturn_t code = look_at_device(device, sample, &view);

    if (code != NVML_SUCCESS)
        return code;
    if (!view.fixed->has_gpm)
        return NVML_ERROR_NOT_SUPPORTED;
    for (unsigned int number = device_count(); number < handle_count(); number++) {
        nvmlDevice_t instance = handle_at(number);
        if (instance->parent == device && instance->instance->gpu_instance_id == gpu_instance_id)
            return nvmlGpmSampleGet(instance, sample);
    }
    return NVML_ERROR_NOT_FOUND;
}

#define GRAPHICS_UTIL 1u /* busy while any kernel runs, on however few multiprocessors */

struct share {
    unsigned int id;
    double factor;
    const char *name;
};

static const struct share shares[] = {
    {2, SM_ACTIVE_FACTOR, "SM_UTIL"},  {3, SM_OCCUPANCY_FACTOR, "SM_OCCUPANCY"},
    {5, TENSOR_FACTOR, "ANY_TENSOR_UTIL"}, {7, TENSOR_FACTOR, "HMMA_TENSOR_UTIL"}, {10, DRAM_FACTOR, "DRAM_BW_UTIL"},
    {11, 0.0, "FP64_UTIL"},           {12, FP32_FACTOR, "FP32_UTIL"},    {13, FP16_FACTOR, "FP16_UTIL"},
};

static nvmlReturn_t put_metric(nvmlGpmMetric_t *metric, double value, const char *name, const char *unit)
{
    metric->value = value;
    metric->info.name = metric->info.long_name = name;
    metric->info.unit = unit;
    return NVML_SUCCESS;
}

/* At most all of it: the two clocks, of the sampler and of the stamp, differ by microseconds. */
static double percent(double active_seconds, double seconds)
{
    double found = 100.0 * active_seconds / seconds;

    return found > 100.0 ? 100.0 : found;
}

static nvmlReturn_t measure(nvmlGpmMetric_t *metric, const struct gpm_sample *first, const struct gpm_sample *second)
{
    double seconds = (double)(second->timestamp_microseconds - first->timestamp_microseconds) / 1e6;
    double sm_active = percent(second->sm_active_seconds - first->sm_active_seconds, seconds);
    const double mebibyte = 1048576.0;

    for (unsigned int number = 0; number < sizeof(shares) / sizeof(shares[0]); number++)
        if (shares[number].id == metric->id)
            return put_metric(metric, sm_active * shares[number].factor, shares[number].name, "%");
    switch (metric->id) {
    case GRAPHICS_UTIL:
        return put_metric(metric, percent(second->active_seconds - first->active_seconds, seconds), "GRAPHICS_UTIL",
                          "%");
    case 20:
        return put_metric(metric, (double)(second->pcie_sent_bytes - first->pcie_sent_bytes) / seconds / mebibyte,
                          "PCIE_TX_PER_SEC", "MiB/s");
    case 21:
        return put_metric(metric,
                          (double)(second->pcie_received_bytes - first->pcie_received_bytes) / seconds / mebibyte,
                          "PCIE_RX_PER_SEC", "MiB/s");
    case 60:
        return put_metric(metric,
                          (double)(second->nvlink_received_kibibytes - first->nvlink_received_kibibytes) / seconds / 1024,
                          "NVLINK_TOTAL_RX_PER_SEC", "MiB/s");
    case 61:
        return put_metric(metric, (double)(second->nvlink_sent_kibibytes - first->nvlink_sent_kibibytes) / seconds / 1024,
                          "NVLINK_TOTAL_TX_PER_SEC", "MiB/s");
    default:
        return NVML_ERROR_NOT_SUPPORTED;
    }
}

API nvmlReturn_t nvmlGpmMetricsGet(nvmlGpmMetricsGet_t *request)
{
    nvmlReturn_t code = require_initialized();

    if (code != NVML_SUCCESS)
        return code;
    if (!request || request->count > MOST_METRICS || !request->first || !request->second)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (request->version != 1)
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    if (request->second->timestamp_microseconds <= request->first->timestamp_microseconds)
        return NVML_ERROR_INVALID_ARGUMENT;
    for (unsigned int number = 0; number < request->count; number++)
        request->metrics[number].code = measure(&request->metrics[number], request->first, request->second);
    return NVML_SUCCESS;
}
