/*
 * What the files of libnvidia-ml.so.1 share: the types of NVML's interface that they answer with, and the way from a
 * handle to a device's state. Names and numbers are NVML's; the declarations are made from pynvml's ctypes.
 */
#ifndef BENCH_LAB_LIBRARY_H
#define BENCH_LAB_LIBRARY_H

#include <stddef.h>
#include <stdint.h>

#include "state.h"

#define API __attribute__((visibility("default")))

typedef enum {
    NVML_SUCCESS = 0,
    NVML_ERROR_UNINITIALIZED = 1,
    NVML_ERROR_INVALID_ARGUMENT = 2,
    NVML_ERROR_NOT_SUPPORTED = 3,
    NVML_ERROR_NO_PERMISSION = 4,
    NVML_ERROR_NOT_FOUND = 6,
    NVML_ERROR_INSUFFICIENT_SIZE = 7,
    NVML_ERROR_DRIVER_NOT_LOADED = 9,
    NVML_ERROR_TIMEOUT = 10,
    NVML_ERROR_GPU_IS_LOST = 15,
    NVML_ERROR_MEMORY = 20,
    NVML_ERROR_ARGUMENT_VERSION_MISMATCH = 25,
    NVML_ERROR_UNKNOWN = 999
} nvmlReturn_t;

#define MAX_DEVICES 64
#define MAX_HANDLES (MAX_DEVICES * (1 + STATE_INSTANCES))

/* A device, or one of its MIG instances where `instance` is set. */
struct nvml_handle {
    const struct state_page *page;
    struct nvml_handle *parent;                  /* of an instance: its device */
    const struct state_instance_fixed *instance; /* NULL: a device */
    unsigned int index;                          /* among devices, or among the device's visible instances */
    unsigned int slot;                           /* of an instance: where its live values are */
};
typedef struct nvml_handle *nvmlDevice_t;

/* What a call needs to know of its device, at one moment. */
struct view {
    const struct state_fixed *fixed;
    const struct state_instance_fixed *instance;
    struct nvml_handle *handle;
    struct state_live live;
};

/* devices.c */
nvmlReturn_t require_initialized(void);
unsigned int device_count(void);
nvmlDevice_t device_at(unsigned int index);
unsigned int handle_count(void);
nvmlDevice_t handle_at(unsigned int number);
/* Of a device or an instance; NULL for `result` is INVALID_ARGUMENT. */
nvmlReturn_t look(nvmlDevice_t device, const void *result, struct view *view);
/* Of a device alone: an instance is NOT_SUPPORTED. */
nvmlReturn_t look_at_device(nvmlDevice_t device, const void *result, struct view *view);
/* The ring of samples and the state that goes with it. */
nvmlReturn_t copy_samples(const struct view *view, struct state_live *live, struct state_sample *samples);
nvmlReturn_t put_text(char *out, unsigned int length, const char *text);
void put_pci_bus_id(char *out, size_t length, const struct state_fixed *fixed);

/* What stands at a place in the interface but has no meaning for these products. */
nvmlReturn_t unsupported(void);

#define GETTER(name, type, expression)                      \
    API nvmlReturn_t name(nvmlDevice_t device, type *value) \
    {                                                       \
        struct view view;                                   \
        nvmlReturn_t code = look_at_device(device, value, &view); \
        if (code == NVML_SUCCESS)                           \
            *value = (expression);                          \
        return code;                                        \
    }

#define TEXT_GETTER(name, field)                                               \
    API nvmlReturn_t name(nvmlDevice_t device, char *text, unsigned int length) \
    {                                                                          \
        struct view view;                                                      \
        nvmlReturn_t code = look_at_device(device, text, &view);               \
        return code == NVML_SUCCESS ? put_text(text, length, view.fixed->field) : code; \
    }

#define ALIAS(name, target) API __typeof__(target) name __attribute__((alias(#target)))

#define VERSION_OF(type, version) ((unsigned int)(sizeof(type) | ((version) << 24)))

#define ARCH_AMPERE 7u

typedef struct {
    char bus_id_legacy[16];
    unsigned int domain, bus, device, pci_device_id, pci_subsystem_id;
    char bus_id[32];
} nvmlPciInfo_t;

#endif
