/* A CUDA driver whose device memory is host memory: it tests how the driver is called, where there
   is no GPU. FAKE_CUDA_CODE makes cuInit fail with that code. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int cuInit(unsigned flags) {
    const char *code = getenv("FAKE_CUDA_CODE");
    return flags ? 1 : code ? atoi(code) : 0;
}
int cuDeviceGet(int *device, int ordinal) { *device = 7; return ordinal; }
int cuDeviceGetName(char *name, int length, int device) {
    strncpy(name, "Fake GPU", length);
    return device != 7;
}
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 75 ? 8 : 6;
    return device != 7;
}
int cuGetErrorName(int code, const char **name) { *name = code == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : 0; return 0; }
int cuDevicePrimaryCtxRetain(void **context, int device) { *context = (void *)0x700000000001; return device != 7; }
int cuCtxSetCurrent(void *context) { return context != (void *)0x700000000001; }
int cuStreamCreate(void **stream, unsigned flags) { *stream = (void *)0x7fffffff0001; return flags != 1; }
int cuStreamSynchronize(void *stream) { return stream != (void *)0x7fffffff0001; }
int cuStreamDestroy_v2(void *stream) { return stream != (void *)0x7fffffff0001; }
int cuMemAlloc_v2(uint64_t *address, size_t size) {
    if (size > 1000000000) return 2;
    *address = (uint64_t)malloc(size);
    return 0;
}
int cuMemFree_v2(uint64_t address) { free((void *)address); return 0; }
int cuMemAllocHost_v2(void **address, size_t size) { *address = malloc(size); return 0; }
int cuMemFreeHost(void *address) { free(address); return 0; }
int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t size, void *stream) {
    memcpy((void *)to, from, size);
    return stream != (void *)0x7fffffff0001;
}
int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t size, void *stream) {
    memcpy(to, (void *)from, size);
    return stream != (void *)0x7fffffff0001;
}
