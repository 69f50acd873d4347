/* Power, energy, temperature and fans. */
#include "library.h"

/* Older parts and GA100 tell the moment; the others the mean of a second (nvml.h, nvmlDeviceGetPowerUsage). */
static unsigned int power_usage(const struct view *view)
{
    const struct state_fixed *fixed = view->fixed;
    int is_ga100 = fixed->compute_major == 8 && fixed->compute_minor == 0;

    if (fixed->architecture < ARCH_AMPERE || is_ga100)
        return view->live.power_instant_milliwatts;
    return view->live.power_average_milliwatts;
}

GETTER(nvmlDeviceGetPowerUsage, unsigned int, power_usage(&view))
GETTER(nvmlDeviceGetPowerManagementMode, unsigned int, 1)
GETTER(nvmlDeviceGetPowerManagementLimit, unsigned int, view.fixed->power_limit_milliwatts)
GETTER(nvmlDeviceGetPowerManagementDefaultLimit, unsigned int, view.fixed->power_limit_milliwatts)
GETTER(nvmlDeviceGetEnforcedPowerLimit, unsigned int, view.fixed->power_limit_milliwatts)
GETTER(nvmlDeviceGetTotalEnergyConsumption, unsigned long long, view.live.energy_millijoules)
GETTER(nvmlDeviceGetNumFans, unsigned int, 0)

API nvmlReturn_t nvmlDeviceGetPowerManagementLimitConstraints(nvmlDevice_t device, unsigned int *least,
                                                              unsigned int *most)
{
    struct view view;
    nvmlReturn_t code = look_at_device(device, least && most ? least : NULL, &view);

    if (code != NVML_SUCCESS)
        return code;
    *least = view.fixed->power_min_milliwatts;
    *most = view.fixed->power_max_milliwatts;
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t device, unsigned int sensor, unsigned int *celsius)
{
    struct view view;
    nvmlReturn_t code = look_at_device(device, sensor == 0 ? celsius : NULL, &view);

    if (code == NVML_SUCCESS)
        *celsius = view.live.celsius;
    return code;
}

typedef struct {
    unsigned int version, sensor;
    int celsius;
} nvmlTemperature_t;

API nvmlReturn_t nvmlDeviceGetTemperatureV(nvmlDevice_t device, nvmlTemperature_t *temperature)
{
    struct view view;
    nvmlReturn_t code = look_at_device(device, temperature, &view);

    if (code != NVML_SUCCESS)
        return code;
    if (temperature->version != VERSION_OF(nvmlTemperature_t, 1))
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    if (temperature->sensor != 0)
        return NVML_ERROR_INVALID_ARGUMENT;
    temperature->celsius = (int)view.live.celsius;
    return NVML_SUCCESS;
}

typedef struct {
    unsigned int version;
    int margin;
} nvmlMarginTemperature_t;

API nvmlReturn_t nvmlDeviceGetMarginTemperature(nvmlDevice_t device, nvmlMarginTemperature_t *margin)
{
    struct view view;
    nvmlReturn_t code = look_at_device(device, margin, &view);

    if (code != NVML_SUCCESS)
        return code;
    if (margin->version != VERSION_OF(nvmlMarginTemperature_t, 1))
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    margin->margin = (int)view.fixed->max_operating_celsius - (int)view.live.celsius;
    return NVML_SUCCESS;
}

/* In NVML's order: shutdown, slowdown, memory maximum, GPU maximum; the rest is for boards with a fan. */
API nvmlReturn_t nvmlDeviceGetTemperatureThreshold(nvmlDevice_t device, unsigned int threshold, unsigned int *celsius)
{
    struct view view;
    nvmlReturn_t code = look_at_device(device, threshold < 8 ? celsius : NULL, &view);

    if (code != NVML_SUCCESS)
        return code;
    const unsigned int known[] = {view.fixed->shutdown_celsius, view.fixed->slowdown_celsius,
                                  view.fixed->memory_max_celsius, view.fixed->max_operating_celsius};
    if (threshold >= 4 || known[threshold] == 0)
        return NVML_ERROR_NOT_SUPPORTED;
    *celsius = known[threshold];
    return NVML_SUCCESS;
}

typedef struct {
    unsigned int count;
    struct {
        int controller, least, most, current, target;
    } sensors[3];
} nvmlGpuThermalSettings_t;

API nvmlReturn_t nvmlDeviceGetThermalSettings(nvmlDevice_t device, unsigned int sensor, nvmlGpuThermalSettings_t *out)
{
    struct view view;
    nvmlReturn_t code = look_at_device(device, out, &view);

    if (code != NVML_SUCCESS)
        return code;
    if (sensor != 0 && sensor != 15) /* the first, or all: there is one */
        return NVML_ERROR_INVALID_ARGUMENT;
    out->count = 1;
    out->sensors[0].controller = 1; /* inside the GPU */
    out->sensors[0].least = 0;
    out->sensors[0].most = (int)view.fixed->slowdown_celsius;
    out->sensors[0].current = (int)view.live.celsius;
    out->sensors[0].target = 1; /* the GPU core */
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetFanSpeed(nvmlDevice_t device, unsigned int *speed)
{
    struct view view;
    nvmlReturn_t code = look_at_device(device, speed, &view);
    return code == NVML_SUCCESS ? NVML_ERROR_NOT_SUPPORTED : code; /* all products here are passive */
}

API nvmlReturn_t nvmlDeviceGetFanSpeed_v2(nvmlDevice_t device, unsigned int fan, unsigned int *speed)
{
    (void)fan;
    return nvmlDeviceGetFanSpeed(device, speed);
}
