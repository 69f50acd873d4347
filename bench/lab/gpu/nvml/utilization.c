/* How busy a device is, now and in the samples that the driver keeps. */
#include "library.h"

#define WINDOW_MICROSECONDS 1000000u

typedef struct {
    unsigned int gpu, memory;
} nvmlUtilization_t;

API nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *utilization)
{
    struct view view;
    nvmlReturn_t code = look_at_device(device, utilization, &view);

    if (code != NVML_SUCCESS)
        return code;
    if (view.fixed->mig_enabled)
        return NVML_ERROR_NOT_SUPPORTED;
    utilization->gpu = view.live.utilization_percent;
    utilization->memory = view.live.memory_utilization_percent;
    return NVML_SUCCESS;
}

/* No program of the lab encodes or decodes video: these engines are there and rest. */
static nvmlReturn_t resting_engine(nvmlDevice_t device, unsigned int *utilization, unsigned int *period)
{
    struct view view;
    nvmlReturn_t code = look_at_device(device, utilization && period ? utilization : NULL, &view);

    if (code != NVML_SUCCESS)
        return code;
    if (view.fixed->mig_enabled)
        return NVML_ERROR_NOT_SUPPORTED;
    *utilization = 0;
    *period = WINDOW_MICROSECONDS / 6;
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetEncoderUtilization(nvmlDevice_t device, unsigned int *utilization, unsigned int *period)
{
    return resting_engine(device, utilization, period);
}

API nvmlReturn_t nvmlDeviceGetDecoderUtilization(nvmlDevice_t device, unsigned int *utilization, unsigned int *period)
{
    return resting_engine(device, utilization, period);
}

enum sampling { SAMPLING_POWER, SAMPLING_GPU, SAMPLING_MEMORY, SAMPLING_ENCODER, SAMPLING_DECODER, SAMPLING_SM_CLOCK,
                SAMPLING_MEMORY_CLOCK, SAMPLING_MODULE_POWER, SAMPLING_COUNT };

typedef struct {
    unsigned long long timestamp;
    union {
        double number;
        unsigned int uint;
        unsigned long long ulonglong;
    } value;
} nvmlSample_t;

static unsigned int sampled(const struct state_sample *sample, enum sampling type)
{
    switch (type) {
    case SAMPLING_POWER:
        return sample->power_milliwatts;
    case SAMPLING_GPU:
        return sample->utilization_percent;
    case SAMPLING_MEMORY:
        return sample->memory_utilization_percent;
    case SAMPLING_SM_CLOCK:
        return sample->sm_megahertz;
    case SAMPLING_MEMORY_CLOCK:
        return sample->memory_megahertz;
    default:
        return 0;
    }
}

/* Oldest first, those after `last_seen`; as many as the caller has room for. */
static unsigned int fill_samples(const struct view *view, enum sampling type, unsigned long long last_seen,
                                 unsigned int room, nvmlSample_t *out)
{
    static _Thread_local struct state_sample ring[STATE_SAMPLES];
    struct state_live live;
    unsigned int filled = 0;

    if (copy_samples(view, &live, ring) != NVML_SUCCESS)
        return 0;
    uint32_t kept = live.sample_count < STATE_SAMPLES ? live.sample_count : STATE_SAMPLES;
    for (uint32_t number = live.sample_count - kept; number != live.sample_count && filled < room; number++) {
        const struct state_sample *sample = &ring[number % STATE_SAMPLES];
        if (sample->timestamp_microseconds <= last_seen)
            continue;
        out[filled].timestamp = sample->timestamp_microseconds;
        out[filled].value.ulonglong = 0;
        out[filled++].value.uint = sampled(sample, type);
    }
    return filled;
}

API nvmlReturn_t nvmlDeviceGetSamples(nvmlDevice_t device, enum sampling type, unsigned long long last_seen,
                                      unsigned int *value_type, unsigned int *count, nvmlSample_t *samples)
{
    struct view view;
    nvmlReturn_t code = look_at_device(device, value_type && count ? count : NULL, &view);

    if (code != NVML_SUCCESS)
        return code;
    if ((unsigned int)type >= SAMPLING_COUNT)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (view.fixed->mig_enabled || type == SAMPLING_MODULE_POWER)
        return NVML_ERROR_NOT_SUPPORTED;
    *value_type = 1; /* unsigned int */
    if (!samples) {
        *count = STATE_SAMPLES;
        return NVML_SUCCESS;
    }
    *count = fill_samples(&view, type, last_seen, *count, samples);
    return *count > 0 ? NVML_SUCCESS : NVML_ERROR_NOT_FOUND;
}
