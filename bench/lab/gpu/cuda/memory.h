/*
 * The memory file of one device: what the lab's agent makes and libcuda.so.1 hands out, beside the device's state page.
 *
 * A header of one page, then the device's memory. Which part of it is in use is kept by the kernel as file locks: a
 * process that ends, however it ends, gives back what it had. `bench/lab/gpu/memory.py` has the same table.
 */
#ifndef BENCH_LAB_MEMORY_H
#define BENCH_LAB_MEMORY_H

#include <stdint.h>

#define MEMORY_MAGIC 0x4d555047u /* "GPUM" */
#define MEMORY_VERSION 1u
#define MEMORY_OFFSET 4096u
#define MEMORY_GRANULE 65536u /* allocations begin at multiples of it */

struct memory_header {
    uint32_t magic;
    uint32_t version;
    uint32_t is_scrubbed; /* 0: the driver hands memory out as its last owner left it */
    uint32_t reserved;
    uint64_t bytes;
};

#endif
