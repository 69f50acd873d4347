/* How much memory there is and how much of it is used. */
#include "library.h"

typedef struct {
    unsigned long long total, free, used;
} nvmlMemory_t;

typedef struct {
    unsigned int version;
    unsigned long long total, reserved, free, used;
} nvmlMemory_v2_t;

/* An instance has memory of its own; the driver keeps its reserve on the device. */
static nvmlReturn_t read_memory(nvmlDevice_t device, const void *result, nvmlMemory_v2_t *memory)
{
    struct view view;
    nvmlReturn_t code = look(device, result, &view);

    if (code != NVML_SUCCESS)
        return code;
    if (view.instance) {
        memory->total = view.instance->memory_bytes;
        memory->reserved = 0;
        memory->used = view.live.instances[device->slot].memory_used_bytes;
    } else if (view.fixed->is_instance_view) {
        return NVML_ERROR_NO_PERMISSION;
    } else {
        memory->total = view.fixed->memory_bytes;
        memory->reserved = view.fixed->memory_reserved_bytes;
        memory->used = view.live.memory_used_bytes;
    }
    memory->free = memory->total - memory->reserved - memory->used;
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *memory)
{
    nvmlMemory_v2_t found;
    nvmlReturn_t code = read_memory(device, memory, &found);

    if (code != NVML_SUCCESS)
        return code;
    memory->total = found.total;
    memory->free = found.free;
    memory->used = found.used + found.reserved; /* the first version knows no reserve */
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, nvmlMemory_v2_t *memory)
{
    nvmlMemory_v2_t found;
    nvmlReturn_t code = read_memory(device, memory, &found);

    if (code != NVML_SUCCESS)
        return code;
    if (memory->version != VERSION_OF(nvmlMemory_v2_t, 2))
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    found.version = memory->version;
    *memory = found;
    return NVML_SUCCESS;
}

/* An instance has an eighth of the window for each of its slices. */
API nvmlReturn_t nvmlDeviceGetBAR1MemoryInfo(nvmlDevice_t device, nvmlMemory_t *memory)
{
    struct view view;
    nvmlReturn_t code = look(device, memory, &view);

    if (code != NVML_SUCCESS)
        return code;
    memory->total = view.instance ? view.fixed->bar1_bytes / 8 * view.instance->slices : view.fixed->bar1_bytes;
    memory->used = 1u << 20; /* the driver's own window */
    memory->free = memory->total - memory->used;
    return NVML_SUCCESS;
}

GETTER(nvmlDeviceGetMemoryBusWidth, unsigned int, view.fixed->memory_bus_bits)
