/*
 * Processes on a device. There are none to be seen: the lab's containers have a PID namespace of their own, and inside
 * one the driver cannot name the processes of its devices either.
 */
#include "library.h"

static nvmlReturn_t none(nvmlDevice_t device, unsigned int *count)
{
    struct view view;
    nvmlReturn_t code = look(device, count, &view);

    if (code == NVML_SUCCESS)
        *count = 0;
    return code;
}

#define PROCESS_LIST(name)                                                        \
    API nvmlReturn_t name(nvmlDevice_t device, unsigned int *count, void *found) \
    {                                                                             \
        (void)found;                                                              \
        return none(device, count);                                               \
    }

PROCESS_LIST(nvmlDeviceGetComputeRunningProcesses)
PROCESS_LIST(nvmlDeviceGetComputeRunningProcesses_v2)
PROCESS_LIST(nvmlDeviceGetComputeRunningProcesses_v3)
PROCESS_LIST(nvmlDeviceGetGraphicsRunningProcesses)
PROCESS_LIST(nvmlDeviceGetGraphicsRunningProcesses_v2)
PROCESS_LIST(nvmlDeviceGetGraphicsRunningProcesses_v3)
PROCESS_LIST(nvmlDeviceGetMPSComputeRunningProcesses)
PROCESS_LIST(nvmlDeviceGetMPSComputeRunningProcesses_v2)
PROCESS_LIST(nvmlDeviceGetMPSComputeRunningProcesses_v3)

typedef struct {
    unsigned int version, mode, count;
    void *details;
} nvmlProcessDetailList_t;

API nvmlReturn_t nvmlDeviceGetRunningProcessDetailList(nvmlDevice_t device, nvmlProcessDetailList_t *list)
{
    struct view view;
    nvmlReturn_t code = look(device, list, &view);

    if (code != NVML_SUCCESS)
        return code;
    if (list->version != VERSION_OF(nvmlProcessDetailList_t, 1))
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    list->count = 0;
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetProcessUtilization(nvmlDevice_t device, void *found, unsigned int *count,
                                                 unsigned long long last_seen)
{
    (void)found;
    (void)last_seen;
    struct view view;
    nvmlReturn_t code = look(device, count, &view);

    if (code != NVML_SUCCESS)
        return code;
    if (view.fixed->mig_enabled)
        return NVML_ERROR_NOT_SUPPORTED;
    *count = 0;
    return NVML_ERROR_NOT_FOUND;
}

/* Accounting is off, and off is NOT_SUPPORTED. */
static nvmlReturn_t not_accounted(nvmlDevice_t device, const void *result)
{
    struct view view;
    nvmlReturn_t code = look(device, result, &view);
    return code == NVML_SUCCESS ? NVML_ERROR_NOT_SUPPORTED : code;
}

API nvmlReturn_t nvmlDeviceGetAccountingPids(nvmlDevice_t device, unsigned int *count, unsigned int *pids)
{
    (void)pids;
    return not_accounted(device, count);
}

API nvmlReturn_t nvmlDeviceGetAccountingStats(nvmlDevice_t device, unsigned int pid, void *stats)
{
    (void)pid;
    return not_accounted(device, stats);
}
