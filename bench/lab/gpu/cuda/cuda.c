/*
 * libcuda.so.1 of a lab: the driver's calls about devices and their memory, with the numbers of CUDA's interface.
 *
 * There are no kernels, and neither cuDriverGetVersion nor cuGetProcAddress: a runtime that would launch some finds
 * that this driver will not do, and computes on the CPU as without a device.
 *
 * Memory is cleared when it is handed out, as a driver does before another process may see it.
 */
#define _GNU_SOURCE /* OFD locks, and fallocate's way to clear */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "memory.h"
#include "state.h"

#define API __attribute__((visibility("default")))
#define DEFAULT_DIRECTORY "/run/nvidia-devices"
#define DIRECTORY_VARIABLE "LAB_NVML_DEVICES"
#define MAX_DEVICES 64
#define MAX_BLOCKS 256
#define FIRST_ADDRESS 0x7f0000000000ull
#define DEVICE_ADDRESSES (1ull << 36)

typedef enum {
    CUDA_SUCCESS = 0,
    CUDA_ERROR_INVALID_VALUE = 1,
    CUDA_ERROR_OUT_OF_MEMORY = 2,
    CUDA_ERROR_NOT_INITIALIZED = 3,
    CUDA_ERROR_NO_DEVICE = 100,
    CUDA_ERROR_INVALID_DEVICE = 101,
    CUDA_ERROR_INVALID_CONTEXT = 201
} CUresult;

typedef int CUdevice;
typedef struct device *CUcontext;
typedef unsigned long long CUdeviceptr;
typedef struct {
    unsigned char bytes[16];
} CUuuid;

struct block {
    uint64_t start, bytes; /* within the device's memory; no bytes: free to be used for another block */
};

struct device {
    char uuid[STATE_TEXT], name[STATE_TEXT];
    int memory; /* the descriptor that holds the locks; -1: a device without memory */
    struct block blocks[MAX_BLOCKS];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct device devices[MAX_DEVICES];
static int count, is_initialized;
static __thread CUcontext current;

/* A page that shows one MIG instance is that instance, as for the driver. */
static int read_identity(const char *path, struct device *device)
{
    const struct state_page *page = MAP_FAILED;
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int is_page = 0;

    if (fd < 0)
        return 0;
    if (fstat(fd, &status) == 0 && (size_t)status.st_size >= sizeof(*page))
        page = mmap(NULL, sizeof(*page), PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (page == MAP_FAILED)
        return 0;
    if (page->magic == STATE_MAGIC && page->version == STATE_VERSION) {
        int is_instance = page->fixed.is_instance_view && page->fixed.instance_count > 0;
        memcpy(device->uuid, is_instance ? page->fixed.instances[0].uuid : page->fixed.uuid, STATE_TEXT);
        memcpy(device->name, page->fixed.name, STATE_TEXT);
        is_page = 1;
    }
    munmap((void *)page, sizeof(*page));
    return is_page;
}

static void find_devices(void)
{
    const char *directory = getenv(DIRECTORY_VARIABLE);
    char path[4096];

    if (!directory)
        directory = DEFAULT_DIRECTORY;
    for (count = 0; count < MAX_DEVICES; count++) {
        struct device *device = &devices[count];
        snprintf(path, sizeof(path), "%s/%d", directory, count);
        if (!read_identity(path, device))
            return;
        snprintf(path, sizeof(path), "%s/%d.memory", directory, count);
        device->memory = open(path, O_RDWR | O_CLOEXEC);
    }
}

API CUresult cuInit(unsigned int flags)
{
    if (flags != 0)
        return CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&lock);
    if (!is_initialized)
        find_devices();
    is_initialized = count > 0;
    pthread_mutex_unlock(&lock);
    return is_initialized ? CUDA_SUCCESS : CUDA_ERROR_NO_DEVICE;
}

API CUresult cuGetErrorName(CUresult error, const char **name)
{
    static const struct {
        CUresult error;
        const char *name;
    } names[] = {
        {CUDA_SUCCESS, "CUDA_SUCCESS"},
        {CUDA_ERROR_INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE"},
        {CUDA_ERROR_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY"},
        {CUDA_ERROR_NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED"},
        {CUDA_ERROR_NO_DEVICE, "CUDA_ERROR_NO_DEVICE"},
        {CUDA_ERROR_INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE"},
        {CUDA_ERROR_INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT"},
    };

    for (size_t number = 0; name && number < sizeof(names) / sizeof(names[0]); number++)
        if (names[number].error == error) {
            *name = names[number].name;
            return CUDA_SUCCESS;
        }
    return CUDA_ERROR_INVALID_VALUE;
}

API CUresult cuDeviceGetCount(int *result)
{
    if (!is_initialized)
        return CUDA_ERROR_NOT_INITIALIZED;
    if (!result)
        return CUDA_ERROR_INVALID_VALUE;
    *result = count;
    return CUDA_SUCCESS;
}

API CUresult cuDeviceGet(CUdevice *device, int ordinal)
{
    if (!is_initialized)
        return CUDA_ERROR_NOT_INITIALIZED;
    if (!device)
        return CUDA_ERROR_INVALID_VALUE;
    if (ordinal < 0 || ordinal >= count)
        return CUDA_ERROR_INVALID_DEVICE;
    *device = ordinal;
    return CUDA_SUCCESS;
}

static struct device *find_device(CUdevice device)
{
    return is_initialized && device >= 0 && device < count ? &devices[device] : NULL;
}

API CUresult cuDeviceGetName(char *name, int length, CUdevice device)
{
    struct device *found = find_device(device);

    if (!found)
        return CUDA_ERROR_INVALID_DEVICE;
    if (!name || length <= 0)
        return CUDA_ERROR_INVALID_VALUE;
    snprintf(name, (size_t)length, "%s", found->name);
    return CUDA_SUCCESS;
}

/* The sixteen bytes of GPU-… or MIG-…. */
API CUresult cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice device)
{
    struct device *found = find_device(device);
    int place = 0;

    if (!found)
        return CUDA_ERROR_INVALID_DEVICE;
    if (!uuid)
        return CUDA_ERROR_INVALID_VALUE;
    for (const char *text = found->uuid + strlen("GPU-"); text[0] && place < 16; text++) {
        unsigned int byte;
        if (text[0] == '-')
            continue;
        if (sscanf(text, "%2x", &byte) != 1)
            break;
        uuid->bytes[place++] = (unsigned char)byte;
        text++;
    }
    return place == 16 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

API CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device)
{
    struct device *found = find_device(device);

    if (!found)
        return CUDA_ERROR_INVALID_DEVICE;
    if (!context)
        return CUDA_ERROR_INVALID_VALUE;
    *context = found;
    return CUDA_SUCCESS;
}

API CUresult cuCtxSetCurrent(CUcontext context)
{
    current = context;
    return CUDA_SUCCESS;
}

/* The locks are of an open file, not of a process: those of the descriptor itself never stand in its way. */
static int set_lock(int fd, short type, uint64_t start, uint64_t bytes)
{
    struct flock wanted = {
        .l_type = type,
        .l_whence = SEEK_SET,
        .l_start = (off_t)(MEMORY_OFFSET + start),
        .l_len = (off_t)bytes,
    };

    return fcntl(fd, F_OFD_SETLK, &wanted) == 0;
}

static int is_ours(const struct device *device, uint64_t start, uint64_t bytes)
{
    for (int number = 0; number < MAX_BLOCKS; number++) {
        const struct block *block = &device->blocks[number];
        if (block->bytes && start < block->start + block->bytes && block->start < start + bytes)
            return 1;
    }
    return 0;
}

static struct block *unused_block(struct device *device)
{
    for (int number = 0; number < MAX_BLOCKS; number++)
        if (device->blocks[number].bytes == 0)
            return &device->blocks[number];
    return NULL;
}

/* A hole reads as zeros; where a file system has none, zeros are written. */
static int clear(int fd, uint64_t start, uint64_t bytes)
{
    static const char zeros[MEMORY_GRANULE];
    off_t at = (off_t)(MEMORY_OFFSET + start);

    if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, (off_t)bytes) == 0)
        return 1;
    for (uint64_t done = 0; done < bytes; done += sizeof(zeros))
        if (pwrite(fd, zeros, sizeof(zeros), at + (off_t)done) != sizeof(zeros))
            return 0;
    return 1;
}

/* The first free place that is large enough: of what an owner gave back, the next one gets the same. */
static CUresult allocate(struct device *device, uint64_t bytes, uint64_t *start)
{
    struct memory_header header;
    struct block *block = unused_block(device);

    if (pread(device->memory, &header, sizeof(header), 0) != sizeof(header) || header.magic != MEMORY_MAGIC)
        return CUDA_ERROR_OUT_OF_MEMORY;
    for (uint64_t at = 0; block && at + bytes <= header.bytes; at += MEMORY_GRANULE) {
        if (is_ours(device, at, bytes) || !set_lock(device->memory, F_WRLCK, at, bytes))
            continue;
        if (header.is_scrubbed && !clear(device->memory, at, bytes)) {
            set_lock(device->memory, F_UNLCK, at, bytes);
            return CUDA_ERROR_OUT_OF_MEMORY;
        }
        *block = (struct block){.start = at, .bytes = bytes};
        *start = at;
        return CUDA_SUCCESS;
    }
    return CUDA_ERROR_OUT_OF_MEMORY;
}

API CUresult cuMemAlloc_v2(CUdeviceptr *address, size_t bytes)
{
    CUresult result;
    uint64_t start = 0, rounded;

    if (!current)
        return CUDA_ERROR_INVALID_CONTEXT;
    if (!address || bytes == 0 || bytes > DEVICE_ADDRESSES)
        return CUDA_ERROR_INVALID_VALUE;
    rounded = ((uint64_t)bytes + MEMORY_GRANULE - 1) / MEMORY_GRANULE * MEMORY_GRANULE;
    pthread_mutex_lock(&lock);
    result = current->memory < 0 ? CUDA_ERROR_OUT_OF_MEMORY : allocate(current, rounded, &start);
    pthread_mutex_unlock(&lock);
    if (result == CUDA_SUCCESS)
        *address = FIRST_ADDRESS + (uint64_t)(current - devices) * DEVICE_ADDRESSES + start;
    return result;
}

/* The device and the place in its memory, if all of it is in one block of this process. */
static struct device *find_memory(CUdeviceptr address, size_t bytes, uint64_t *start)
{
    uint64_t number = address < FIRST_ADDRESS ? MAX_DEVICES : (address - FIRST_ADDRESS) / DEVICE_ADDRESSES;

    if (number >= (uint64_t)count)
        return NULL;
    *start = (address - FIRST_ADDRESS) % DEVICE_ADDRESSES;
    for (int each = 0; each < MAX_BLOCKS; each++) {
        const struct block *block = &devices[number].blocks[each];
        if (block->bytes && *start >= block->start && *start + bytes <= block->start + block->bytes)
            return &devices[number];
    }
    return NULL;
}

API CUresult cuMemFree_v2(CUdeviceptr address)
{
    CUresult result = CUDA_ERROR_INVALID_VALUE;
    struct device *device;
    uint64_t start;

    pthread_mutex_lock(&lock);
    device = find_memory(address, 0, &start);
    for (int number = 0; device && number < MAX_BLOCKS; number++) {
        struct block *block = &device->blocks[number];
        if (block->bytes == 0 || block->start != start)
            continue;
        set_lock(device->memory, F_UNLCK, block->start, block->bytes);
        *block = (struct block){0};
        result = CUDA_SUCCESS;
    }
    pthread_mutex_unlock(&lock);
    return result;
}

API CUresult cuMemcpyHtoD_v2(CUdeviceptr address, const void *source, size_t bytes)
{
    uint64_t start;
    struct device *device = find_memory(address, bytes, &start);

    if (!device || !source)
        return CUDA_ERROR_INVALID_VALUE;
    ssize_t done = pwrite(device->memory, source, bytes, (off_t)(MEMORY_OFFSET + start));
    return done == (ssize_t)bytes ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

API CUresult cuMemcpyDtoH_v2(void *target, CUdeviceptr address, size_t bytes)
{
    uint64_t start;
    struct device *device = find_memory(address, bytes, &start);

    if (!device || !target)
        return CUDA_ERROR_INVALID_VALUE;
    ssize_t done = pread(device->memory, target, bytes, (off_t)(MEMORY_OFFSET + start));
    return done == (ssize_t)bytes ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
