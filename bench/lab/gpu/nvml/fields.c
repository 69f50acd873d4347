/* Values by their number, several in one call. */
#include <time.h>

#include "library.h"

typedef struct {
    uint32_t field, scope;
    int64_t timestamp, latency_microseconds;
    uint32_t type, code;
    union {
        double number;
        unsigned int uint;
        unsigned long long ulonglong;
    } value;
} nvmlFieldValue_t;

enum { TYPE_UINT = 1, TYPE_ULONGLONG = 3 };

static nvmlReturn_t put(nvmlFieldValue_t *out, unsigned int type, unsigned long long value)
{
    out->type = type;
    out->value.ulonglong = 0;
    if (type == TYPE_UINT)
        out->value.uint = (unsigned int)value;
    else
        out->value.ulonglong = value;
    return NVML_SUCCESS;
}

static nvmlReturn_t power_field(const struct view *view, nvmlFieldValue_t *out)
{
    const struct state_fixed *fixed = view->fixed;

    switch (out->field) {
    case 74:
        return put(out, TYPE_ULONGLONG, view->live.power_violation_nanoseconds);
    case 75:
        return put(out, TYPE_ULONGLONG, view->live.thermal_violation_nanoseconds);
    case 83:
    case 191:
        return put(out, TYPE_ULONGLONG, view->live.energy_millijoules);
    case 185:
        return put(out, TYPE_UINT, view->live.power_average_milliwatts);
    case 186:
        return put(out, TYPE_UINT, view->live.power_instant_milliwatts);
    case 187:
        return put(out, TYPE_UINT, fixed->power_min_milliwatts);
    case 188:
        return put(out, TYPE_UINT, fixed->power_max_milliwatts);
    case 189:
    case 190:
    case 192:
        return put(out, TYPE_UINT, fixed->power_limit_milliwatts);
    default:
        return NVML_ERROR_NOT_SUPPORTED;
    }
}

static nvmlReturn_t link_field(const struct view *view, nvmlFieldValue_t *out)
{
    if (out->field == 91)
        return put(out, TYPE_UINT, view->fixed->nvlink_links);
    if (view->fixed->nvlink_links == 0)
        return NVML_ERROR_NOT_SUPPORTED;
    switch (out->field) {
    case 38:
    case 45:
    case 52:
    case 59:
    case 160:
        return put(out, TYPE_ULONGLONG, 0);
    case 90:
    case 164:
        return put(out, TYPE_UINT, view->fixed->nvlink_megabytes_per_second);
    case 138:
    case 140:
        return put(out, TYPE_ULONGLONG, view->live.nvlink_sent_kibibytes);
    case 139:
    case 141:
        return put(out, TYPE_ULONGLONG, view->live.nvlink_received_kibibytes);
    case 165:
        return put(out, TYPE_UINT, 1);
    case 166:
        return put(out, TYPE_UINT, view->fixed->nvlink_version);
    default:
        return NVML_ERROR_NOT_SUPPORTED;
    }
}

static nvmlReturn_t error_field(const struct view *view, nvmlFieldValue_t *out)
{
    int remaps = view->fixed->architecture >= ARCH_AMPERE;

    switch (out->field) {
    case 1:
    case 2:
        return put(out, TYPE_UINT, 1);
    case 3:
    case 5:
        return put(out, TYPE_ULONGLONG, view->live.ecc_corrected);
    case 4:
    case 6:
        return put(out, TYPE_ULONGLONG, view->live.ecc_uncorrected);
    case 29:
        return remaps ? NVML_ERROR_NOT_SUPPORTED : put(out, TYPE_UINT, 0);
    case 30:
        return remaps ? NVML_ERROR_NOT_SUPPORTED : put(out, TYPE_UINT, view->live.retired_pages);
    case 31:
        return remaps ? NVML_ERROR_NOT_SUPPORTED : put(out, TYPE_UINT, view->live.retired_pending);
    default:
        return NVML_ERROR_NOT_SUPPORTED;
    }
}

static nvmlReturn_t remap_field(const struct view *view, nvmlFieldValue_t *out)
{
    const unsigned int rows[] = {view->live.remapped_correctable, view->live.remapped_uncorrectable,
                                 view->live.remapped_pending, view->live.remapped_failure};

    if (view->fixed->architecture < ARCH_AMPERE)
        return NVML_ERROR_NOT_SUPPORTED;
    return put(out, TYPE_UINT, rows[out->field - 142]);
}

static nvmlReturn_t other_field(const struct view *view, nvmlFieldValue_t *out)
{
    switch (out->field) {
    case 82:
        if (view->fixed->memory_max_celsius == 0)
            return NVML_ERROR_NOT_SUPPORTED;
        return put(out, TYPE_UINT, view->live.memory_celsius);
    case 94:
        return put(out, TYPE_UINT, view->live.pcie_replays);
    case 197:
        return put(out, TYPE_ULONGLONG, view->live.pcie_sent_bytes);
    case 198:
        return put(out, TYPE_ULONGLONG, view->live.pcie_received_bytes);
    default:
        return NVML_ERROR_NOT_SUPPORTED;
    }
}

static nvmlReturn_t read_field(const struct view *view, nvmlFieldValue_t *out)
{
    if (out->field >= 142 && out->field <= 145)
        return remap_field(view, out);
    nvmlReturn_t (*const groups[])(const struct view *, nvmlFieldValue_t *) = {power_field, link_field, error_field,
                                                                               other_field};
    for (unsigned int group = 0; group < sizeof(groups) / sizeof(groups[0]); group++)
        if (groups[group](view, out) == NVML_SUCCESS)
            return NVML_SUCCESS;
    return NVML_ERROR_NOT_SUPPORTED;
}

static int64_t now_microseconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

API nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t device, int count, nvmlFieldValue_t *values)
{
    struct view view;
    nvmlReturn_t code = look_at_device(device, count >= 0 ? values : NULL, &view);

    if (code != NVML_SUCCESS)
        return code;
    for (int number = 0; number < count; number++) {
        int64_t before = now_microseconds();
        values[number].code = read_field(&view, &values[number]);
        values[number].timestamp = now_microseconds();
        values[number].latency_microseconds = values[number].timestamp - before;
    }
    return NVML_SUCCESS;
}
