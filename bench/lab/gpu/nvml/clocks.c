/* Clocks, performance state, and why clocks are not higher. */
#include "library.h"

enum clock { CLOCK_GRAPHICS, CLOCK_SM, CLOCK_MEMORY, CLOCK_VIDEO, CLOCK_COUNT };

#define KNOWN_REASONS 0x1FFull
#define REASON_BITS_THERMAL 0x60u

static nvmlReturn_t pick_clock(nvmlDevice_t device, enum clock clock, unsigned int *megahertz, int maximum)
{
    struct view view;
    nvmlReturn_t code = look_at_device(device, (unsigned int)clock < CLOCK_COUNT ? megahertz : NULL, &view);

    if (code != NVML_SUCCESS)
        return code;
    if (clock == CLOCK_MEMORY)
        *megahertz = maximum ? view.fixed->memory_max_megahertz : view.live.memory_megahertz;
    else if (clock == CLOCK_VIDEO)
        *megahertz = maximum ? view.fixed->video_max_megahertz : view.live.video_megahertz;
    else
        *megahertz = maximum ? view.fixed->sm_max_megahertz : view.live.sm_megahertz;
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t device, enum clock clock, unsigned int *megahertz)
{
    return pick_clock(device, clock, megahertz, 0);
}

API nvmlReturn_t nvmlDeviceGetMaxClockInfo(nvmlDevice_t device, enum clock clock, unsigned int *megahertz)
{
    return pick_clock(device, clock, megahertz, 1);
}

/* Application clocks are left at their maximum; video has none. */
API nvmlReturn_t nvmlDeviceGetApplicationsClock(nvmlDevice_t device, enum clock clock, unsigned int *megahertz)
{
    nvmlReturn_t code = pick_clock(device, clock, megahertz, 1);
    return code == NVML_SUCCESS && clock == CLOCK_VIDEO ? NVML_ERROR_NOT_SUPPORTED : code;
}
ALIAS(nvmlDeviceGetDefaultApplicationsClock, nvmlDeviceGetApplicationsClock);

/* `which`: 0 now, 1 application target, 2 application default, 3 highest by the customer. */
API nvmlReturn_t nvmlDeviceGetClock(nvmlDevice_t device, enum clock clock, unsigned int which, unsigned int *megahertz)
{
    return pick_clock(device, clock, which < 4 ? megahertz : NULL, which != 0);
}

static nvmlReturn_t list_one(unsigned int *count, unsigned int *values, unsigned int value)
{
    unsigned int room = *count;

    *count = 1;
    if (room < 1 || !values)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    values[0] = value;
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetSupportedMemoryClocks(nvmlDevice_t device, unsigned int *count, unsigned int *megahertz)
{
    struct view view;
    nvmlReturn_t code = look_at_device(device, count, &view);
    return code == NVML_SUCCESS ? list_one(count, megahertz, view.fixed->memory_max_megahertz) : code;
}

API nvmlReturn_t nvmlDeviceGetSupportedGraphicsClocks(nvmlDevice_t device, unsigned int memory_megahertz,
                                                      unsigned int *count, unsigned int *megahertz)
{
    struct view view;
    nvmlReturn_t code = look_at_device(device, count, &view);

    if (code != NVML_SUCCESS)
        return code;
    if (memory_megahertz != view.fixed->memory_max_megahertz)
        return NVML_ERROR_NOT_FOUND;
    return list_one(count, megahertz, view.fixed->sm_max_megahertz);
}

GETTER(nvmlDeviceGetPerformanceState, unsigned int, view.live.performance_state)
GETTER(nvmlDeviceGetPowerState, unsigned int, view.live.performance_state)
GETTER(nvmlDeviceGetCurrentClocksEventReasons, unsigned long long, view.live.event_reasons)
GETTER(nvmlDeviceGetSupportedClocksEventReasons, unsigned long long, KNOWN_REASONS)
ALIAS(nvmlDeviceGetCurrentClocksThrottleReasons, nvmlDeviceGetCurrentClocksEventReasons);
ALIAS(nvmlDeviceGetSupportedClocksThrottleReasons, nvmlDeviceGetSupportedClocksEventReasons);

typedef struct {
    unsigned long long reference_microseconds, violation_nanoseconds;
} nvmlViolationTime_t;

API nvmlReturn_t nvmlDeviceGetViolationStatus(nvmlDevice_t device, unsigned int policy, nvmlViolationTime_t *violation)
{
    struct view view;
    nvmlReturn_t code = look_at_device(device, policy < 12 ? violation : NULL, &view);

    if (code != NVML_SUCCESS)
        return code;
    violation->reference_microseconds = view.live.timestamp_microseconds;
    violation->violation_nanoseconds = 0;
    if (policy == 0)
        violation->violation_nanoseconds = view.live.power_violation_nanoseconds;
    else if (policy == 1)
        violation->violation_nanoseconds = view.live.thermal_violation_nanoseconds;
    return NVML_SUCCESS;
}
