/* Which devices there are: the state pages that the container was given, and the handles made of them. */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "library.h"

#define DEFAULT_DIRECTORY "/run/nvidia-devices"
#define DIRECTORY_VARIABLE "LAB_NVML_DEVICES"
#define READ_ATTEMPTS 1000

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned int users;
static struct nvml_handle handles[MAX_HANDLES]; /* devices first, then instances */
static unsigned int devices, instances;

static const struct state_page *map_page(const char *path)
{
    struct stat status;
    const struct state_page *page = MAP_FAILED;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return NULL;
    if (fstat(fd, &status) == 0 && (size_t)status.st_size >= sizeof(*page))
        page = mmap(NULL, sizeof(*page), PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (page == MAP_FAILED)
        return NULL;
    if (page->magic == STATE_MAGIC && page->version == STATE_VERSION)
        return page;
    munmap((void *)page, sizeof(*page));
    return NULL;
}

static struct nvml_handle *device_with_uuid(const char *uuid)
{
    for (unsigned int number = 0; number < devices; number++)
        if (strcmp(handles[number].page->fixed.uuid, uuid) == 0)
            return &handles[number];
    return NULL;
}

/* The instances of a page belong to the device of that page, whichever page showed it first. */
static void add_instances(const struct state_page *page)
{
    struct nvml_handle *parent = device_with_uuid(page->fixed.uuid);
    unsigned int index = 0;

    for (unsigned int number = MAX_DEVICES; number < MAX_DEVICES + instances; number++)
        index += handles[number].parent == parent;
    for (unsigned int slot = 0; slot < page->fixed.instance_count && slot < STATE_INSTANCES; slot++) {
        if (MAX_DEVICES + instances >= MAX_HANDLES)
            return;
        handles[MAX_DEVICES + instances++] = (struct nvml_handle){
            .page = page,
            .parent = parent,
            .instance = &page->fixed.instances[slot],
            .index = index++,
            .slot = slot,
        };
    }
}

static void find_devices(void)
{
    const char *directory = getenv(DIRECTORY_VARIABLE);
    char path[4096];

    if (!directory)
        directory = DEFAULT_DIRECTORY;
    for (unsigned int number = 0; number < MAX_DEVICES; number++) {
        snprintf(path, sizeof(path), "%s/%u", directory, number);
        const struct state_page *page = map_page(path);
        if (!page)
            return;
        if (!device_with_uuid(page->fixed.uuid)) {
            handles[devices] = (struct nvml_handle){.page = page, .index = devices};
            devices++;
        }
        add_instances(page);
    }
}

/* A page may carry a device and its instances: it is unmapped once, by the last handle that has it. */
static void forget_devices(void)
{
    for (unsigned int number = 0; number < MAX_HANDLES; number++) {
        const struct state_page *page = handles[number].page;
        if (!page)
            continue;
        for (unsigned int other = number; other < MAX_HANDLES; other++)
            if (handles[other].page == page)
                handles[other].page = NULL;
        munmap((void *)page, sizeof(*page));
    }
    memset(handles, 0, sizeof(handles));
    devices = instances = 0;
}

API nvmlReturn_t nvmlInitWithFlags(unsigned int flags)
{
    nvmlReturn_t code = NVML_SUCCESS;

    (void)flags; /* "do not fail without devices", "do not attach": neither makes a difference here */
    pthread_mutex_lock(&lock);
    if (users == 0)
        find_devices();
    if (devices > 0)
        users++;
    else
        code = NVML_ERROR_DRIVER_NOT_LOADED;
    pthread_mutex_unlock(&lock);
    return code;
}

API nvmlReturn_t nvmlInit_v2(void)
{
    return nvmlInitWithFlags(0);
}
ALIAS(nvmlInit, nvmlInit_v2);

API nvmlReturn_t nvmlShutdown(void)
{
    nvmlReturn_t code = NVML_SUCCESS;

    pthread_mutex_lock(&lock);
    if (users == 0)
        code = NVML_ERROR_UNINITIALIZED;
    else if (--users == 0)
        forget_devices();
    pthread_mutex_unlock(&lock);
    return code;
}

nvmlReturn_t require_initialized(void)
{
    pthread_mutex_lock(&lock);
    nvmlReturn_t code = users > 0 ? NVML_SUCCESS : NVML_ERROR_UNINITIALIZED;
    pthread_mutex_unlock(&lock);
    return code;
}

nvmlReturn_t unsupported(void)
{
    nvmlReturn_t code = require_initialized();
    return code == NVML_SUCCESS ? NVML_ERROR_NOT_SUPPORTED : code;
}

unsigned int device_count(void)
{
    return devices;
}

nvmlDevice_t device_at(unsigned int index)
{
    return index < devices ? &handles[index] : NULL;
}

unsigned int handle_count(void)
{
    return devices + instances;
}

nvmlDevice_t handle_at(unsigned int number)
{
    return number < devices ? &handles[number] : &handles[MAX_DEVICES + number - devices];
}

static int is_handle(nvmlDevice_t device)
{
    for (unsigned int number = 0; number < handle_count(); number++)
        if (handle_at(number) == device)
            return 1;
    return 0;
}

/* The reader's half of the sequence lock that state.h describes; `samples` may be NULL. */
static nvmlReturn_t copy_state(const struct state_page *page, struct state_live *live, struct state_sample *samples)
{
    const _Atomic uint32_t *sequence = (const _Atomic uint32_t *)&page->sequence;

    for (int attempt = 0; attempt < READ_ATTEMPTS; attempt++) {
        uint32_t before = atomic_load_explicit(sequence, memory_order_acquire);
        if (before % 2 == 0) {
            memcpy(live, &page->live, sizeof(*live));
            if (samples)
                memcpy(samples, page->samples, sizeof(page->samples));
            atomic_thread_fence(memory_order_acquire);
            if (atomic_load_explicit(sequence, memory_order_relaxed) == before)
                return NVML_SUCCESS;
        }
        sched_yield();
    }
    return NVML_ERROR_UNKNOWN; /* the writer stopped in the middle */
}

nvmlReturn_t look(nvmlDevice_t device, const void *result, struct view *view)
{
    nvmlReturn_t code = require_initialized();

    if (code != NVML_SUCCESS)
        return code;
    if (!result || !is_handle(device))
        return NVML_ERROR_INVALID_ARGUMENT;
    view->handle = device;
    view->fixed = &device->page->fixed;
    view->instance = device->instance;
    code = copy_state(device->page, &view->live, NULL);
    if (code == NVML_SUCCESS && view->live.lost)
        return NVML_ERROR_GPU_IS_LOST;
    return code;
}

nvmlReturn_t look_at_device(nvmlDevice_t device, const void *result, struct view *view)
{
    nvmlReturn_t code = look(device, result, view);
    return code == NVML_SUCCESS && view->instance ? NVML_ERROR_NOT_SUPPORTED : code;
}

nvmlReturn_t copy_samples(const struct view *view, struct state_live *live, struct state_sample *samples)
{
    return copy_state(view->handle->page, live, samples);
}

nvmlReturn_t put_text(char *out, unsigned int length, const char *text)
{
    size_t needed = strlen(text) + 1;

    if (needed > length)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    memcpy(out, text, needed);
    return NVML_SUCCESS;
}

void put_pci_bus_id(char *out, size_t length, const struct state_fixed *fixed)
{
    snprintf(out, length, "%08X:%02X:00.0", fixed->pci_domain, fixed->pci_bus);
}
