/* Enumeration, and what a device is. */
#include <stdio.h>
#include <string.h>

#include "library.h"

API nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int *count)
{
    nvmlReturn_t code = require_initialized();

    if (code == NVML_SUCCESS && !count)
        code = NVML_ERROR_INVALID_ARGUMENT;
    if (code == NVML_SUCCESS)
        *count = device_count();
    return code;
}
ALIAS(nvmlDeviceGetCount, nvmlDeviceGetCount_v2);

API nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *device)
{
    nvmlReturn_t code = require_initialized();

    if (code == NVML_SUCCESS && (!device || index >= device_count()))
        code = NVML_ERROR_INVALID_ARGUMENT;
    if (code == NVML_SUCCESS)
        *device = device_at(index);
    return code;
}
ALIAS(nvmlDeviceGetHandleByIndex, nvmlDeviceGetHandleByIndex_v2);

static const char *uuid_of(nvmlDevice_t device)
{
    return device->instance ? device->instance->uuid : device->page->fixed.uuid;
}

API nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *device)
{
    nvmlReturn_t code = require_initialized();

    if (code != NVML_SUCCESS)
        return code;
    if (!uuid || !device)
        return NVML_ERROR_INVALID_ARGUMENT;
    for (unsigned int number = 0; number < handle_count(); number++)
        if (strcmp(uuid_of(handle_at(number)), uuid) == 0) {
            *device = handle_at(number);
            return NVML_SUCCESS;
        }
    return NVML_ERROR_NOT_FOUND;
}

typedef struct {
    unsigned int version, type;
    union {
        char text[41];
        unsigned char bytes[16];
    } value;
} nvmlUUID_t;

API nvmlReturn_t nvmlDeviceGetHandleByUUIDV(const nvmlUUID_t *uuid, nvmlDevice_t *device)
{
    if (!uuid)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (uuid->version != VERSION_OF(nvmlUUID_t, 1))
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    return uuid->type == 1 ? nvmlDeviceGetHandleByUUID(uuid->value.text, device) : NVML_ERROR_NOT_SUPPORTED;
}

API nvmlReturn_t nvmlDeviceGetHandleBySerial(const char *serial, nvmlDevice_t *device)
{
    nvmlReturn_t code = require_initialized();

    if (code != NVML_SUCCESS)
        return code;
    if (!serial || !device)
        return NVML_ERROR_INVALID_ARGUMENT;
    for (unsigned int index = 0; index < device_count(); index++)
        if (strcmp(device_at(index)->page->fixed.serial, serial) == 0) {
            *device = device_at(index);
            return NVML_SUCCESS;
        }
    return NVML_ERROR_NOT_FOUND;
}

API nvmlReturn_t nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, nvmlDevice_t *device)
{
    unsigned int domain = 0, bus, slot, function;
    nvmlReturn_t code = require_initialized();

    if (code != NVML_SUCCESS)
        return code;
    if (!bus_id || !device)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (sscanf(bus_id, "%x:%x:%x.%x", &domain, &bus, &slot, &function) != 4) {
        domain = 0;
        if (sscanf(bus_id, "%x:%x.%x", &bus, &slot, &function) != 3)
            return NVML_ERROR_INVALID_ARGUMENT;
    }
    for (unsigned int index = 0; index < device_count(); index++) {
        const struct state_fixed *fixed = &device_at(index)->page->fixed;
        if (fixed->pci_domain == domain && fixed->pci_bus == bus && slot == 0 && function == 0) {
            *device = device_at(index);
            return NVML_SUCCESS;
        }
    }
    return NVML_ERROR_NOT_FOUND;
}
ALIAS(nvmlDeviceGetHandleByPciBusId, nvmlDeviceGetHandleByPciBusId_v2);

API nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t device, char *uuid, unsigned int length)
{
    struct view view;
    nvmlReturn_t code = look(device, uuid, &view);
    return code == NVML_SUCCESS ? put_text(uuid, length, uuid_of(device)) : code;
}

API nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t device, char *name, unsigned int length)
{
    char text[STATE_TEXT + 64];
    struct view view;
    nvmlReturn_t code = look(device, name, &view);

    if (code != NVML_SUCCESS)
        return code;
    if (!view.instance)
        return put_text(name, length, view.fixed->name);
    snprintf(text, sizeof(text), "%s MIG %s", view.fixed->name, view.instance->profile);
    return put_text(name, length, text);
}

GETTER(nvmlDeviceGetIndex, unsigned int, view.handle->index)
GETTER(nvmlDeviceGetMinorNumber, unsigned int, view.fixed->minor)
GETTER(nvmlDeviceGetModuleId, unsigned int, view.fixed->index + 1)
GETTER(nvmlDeviceGetBrand, unsigned int, view.fixed->brand)
GETTER(nvmlDeviceGetBoardId, unsigned int, view.fixed->board_id)
GETTER(nvmlDeviceGetMultiGpuBoard, unsigned int, 0)
GETTER(nvmlDeviceGetArchitecture, unsigned int, view.fixed->architecture)
GETTER(nvmlDeviceGetNumGpuCores, unsigned int, view.fixed->cores)
TEXT_GETTER(nvmlDeviceGetSerial, serial)
TEXT_GETTER(nvmlDeviceGetBoardPartNumber, board_part_number)
TEXT_GETTER(nvmlDeviceGetVbiosVersion, vbios_version)
TEXT_GETTER(nvmlDeviceGetInforomImageVersion, inforom_version)

API nvmlReturn_t nvmlDeviceGetCudaComputeCapability(nvmlDevice_t device, int *major, int *minor)
{
    struct view view;
    nvmlReturn_t code = look(device, major && minor ? major : NULL, &view);

    if (code != NVML_SUCCESS)
        return code;
    *major = (int)view.fixed->compute_major;
    *minor = (int)view.fixed->compute_minor;
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t device, nvmlPciInfo_t *pci)
{
    struct view view;
    nvmlReturn_t code = look_at_device(device, pci, &view);

    if (code != NVML_SUCCESS)
        return code;
    memset(pci, 0, sizeof(*pci));
    pci->domain = view.fixed->pci_domain;
    pci->bus = view.fixed->pci_bus;
    pci->pci_device_id = view.fixed->pci_device_id;
    pci->pci_subsystem_id = view.fixed->pci_subsystem_id;
    put_pci_bus_id(pci->bus_id, sizeof(pci->bus_id), view.fixed);
    snprintf(pci->bus_id_legacy, sizeof(pci->bus_id_legacy), "%04X:%02X:00.0", pci->domain & 0xFFFF, pci->bus & 0xFF);
    return NVML_SUCCESS;
}

typedef struct {
    unsigned int version, domain, bus, device, pci_device_id, pci_subsystem_id, base_class, sub_class;
    char bus_id[32];
} nvmlPciInfoExt_t;

API nvmlReturn_t nvmlDeviceGetPciInfoExt(nvmlDevice_t device, nvmlPciInfoExt_t *pci)
{
    struct view view;
    nvmlReturn_t code = look_at_device(device, pci, &view);

    if (code != NVML_SUCCESS)
        return code;
    if (pci->version != VERSION_OF(nvmlPciInfoExt_t, 1))
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    pci->domain = view.fixed->pci_domain;
    pci->bus = view.fixed->pci_bus;
    pci->device = 0;
    pci->pci_device_id = view.fixed->pci_device_id;
    pci->pci_subsystem_id = view.fixed->pci_subsystem_id;
    pci->base_class = 3; /* display controller, of the 3D kind */
    pci->sub_class = 2;
    put_pci_bus_id(pci->bus_id, sizeof(pci->bus_id), view.fixed);
    return NVML_SUCCESS;
}
