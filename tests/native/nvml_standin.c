/* A stand-in for libnvidia-ml.so.1 that answers from a text file, read anew at each call, so
 * that a test can let a board fail under a process that watches it.
 *
 * The file is named by NVML_STANDIN. A line is "DEVICE QUESTION ANSWER": DEVICE is an index, or
 * "-" for the library; an ANSWER of "!N" is NVML's error N. What is not in the file is not
 * supported (3). "DEVICE all !N" fails every question to that board, "DEVICE handle !N" its
 * opening.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, NOT_SUPPORTED = 3, UNKNOWN = 999 };

typedef struct { unsigned long long total, free, used; } memory_v1;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } memory_v2;
typedef struct { unsigned gpu, memory; } utilization;

static int find(const char *device, const char *question, char *answer, size_t size)
{
    const char *path = getenv("NVML_STANDIN");
    FILE *file = path ? fopen(path, "r") : NULL;
    char line[512];
    int status = NOT_SUPPORTED;
    if (!file)
        return UNKNOWN;
    while (fgets(line, sizeof line, file)) {
        char a[32], b[32];
        int at = 0;
        line[strcspn(line, "\n")] = 0;
        if (sscanf(line, "%31s %31s %n", a, b, &at) < 2 || strcmp(a, device) || strcmp(b, question))
            continue;
        status = line[at] == '!' ? atoi(line + at + 1) : SUCCESS;
        snprintf(answer, size, "%s", line + at);
        break;
    }
    fclose(file);
    return status;
}

static int ask(void *handle, const char *question, char *answer, size_t size)
{
    char device[32], lost[512];
    int status;
    snprintf(device, sizeof device, "%ld", (long)handle - 1);
    status = find(device, "all", lost, sizeof lost);
    if (status != NOT_SUPPORTED && status != SUCCESS)
        return status;
    return find(device, question, answer, size);
}

static int number(void *handle, const char *question, unsigned *out)
{
    char answer[512];
    int status = ask(handle, question, answer, sizeof answer);
    if (status == SUCCESS)
        *out = (unsigned)strtoul(answer, NULL, 0);
    return status;
}

int nvmlInitWithFlags(unsigned flags)
{
    char answer[512];
    int status = find("-", "init", answer, sizeof answer);
    (void)flags;
    return status == NOT_SUPPORTED ? SUCCESS : status;
}

const char *nvmlErrorString(int error) { return error ? "stand-in error" : "success"; }

int nvmlDeviceGetCount_v2(unsigned *count)
{
    char answer[512];
    int status = find("-", "count", answer, sizeof answer);
    if (status == SUCCESS)
        *count = (unsigned)atoi(answer);
    return status;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle)
{
    char answer[512];
    int status;
    *handle = (void *)((long)index + 1);
    status = ask(*handle, "handle", answer, sizeof answer);
    return status == NOT_SUPPORTED ? SUCCESS : status;
}

int nvmlDeviceGetName(void *handle, char *name, unsigned size)
{
    char answer[512];
    int status = ask(handle, "name", answer, sizeof answer);
    if (status == SUCCESS)
        snprintf(name, size, "%s", answer);
    return status;
}

int nvmlDeviceGetMemoryInfo_v2(void *handle, memory_v2 *memory)
{
    char answer[512];
    int status = ask(handle, "memory_v2", answer, sizeof answer);
    if (status == SUCCESS && sscanf(answer, "%llu %llu %llu", &memory->total, &memory->reserved, &memory->free) != 3)
        return UNKNOWN;
    return status;
}

int nvmlDeviceGetMemoryInfo(void *handle, memory_v1 *memory)
{
    char answer[512];
    int status = ask(handle, "memory", answer, sizeof answer);
    if (status == SUCCESS && sscanf(answer, "%llu %llu", &memory->total, &memory->free) != 2)
        return UNKNOWN;
    return status;
}

int nvmlDeviceGetNumGpuCores(void *handle, unsigned *n) { return number(handle, "cores", n); }
int nvmlDeviceGetMemoryBusWidth(void *handle, unsigned *n) { return number(handle, "bus_bits", n); }

int nvmlDeviceGetMaxClockInfo(void *handle, int type, unsigned *mhz)
{
    return type == 2 ? number(handle, "memory_mhz", mhz) : NOT_SUPPORTED;
}

int nvmlDeviceGetCudaComputeCapability(void *handle, int *major, int *minor)
{
    char answer[512];
    int status = ask(handle, "capability", answer, sizeof answer);
    if (status == SUCCESS && sscanf(answer, "%d.%d", major, minor) != 2)
        return UNKNOWN;
    return status;
}

int nvmlDeviceGetUtilizationRates(void *handle, utilization *rates)
{
    rates->memory = 0;
    return number(handle, "busy_percent", &rates->gpu);
}

int nvmlDeviceGetTemperature(void *handle, int sensor, unsigned *celsius)
{
    return sensor == 0 ? number(handle, "celsius", celsius) : NOT_SUPPORTED;
}

int nvmlDeviceGetTemperatureThreshold(void *handle, int which, unsigned *celsius)
{
    return which == 1 ? number(handle, "slowdown_celsius", celsius) : NOT_SUPPORTED;
}

int nvmlDeviceGetCurrentClocksEventReasons(void *handle, unsigned long long *reasons)
{
    unsigned low = 0;
    int status = number(handle, "reasons", &low);
    *reasons = low;
    return status;
}
