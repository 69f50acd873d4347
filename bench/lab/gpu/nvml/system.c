/* The library and the driver themselves. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "library.h"

static nvmlReturn_t system_text(char *out, unsigned int length, size_t offset)
{
    nvmlReturn_t code = require_initialized();

    if (code != NVML_SUCCESS)
        return code;
    if (!out)
        return NVML_ERROR_INVALID_ARGUMENT;
    return put_text(out, length, (const char *)&device_at(0)->page->fixed + offset);
}

API nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned int length)
{
    return system_text(version, length, offsetof(struct state_fixed, driver_version));
}

API nvmlReturn_t nvmlSystemGetNVMLVersion(char *version, unsigned int length)
{
    return system_text(version, length, offsetof(struct state_fixed, nvml_version));
}

API nvmlReturn_t nvmlSystemGetCudaDriverVersion(int *version)
{
    nvmlReturn_t code = require_initialized();

    if (code == NVML_SUCCESS && !version)
        code = NVML_ERROR_INVALID_ARGUMENT;
    if (code == NVML_SUCCESS)
        *version = (int)device_at(0)->page->fixed.cuda_version;
    return code;
}
ALIAS(nvmlSystemGetCudaDriverVersion_v2, nvmlSystemGetCudaDriverVersion);

API nvmlReturn_t nvmlSystemGetProcessName(unsigned int pid, char *name, unsigned int length)
{
    char path[64], text[4096];
    nvmlReturn_t code = require_initialized();

    if (code != NVML_SUCCESS)
        return code;
    if (!name || length == 0)
        return NVML_ERROR_INVALID_ARGUMENT;
    snprintf(path, sizeof(path), "/proc/%u/cmdline", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NVML_ERROR_NOT_FOUND;
    ssize_t size = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (size <= 0)
        return NVML_ERROR_NOT_FOUND;
    text[size] = '\0';
    snprintf(name, length, "%s", text); /* a name that is too long is cut, as the driver does */
    return NVML_SUCCESS;
}

struct message {
    nvmlReturn_t code;
    const char *text;
};

static const struct message messages[] = {
    {NVML_SUCCESS, "Success"},
    {NVML_ERROR_UNINITIALIZED, "Uninitialized"},
    {NVML_ERROR_INVALID_ARGUMENT, "Invalid Argument"},
    {NVML_ERROR_NOT_SUPPORTED, "Not Supported"},
    {NVML_ERROR_NO_PERMISSION, "Insufficient Permissions"},
    {NVML_ERROR_NOT_FOUND, "Not Found"},
    {NVML_ERROR_INSUFFICIENT_SIZE, "Insufficient Size"},
    {NVML_ERROR_DRIVER_NOT_LOADED, "Driver Not Loaded"},
    {NVML_ERROR_TIMEOUT, "Timeout"},
    {NVML_ERROR_GPU_IS_LOST, "GPU is lost"},
    {NVML_ERROR_MEMORY, "Insufficient Memory"},
    {NVML_ERROR_ARGUMENT_VERSION_MISMATCH, "Argument Version Mismatch"},
};

API const char *nvmlErrorString(nvmlReturn_t code)
{
    for (size_t number = 0; number < sizeof(messages) / sizeof(messages[0]); number++)
        if (messages[number].code == code)
            return messages[number].text;
    return "Unknown Error";
}

typedef struct {
    unsigned int environment, feature, developer_mode;
} nvmlConfComputeSystemState_t;

API nvmlReturn_t nvmlSystemGetConfComputeState(nvmlConfComputeSystemState_t *state)
{
    nvmlReturn_t code = require_initialized();

    if (code == NVML_SUCCESS && !state)
        code = NVML_ERROR_INVALID_ARGUMENT;
    if (code == NVML_SUCCESS)
        memset(state, 0, sizeof(*state));
    return code;
}

typedef struct {
    unsigned long long protected_kibibytes, unprotected_kibibytes;
} nvmlConfComputeMemSizeInfo_t;

API nvmlReturn_t nvmlDeviceGetConfComputeMemSizeInfo(nvmlDevice_t device, nvmlConfComputeMemSizeInfo_t *size)
{
    struct view view;
    nvmlReturn_t code = look_at_device(device, size, &view);

    if (code != NVML_SUCCESS)
        return code;
    size->protected_kibibytes = 0;
    size->unprotected_kibibytes = view.fixed->memory_bytes / 1024;
    return NVML_SUCCESS;
}
