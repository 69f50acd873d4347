/* How devices lie to each other, to CPUs and to memory. */
#include <string.h>
#include <unistd.h>

#include "library.h"

#define LEVEL_INTERNAL 0u
#define LEVEL_NODE 40u
#define LEVEL_SYSTEM 50u
#define P2P_OK 0u
#define P2P_NOT_SUPPORTED 3u

/* All devices of a lab's node hang at one NUMA node, each at a root port of its own. */
API nvmlReturn_t nvmlDeviceGetTopologyCommonAncestor(nvmlDevice_t one, nvmlDevice_t other, unsigned int *level)
{
    struct view view;
    nvmlReturn_t code = look_at_device(one, level, &view);

    if (code == NVML_SUCCESS)
        code = look_at_device(other, level, &view);
    if (code == NVML_SUCCESS)
        *level = one == other ? LEVEL_INTERNAL : LEVEL_NODE;
    return code;
}

API nvmlReturn_t nvmlDeviceGetTopologyNearestGpus(nvmlDevice_t device, unsigned int level, unsigned int *count,
                                                  nvmlDevice_t *nearest)
{
    struct view view;
    nvmlReturn_t code = look_at_device(device, level <= LEVEL_SYSTEM ? count : NULL, &view);

    if (code != NVML_SUCCESS)
        return code;
    unsigned int room = *count;
    *count = level == LEVEL_NODE ? device_count() - 1 : 0;
    if (!nearest)
        return NVML_SUCCESS;
    if (room < *count)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    for (unsigned int index = 0, filled = 0; index < device_count() && filled < *count; index++)
        if (device_at(index) != device)
            nearest[filled++] = device_at(index);
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetP2PStatus(nvmlDevice_t one, nvmlDevice_t other, unsigned int what, unsigned int *status)
{
    struct view view;
    nvmlReturn_t code = look_at_device(one, what < 6 ? status : NULL, &view);

    if (code == NVML_SUCCESS)
        code = look_at_device(other, status, &view);
    if (code == NVML_SUCCESS)
        *status = view.fixed->nvlink_links > 0 ? P2P_OK : P2P_NOT_SUPPORTED;
    return code;
}

API nvmlReturn_t nvmlDeviceOnSameBoard(nvmlDevice_t one, nvmlDevice_t other, int *same)
{
    struct view view;
    nvmlReturn_t code = look_at_device(one, same, &view);

    if (code == NVML_SUCCESS)
        code = look_at_device(other, same, &view);
    if (code == NVML_SUCCESS)
        *same = one == other;
    return code;
}

static nvmlReturn_t set_bits(unsigned int words, unsigned long *set, unsigned int bits)
{
    const unsigned int width = 8 * sizeof(*set);

    memset(set, 0, words * sizeof(*set));
    for (unsigned int bit = 0; bit < bits && bit / width < words; bit++)
        set[bit / width] |= 1ul << bit % width;
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetCpuAffinity(nvmlDevice_t device, unsigned int words, unsigned long *set)
{
    struct view view;
    nvmlReturn_t code = look_at_device(device, words > 0 ? set : NULL, &view);
    return code == NVML_SUCCESS ? set_bits(words, set, (unsigned int)sysconf(_SC_NPROCESSORS_CONF)) : code;
}

API nvmlReturn_t nvmlDeviceGetCpuAffinityWithinScope(nvmlDevice_t device, unsigned int words, unsigned long *set,
                                                     unsigned int scope)
{
    return scope < 2 ? nvmlDeviceGetCpuAffinity(device, words, set) : NVML_ERROR_INVALID_ARGUMENT;
}

API nvmlReturn_t nvmlDeviceGetMemoryAffinity(nvmlDevice_t device, unsigned int words, unsigned long *set,
                                             unsigned int scope)
{
    struct view view;
    nvmlReturn_t code = look_at_device(device, words > 0 && scope < 2 ? set : NULL, &view);
    return code == NVML_SUCCESS ? set_bits(words, set, 1) : code;
}

GETTER(nvmlDeviceGetNumaNodeId, unsigned int, 0)

typedef struct {
    unsigned int version;
    char guid[16], chassis[16];
    char slot, tray, host, peer, module;
} nvmlPlatformInfo_t;

/* Both versions have one size; rack and chassis exist from the NVL72 machines on, and are blank here. */
API nvmlReturn_t nvmlDeviceGetPlatformInfo(nvmlDevice_t device, nvmlPlatformInfo_t *platform)
{
    struct view view;
    nvmlReturn_t code = look_at_device(device, platform, &view);

    if (code != NVML_SUCCESS)
        return code;
    unsigned int version = platform->version;
    if (version != VERSION_OF(nvmlPlatformInfo_t, 1) && version != VERSION_OF(nvmlPlatformInfo_t, 2))
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    if (view.fixed->compute_major < 9)
        return NVML_ERROR_NOT_SUPPORTED;
    memset(platform, 0, sizeof(*platform));
    platform->version = version;
    platform->module = (char)(view.fixed->index + 1);
    return NVML_SUCCESS;
}
