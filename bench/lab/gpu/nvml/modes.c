/* What is switched on. */
#include "library.h"

GETTER(nvmlDeviceGetComputeMode, unsigned int, 0)
GETTER(nvmlDeviceGetPersistenceMode, unsigned int, 1)
GETTER(nvmlDeviceGetAccountingMode, unsigned int, 0)
GETTER(nvmlDeviceGetDisplayMode, unsigned int, 0)
GETTER(nvmlDeviceGetDisplayActive, unsigned int, 0)
GETTER(nvmlDeviceGetVirtualizationMode, unsigned int, 0)
GETTER(nvmlDeviceGetAccountingBufferSize, unsigned int, 4000)

static nvmlReturn_t two_modes(nvmlDevice_t device, unsigned int *first, unsigned int *second, unsigned int value)
{
    struct view view;
    nvmlReturn_t code = look_at_device(device, first && second ? first : NULL, &view);

    if (code == NVML_SUCCESS)
        *first = *second = value;
    return code;
}

API nvmlReturn_t nvmlDeviceGetEccMode(nvmlDevice_t device, unsigned int *current, unsigned int *pending)
{
    return two_modes(device, current, pending, 1);
}

API nvmlReturn_t nvmlDeviceGetGspFirmwareMode(nvmlDevice_t device, unsigned int *enabled, unsigned int *by_default)
{
    return two_modes(device, enabled, by_default, 1);
}

/* Boards for servers have no automatic boost; the driver says so rather than "disabled". */
API nvmlReturn_t nvmlDeviceGetAutoBoostedClocksEnabled(nvmlDevice_t device, unsigned int *on, unsigned int *by_default)
{
    struct view view;
    nvmlReturn_t code = look_at_device(device, on && by_default ? on : NULL, &view);
    return code == NVML_SUCCESS ? NVML_ERROR_NOT_SUPPORTED : code;
}
