/* PCIe, NVLink and the fabric. */
#include <string.h>
#include <time.h>

#include "library.h"

#define THROUGHPUT_WINDOW_NANOSECONDS 20000000L

GETTER(nvmlDeviceGetMaxPcieLinkGeneration, unsigned int, view.fixed->pcie_generation)
GETTER(nvmlDeviceGetGpuMaxPcieLinkGeneration, unsigned int, view.fixed->pcie_generation)
GETTER(nvmlDeviceGetMaxPcieLinkWidth, unsigned int, view.fixed->pcie_width)
GETTER(nvmlDeviceGetCurrPcieLinkWidth, unsigned int, view.fixed->pcie_width)
GETTER(nvmlDeviceGetPcieReplayCounter, unsigned int, view.live.pcie_replays)

/* A device in its idle state lets the link fall to the first generation. */
static unsigned int current_generation(const struct view *view)
{
    return view->live.performance_state == 0 ? view->fixed->pcie_generation : 1;
}

GETTER(nvmlDeviceGetCurrPcieLinkGeneration, unsigned int, current_generation(&view))

/* Megabytes a second of one lane: the rate of its generation. */
GETTER(nvmlDeviceGetPcieSpeed, unsigned int, 2500u << (current_generation(&view) - 1))

/* The counters are looked at twice, 20 ms apart, as the driver does; they move ten times a second. */
API nvmlReturn_t nvmlDeviceGetPcieThroughput(nvmlDevice_t device, unsigned int counter, unsigned int *kilobytes)
{
    struct view first, second;
    nvmlReturn_t code = look_at_device(device, counter < 2 ? kilobytes : NULL, &first);

    if (code != NVML_SUCCESS)
        return code;
    if (first.fixed->mig_enabled)
        return NVML_ERROR_NOT_SUPPORTED;
    for (int turn = 0; turn < 6; turn++) {
        nanosleep(&(struct timespec){.tv_nsec = THROUGHPUT_WINDOW_NANOSECONDS}, NULL);
        code = look_at_device(device, kilobytes, &second);
        if (code != NVML_SUCCESS || second.live.timestamp_microseconds != first.live.timestamp_microseconds)
            break;
    }
    if (code != NVML_SUCCESS)
        return code;
    uint64_t microseconds = second.live.timestamp_microseconds - first.live.timestamp_microseconds;
    uint64_t bytes = counter == 0 ? second.live.pcie_sent_bytes - first.live.pcie_sent_bytes
                                  : second.live.pcie_received_bytes - first.live.pcie_received_bytes;
    *kilobytes = microseconds ? (unsigned int)(bytes * 1000 / microseconds) : 0;
    return NVML_SUCCESS;
}

static nvmlReturn_t look_at_link(nvmlDevice_t device, unsigned int link, const void *result, struct view *view)
{
    nvmlReturn_t code = look_at_device(device, result, view);

    if (code != NVML_SUCCESS)
        return code;
    if (view->fixed->nvlink_links == 0)
        return NVML_ERROR_NOT_SUPPORTED;
    return link < view->fixed->nvlink_links ? NVML_SUCCESS : NVML_ERROR_INVALID_ARGUMENT;
}

#define LINK_GETTER(name, expression)                                                  \
    API nvmlReturn_t name(nvmlDevice_t device, unsigned int link, unsigned int *value) \
    {                                                                                  \
        struct view view;                                                              \
        nvmlReturn_t code = look_at_link(device, link, value, &view);                  \
        if (code == NVML_SUCCESS)                                                      \
            *value = (expression);                                                     \
        return code;                                                                   \
    }

LINK_GETTER(nvmlDeviceGetNvLinkState, 1)
LINK_GETTER(nvmlDeviceGetNvLinkVersion, view.fixed->nvlink_version)
LINK_GETTER(nvmlDeviceGetNvLinkRemoteDeviceType, 2) /* a switch */

API nvmlReturn_t nvmlDeviceGetNvLinkCapability(nvmlDevice_t device, unsigned int link, unsigned int capability,
                                               unsigned int *value)
{
    struct view view;
    nvmlReturn_t code = look_at_link(device, link, capability < 6 ? value : NULL, &view);

    if (code == NVML_SUCCESS)
        *value = capability != 3; /* all but SLI bridges */
    return code;
}

API nvmlReturn_t nvmlDeviceGetNvLinkErrorCounter(nvmlDevice_t device, unsigned int link, unsigned int counter,
                                                 unsigned long long *value)
{
    struct view view;
    nvmlReturn_t code = look_at_link(device, link, counter < 5 ? value : NULL, &view);

    if (code == NVML_SUCCESS)
        *value = 0;
    return code;
}

/* Links are spread over four switches, which are on the board whatever the container sees. */
API nvmlReturn_t nvmlDeviceGetNvLinkRemotePciInfo_v2(nvmlDevice_t device, unsigned int link, nvmlPciInfo_t *pci)
{
    struct view view;
    nvmlReturn_t code = look_at_link(device, link, pci, &view);

    if (code != NVML_SUCCESS)
        return code;
    memset(pci, 0, sizeof(*pci));
    pci->bus = 5 + link % 4;
    pci->pci_device_id = 0x22A310DE;
    struct state_fixed at = {.pci_bus = pci->bus};
    put_pci_bus_id(pci->bus_id, sizeof(pci->bus_id), &at);
    memcpy(pci->bus_id_legacy, pci->bus_id + 4, strlen(pci->bus_id + 4) + 1);
    return NVML_SUCCESS;
}

typedef struct {
    unsigned int version;
    unsigned char cluster[16];
    unsigned int status, clique, state, health;
} fabric_v2;

typedef struct {
    unsigned int version;
    unsigned char cluster[16];
    unsigned int status, clique, state, health;
    unsigned char summary;
} fabric_v3;

/* Healthy: two bits a question, 2 is "no" to "degraded" and the like, summary 1 is "healthy". */
API nvmlReturn_t nvmlDeviceGetGpuFabricInfoV(nvmlDevice_t device, fabric_v3 *fabric)
{
    struct view view;
    nvmlReturn_t code = look_at_device(device, fabric, &view);

    if (code != NVML_SUCCESS)
        return code;
    if (fabric->version != VERSION_OF(fabric_v2, 2) && fabric->version != VERSION_OF(fabric_v3, 3))
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    int has_fabric = view.fixed->compute_major >= 9 && view.fixed->nvlink_links > 0;
    memset(fabric->cluster, 0, sizeof(fabric->cluster));
    fabric->cluster[15] = has_fabric ? 1 : 0;
    fabric->status = NVML_SUCCESS;
    fabric->clique = 0;
    fabric->state = has_fabric ? 3 : 0; /* completed, or not supported */
    fabric->health = has_fabric ? 0xAA : 0;
    if (fabric->version == VERSION_OF(fabric_v3, 3))
        fabric->summary = has_fabric ? 1 : 0;
    return NVML_SUCCESS;
}
