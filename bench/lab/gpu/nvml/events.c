/* Events: XIDs, the driver's error reports. */
#include <stdlib.h>
#include <time.h>

#include "library.h"

#define EVENT_XID 0x8ull
#define POLL_NANOSECONDS 20000000L

struct event_set {
    struct {
        nvmlDevice_t device;
        uint64_t seen;
    } watched[MAX_DEVICES];
    unsigned int count;
};
typedef struct event_set *nvmlEventSet_t;

typedef struct {
    nvmlDevice_t device;
    unsigned long long type, data;
    unsigned int gpu_instance_id, compute_instance_id;
} nvmlEventData_t;

API nvmlReturn_t nvmlEventSetCreate(nvmlEventSet_t *set)
{
    nvmlReturn_t code = require_initialized();

    if (code != NVML_SUCCESS)
        return code;
    if (!set)
        return NVML_ERROR_INVALID_ARGUMENT;
    *set = calloc(1, sizeof(**set));
    return *set ? NVML_SUCCESS : NVML_ERROR_MEMORY;
}

API nvmlReturn_t nvmlEventSetFree(nvmlEventSet_t set)
{
    if (!set)
        return NVML_ERROR_INVALID_ARGUMENT;
    free(set);
    return NVML_SUCCESS;
}

GETTER(nvmlDeviceGetSupportedEventTypes, unsigned long long, EVENT_XID)

API nvmlReturn_t nvmlDeviceRegisterEvents(nvmlDevice_t device, unsigned long long types, nvmlEventSet_t set)
{
    struct view view;
    nvmlReturn_t code = look_at_device(device, set, &view);

    if (code != NVML_SUCCESS)
        return code;
    if (types & ~EVENT_XID)
        return NVML_ERROR_NOT_SUPPORTED;
    for (unsigned int number = 0; number < set->count; number++)
        if (set->watched[number].device == device)
            return NVML_SUCCESS;
    if (types == 0 || set->count >= MAX_DEVICES)
        return types == 0 ? NVML_SUCCESS : NVML_ERROR_UNKNOWN;
    set->watched[set->count].device = device;
    set->watched[set->count++].seen = view.live.xid_count;
    return NVML_SUCCESS;
}

/* TIMEOUT: nothing has happened. */
static nvmlReturn_t poll_set(nvmlEventSet_t set, nvmlEventData_t *data)
{
    struct view view;

    for (unsigned int number = 0; number < set->count; number++) {
        nvmlReturn_t code = look_at_device(set->watched[number].device, data, &view);
        if (code != NVML_SUCCESS)
            return code;
        if (view.live.xid_count == set->watched[number].seen)
            continue;
        set->watched[number].seen = view.live.xid_count;
        *data = (nvmlEventData_t){.device = set->watched[number].device,
                                  .type = EVENT_XID,
                                  .data = view.live.last_xid,
                                  .gpu_instance_id = 0xFFFFFFFF,
                                  .compute_instance_id = 0xFFFFFFFF};
        return NVML_SUCCESS;
    }
    return NVML_ERROR_TIMEOUT;
}

API nvmlReturn_t nvmlEventSetWait_v2(nvmlEventSet_t set, nvmlEventData_t *data, unsigned int timeout_milliseconds)
{
    nvmlReturn_t code = require_initialized();

    if (code != NVML_SUCCESS)
        return code;
    if (!set || !data)
        return NVML_ERROR_INVALID_ARGUMENT;
    unsigned long polls = 1 + timeout_milliseconds * 1000000ul / POLL_NANOSECONDS;
    for (unsigned long poll = 0; poll < polls; poll++) {
        code = poll_set(set, data);
        if (code != NVML_ERROR_TIMEOUT || poll + 1 == polls)
            return code;
        nanosleep(&(struct timespec){.tv_nsec = POLL_NANOSECONDS}, NULL);
    }
    return code;
}
ALIAS(nvmlEventSetWait, nvmlEventSetWait_v2);
