/* Errors of memory and what the device did about them. */
#include <string.h>

#include "library.h"

#define CORRECTED 0u
#define COUNTER_TYPES 2u
#define LOCATION_DEVICE_MEMORY 2u
#define LOCATIONS 10u

API nvmlReturn_t nvmlDeviceGetTotalEccErrors(nvmlDevice_t device, unsigned int type, unsigned int counter,
                                             unsigned long long *count)
{
    struct view view;
    nvmlReturn_t code = look_at_device(device, type < 2 && counter < COUNTER_TYPES ? count : NULL, &view);

    if (code == NVML_SUCCESS)
        *count = type == CORRECTED ? view.live.ecc_corrected : view.live.ecc_uncorrected;
    return code;
}

/* All errors are those of device memory. */
API nvmlReturn_t nvmlDeviceGetMemoryErrorCounter(nvmlDevice_t device, unsigned int type, unsigned int counter,
                                                 unsigned int location, unsigned long long *count)
{
    if (location >= LOCATIONS)
        return NVML_ERROR_INVALID_ARGUMENT;
    nvmlReturn_t code = nvmlDeviceGetTotalEccErrors(device, type, counter, count);
    if (code == NVML_SUCCESS && location != LOCATION_DEVICE_MEMORY)
        *count = 0;
    return code;
}

typedef struct {
    unsigned long long l1, l2, memory, registers;
} nvmlEccErrorCounts_t;

API nvmlReturn_t nvmlDeviceGetDetailedEccErrors(nvmlDevice_t device, unsigned int type, unsigned int counter,
                                                nvmlEccErrorCounts_t *counts)
{
    unsigned long long total;
    nvmlReturn_t code = nvmlDeviceGetTotalEccErrors(device, type, counter, counts ? &total : NULL);

    if (code == NVML_SUCCESS)
        *counts = (nvmlEccErrorCounts_t){.memory = total};
    return code;
}

/* Pages are retired up to Turing; from Ampere on rows are remapped instead. */
API nvmlReturn_t nvmlDeviceGetRetiredPages_v2(nvmlDevice_t device, unsigned int cause, unsigned int *count,
                                              unsigned long long *addresses, unsigned long long *timestamps)
{
    struct view view;
    nvmlReturn_t code = look_at_device(device, cause < 2 ? count : NULL, &view);

    if (code != NVML_SUCCESS)
        return code;
    if (view.fixed->architecture >= ARCH_AMPERE)
        return NVML_ERROR_NOT_SUPPORTED;
    unsigned int room = *count;
    *count = cause == 1 ? view.live.retired_pages : 0; /* the cause is always a double bit error */
    if (room < *count)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    for (unsigned int page = 0; page < *count && addresses; page++) {
        addresses[page] = (page + 1ull) << 16;
        if (timestamps)
            timestamps[page] = 0;
    }
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetRetiredPages(nvmlDevice_t device, unsigned int cause, unsigned int *count,
                                           unsigned long long *addresses)
{
    return nvmlDeviceGetRetiredPages_v2(device, cause, count, addresses, NULL);
}

API nvmlReturn_t nvmlDeviceGetRetiredPagesPendingStatus(nvmlDevice_t device, unsigned int *pending)
{
    struct view view;
    nvmlReturn_t code = look_at_device(device, pending, &view);

    if (code != NVML_SUCCESS)
        return code;
    if (view.fixed->architecture >= ARCH_AMPERE)
        return NVML_ERROR_NOT_SUPPORTED;
    *pending = view.live.retired_pending;
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetRemappedRows(nvmlDevice_t device, unsigned int *correctable, unsigned int *uncorrectable,
                                           unsigned int *pending, unsigned int *failure)
{
    struct view view;
    int complete = correctable && uncorrectable && pending && failure;
    nvmlReturn_t code = look_at_device(device, complete ? correctable : NULL, &view);

    if (code != NVML_SUCCESS)
        return code;
    if (view.fixed->architecture < ARCH_AMPERE)
        return NVML_ERROR_NOT_SUPPORTED;
    *correctable = view.live.remapped_correctable;
    *uncorrectable = view.live.remapped_uncorrectable;
    *pending = view.live.remapped_pending;
    *failure = view.live.remapped_failure;
    return NVML_SUCCESS;
}

typedef struct {
    unsigned int full, high, partial, low, none;
} nvmlRowRemapperHistogramValues_t;

/* Sixteen banks a gibibyte, each with all its spare rows unless rows were remapped. */
API nvmlReturn_t nvmlDeviceGetRowRemapperHistogram(nvmlDevice_t device, nvmlRowRemapperHistogramValues_t *banks)
{
    struct view view;
    nvmlReturn_t code = look_at_device(device, banks, &view);

    if (code != NVML_SUCCESS)
        return code;
    if (view.fixed->architecture < ARCH_AMPERE)
        return NVML_ERROR_NOT_SUPPORTED;
    unsigned int all = (unsigned int)(view.fixed->memory_bytes >> 26);
    unsigned int touched = view.live.remapped_correctable + view.live.remapped_uncorrectable;
    if (touched > all)
        touched = all;
    *banks = (nvmlRowRemapperHistogramValues_t){.full = all - touched, .high = touched};
    return NVML_SUCCESS;
}

typedef struct {
    unsigned int version;
    unsigned long long counts[11];
    unsigned int threshold_exceeded;
} nvmlEccSramErrorStatus_t;

API nvmlReturn_t nvmlDeviceGetSramEccErrorStatus(nvmlDevice_t device, nvmlEccSramErrorStatus_t *status)
{
    struct view view;
    nvmlReturn_t code = look_at_device(device, status, &view);

    if (code != NVML_SUCCESS)
        return code;
    if (view.fixed->architecture < ARCH_AMPERE)
        return NVML_ERROR_NOT_SUPPORTED;
    if (status->version != VERSION_OF(nvmlEccSramErrorStatus_t, 1))
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    memset(status->counts, 0, sizeof(status->counts));
    status->threshold_exceeded = 0;
    return NVML_SUCCESS;
}
