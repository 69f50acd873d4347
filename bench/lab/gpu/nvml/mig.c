/* Multi-instance GPU: the instances that the container was given. */
#include "library.h"

API nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t device, unsigned int *current, unsigned int *pending)
{
    struct view view;
    nvmlReturn_t code = look_at_device(device, current && pending ? current : NULL, &view);

    if (code != NVML_SUCCESS)
        return code;
    if (view.fixed->mig_max_instances == 0)
        return NVML_ERROR_NOT_SUPPORTED;
    *current = *pending = view.fixed->mig_enabled;
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetMaxMigDeviceCount(nvmlDevice_t device, unsigned int *count)
{
    struct view view;
    nvmlReturn_t code = look_at_device(device, count, &view);

    if (code == NVML_SUCCESS)
        *count = view.fixed->mig_max_instances; /* 0 for a product without MIG: that is no error */
    return code;
}

API nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t device, unsigned int index, nvmlDevice_t *instance)
{
    struct view view;
    nvmlReturn_t code = look_at_device(device, instance, &view);

    if (code != NVML_SUCCESS)
        return code;
    if (view.fixed->mig_max_instances == 0)
        return NVML_ERROR_NOT_SUPPORTED;
    if (index >= view.fixed->mig_max_instances)
        return NVML_ERROR_INVALID_ARGUMENT;
    for (unsigned int number = device_count(); number < handle_count(); number++) {
        nvmlDevice_t found = handle_at(number);
        if (found->parent == device && found->index == index) {
            *instance = found;
            return NVML_SUCCESS;
        }
    }
    return NVML_ERROR_NOT_FOUND;
}

API nvmlReturn_t nvmlDeviceIsMigDeviceHandle(nvmlDevice_t device, unsigned int *is_instance)
{
    struct view view;
    nvmlReturn_t code = look(device, is_instance, &view);

    if (code == NVML_SUCCESS)
        *is_instance = view.instance != NULL;
    return code;
}

API nvmlReturn_t nvmlDeviceGetGpuInstanceId(nvmlDevice_t device, unsigned int *id)
{
    struct view view;
    nvmlReturn_t code = look(device, id, &view);

    if (code != NVML_SUCCESS)
        return code;
    if (!view.instance)
        return NVML_ERROR_NOT_SUPPORTED;
    *id = view.instance->gpu_instance_id;
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetComputeInstanceId(nvmlDevice_t device, unsigned int *id)
{
    nvmlReturn_t code = nvmlDeviceGetGpuInstanceId(device, id);

    if (code == NVML_SUCCESS)
        *id = 0; /* one compute instance fills each GPU instance */
    return code;
}

API nvmlReturn_t nvmlDeviceGetDeviceHandleFromMigDeviceHandle(nvmlDevice_t instance, nvmlDevice_t *device)
{
    struct view view;
    nvmlReturn_t code = look(instance, device, &view);

    if (code != NVML_SUCCESS)
        return code;
    if (!view.instance)
        return NVML_ERROR_INVALID_ARGUMENT;
    *device = view.handle->parent;
    return NVML_SUCCESS;
}

typedef struct {
    unsigned int multiprocessors, copy_engines, decoders, encoders, jpegs, ofas, gpu_slices, compute_slices;
    unsigned long long mebibytes;
} nvmlDeviceAttributes_t;

API nvmlReturn_t nvmlDeviceGetAttributes_v2(nvmlDevice_t device, nvmlDeviceAttributes_t *attributes)
{
    struct view view;
    nvmlReturn_t code = look(device, attributes, &view);

    if (code != NVML_SUCCESS)
        return code;
    if (!view.instance)
        return NVML_ERROR_NOT_SUPPORTED;
    *attributes = (nvmlDeviceAttributes_t){
        .multiprocessors = view.instance->multiprocessors,
        .copy_engines = view.instance->slices,
        .decoders = view.instance->slices,
        .gpu_slices = view.instance->slices,
        .compute_slices = view.instance->slices,
        .mebibytes = view.instance->memory_bytes >> 20,
    };
    return NVML_SUCCESS;
}
ALIAS(nvmlDeviceGetAttributes, nvmlDeviceGetAttributes_v2);
