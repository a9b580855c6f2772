/* A CUDA driver whose device is the host: memory, copies, streams, events, contexts and graphs work,
   kernels do not. What needs a context fails without one in the calling thread, as in the real one;
   `host_live` counts what was made and not freed. Streams work at once; what is put into a
   capturing stream is kept, and done at each launch of the graph. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <dlfcn.h>

enum { OK = 0, BAD_VALUE = 1, OUT_OF_MEMORY = 2, BAD_CONTEXT = 201, NOT_SUPPORTED = 801 };
enum { MEMORY, PINNED, STREAM, EVENT, GRAPH, EXEC, PRIMARY, STACKED, KINDS };
static int live[KINDS], ticks, capture_mode = -1;
int host_live(int kind) { return live[kind]; }
int host_capture_mode(void) { return capture_mode; }

static char primary;
static __thread void *stack[16];
static __thread int depth;
#define NEED_CONTEXT if (!depth) return BAD_CONTEXT

typedef struct Node { int kind; char *to; const char *from; size_t size, to_pitch, from_pitch, rows;
                      int *event; struct Node *next; } Node;
typedef struct { Node *first, **end; } Graph;
typedef struct { unsigned flags; Graph *graph; } Stream;
enum { COPY, RECORD };

static void run(const Node *n) {
    if (n->kind == RECORD) { *n->event = ++ticks; return; }
    for (size_t r = 0; r < n->rows; r++)
        memcpy(n->to + r * n->to_pitch, n->from + r * n->from_pitch, n->size);
}

static int put(Stream *s, Node what) {
    if (!s || !s->graph) { run(&what); return OK; }
    Node *kept = malloc(sizeof *kept);
    *kept = what;
    *s->graph->end = kept;
    s->graph->end = &kept->next;
    return OK;
}

int cuInit(unsigned f) { return f ? BAD_VALUE : OK; }
int cuDriverGetVersion(int *v) { *v = 13000; return OK; }
int cuDeviceGetCount(int *n) { *n = 1; return OK; }
int cuDeviceGet(int *d, int i) { *d = 0; return i ? BAD_VALUE : OK; }
int cuDeviceGetName(char *s, int n, int d) { snprintf(s, n, "Host GPU"); return d; }
int cuDeviceGetAttribute(int *v, int a, int d) { *v = a == 75 ? 8 : a == 76 ? 6 : 1; return d; }
int cuDeviceComputeCapability(int *major, int *minor, int d) { *major = 8; *minor = 6; return d; }
int cuDeviceGetUuid_v2(char *u, int d) { memset(u, 7, 16); return d; }
int cuDeviceTotalMem_v2(size_t *n, int d) { *n = 1u << 30; return d; }
int cuGetErrorName(int c, const char **s) { *s = c == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : c == 201 ? "CUDA_ERROR_INVALID_CONTEXT" : "CUDA_ERROR"; return OK; }
int cuGetErrorString(int c, const char **s) { *s = c == 2 ? "out of memory" : c == 201 ? "invalid device context" : "error"; return OK; }

int cuDevicePrimaryCtxRetain(void **c, int d) { *c = &primary; live[PRIMARY]++; return d; }
int cuDevicePrimaryCtxRelease_v2(int d) { live[PRIMARY]--; return d; }
int cuDevicePrimaryCtxRelease(int d) { return cuDevicePrimaryCtxRelease_v2(d); }
static unsigned primary_flags;
int cuDevicePrimaryCtxGetState(int d, unsigned *f, int *a) { *f = primary_flags; *a = live[PRIMARY] > 0; return d; }
int cuDevicePrimaryCtxSetFlags_v2(int d, unsigned f) { primary_flags = f; return d; }
int cuDevicePrimaryCtxSetFlags(int d, unsigned f) { return cuDevicePrimaryCtxSetFlags_v2(d, f); }
int cuCtxPushCurrent_v2(void *c) { stack[depth++] = c; live[STACKED]++; return OK; }
int cuCtxPopCurrent_v2(void **c) { NEED_CONTEXT; *c = stack[--depth]; live[STACKED]--; return OK; }
int cuCtxSetCurrent(void *c) {
    if (!depth) { depth = 1; live[STACKED]++; }
    stack[depth - 1] = c;
    return OK;
}
int cuCtxGetCurrent(void **c) { *c = depth ? stack[depth - 1] : 0; return OK; }
int cuCtxGetDevice(int *d) { NEED_CONTEXT; *d = 0; return OK; }
int cuCtxSynchronize(void) { NEED_CONTEXT; return OK; }
int cuCtxGetApiVersion(void *c, unsigned *v) { *v = 13000; return OK; }

int cuMemGetInfo_v2(size_t *f, size_t *t) { NEED_CONTEXT; *f = *t = 1u << 30; return OK; }
int cuMemAlloc_v2(uint64_t *p, size_t n) {
    NEED_CONTEXT;
    if (n > 1u << 30) return OUT_OF_MEMORY;
    char *made = malloc(n);
    memset(made, 0xAB, n);
    *p = (uint64_t)made;
    live[MEMORY]++;
    return OK;
}
int cuMemFree_v2(uint64_t p) { NEED_CONTEXT; free((void *)p); live[MEMORY]--; return OK; }
int cuMemHostAlloc(void **p, size_t n, unsigned f) { NEED_CONTEXT; *p = malloc(n); memset(*p, 0xCD, n); live[PINNED]++; return OK; }
int cuMemFreeHost(void *p) { NEED_CONTEXT; free(p); live[PINNED]--; return OK; }
int cuMemsetD8_v2(uint64_t p, unsigned char v, size_t n) { NEED_CONTEXT; memset((void *)p, v, n); return OK; }

int cuStreamCreate(Stream **s, unsigned f) { NEED_CONTEXT; *s = calloc(1, sizeof **s); (*s)->flags = f; live[STREAM]++; return OK; }
int cuStreamDestroy_v2(Stream *s) { NEED_CONTEXT; free(s); live[STREAM]--; return OK; }
int cuStreamSynchronize(Stream *s) { NEED_CONTEXT; return s && s->graph ? 900 : OK; }
int cuStreamQuery(Stream *s) { return cuStreamSynchronize(s); }
int cuStreamWaitEvent(Stream *s, int *e, unsigned f) { NEED_CONTEXT; return s && s->flags == 1 && *e ? OK : BAD_VALUE; }
int cuStreamGetCtx(Stream *s, void **c) { *c = &primary; return OK; }

int cuEventCreate(int **e, unsigned f) { NEED_CONTEXT; *e = calloc(1, sizeof **e); live[EVENT]++; return OK; }
int cuEventDestroy_v2(int *e) { NEED_CONTEXT; free(e); live[EVENT]--; return OK; }
int cuEventRecord(int *e, Stream *s) { NEED_CONTEXT; return put(s, (Node){.kind = RECORD, .event = e}); }
int cuEventRecordWithFlags(int *e, Stream *s, unsigned f) {
    NEED_CONTEXT;
    /* An event node must be external, and may be so only while a stream captures. */
    if ((f == 1) != (s && s->graph)) return BAD_VALUE;
    return put(s, (Node){.kind = RECORD, .event = e});
}
int cuEventElapsedTime_v2(float *ms, int *a, int *b) { NEED_CONTEXT; *ms = *b - *a; return *a && *b ? OK : 600; }
int cuEventElapsedTime(float *ms, int *a, int *b) { return cuEventElapsedTime_v2(ms, a, b); }

static int flat(Stream *s, void *to, const void *from, size_t n) {
    return put(s, (Node){.kind = COPY, .to = to, .from = from, .size = n, .rows = 1});
}
int cuMemcpyHtoDAsync_v2(uint64_t t, const void *f, size_t n, Stream *s) { NEED_CONTEXT; return flat(s, (void *)t, (const void *)f, n); }
int cuMemcpyDtoHAsync_v2(void *t, uint64_t f, size_t n, Stream *s) { NEED_CONTEXT; return flat(s, (void *)t, (const void *)f, n); }
int cuMemcpyDtoDAsync_v2(uint64_t t, uint64_t f, size_t n, Stream *s) { NEED_CONTEXT; return flat(s, (void *)t, (const void *)f, n); }
/* CUDA_MEMCPY2D of cuda.h. */
typedef struct { size_t fx, fy; unsigned ft; const void *fh; uint64_t fd; void *fa; size_t fp;
                 size_t tx, ty; unsigned tt; void *th; uint64_t td; void *ta; size_t tp; size_t w, h; } Copy2D;
int cuMemcpy2DAsync_v2(const Copy2D *c, Stream *s) {
    NEED_CONTEXT;
    if (c->ft != 2 || c->tt != 2 || c->w > c->tp || c->fx + c->w > c->fp) return BAD_VALUE;
    return put(s, (Node){.kind = COPY, .to = (char *)c->td + c->ty * c->tp + c->tx, .to_pitch = c->tp,
                         .from = (const char *)c->fd + c->fy * c->fp + c->fx, .from_pitch = c->fp,
                         .size = c->w, .rows = c->h});
}

int cuStreamBeginCapture_v2(Stream *s, int mode) {
    NEED_CONTEXT;
    if (s->flags != 1) return BAD_VALUE;
    s->graph = calloc(1, sizeof(Graph));
    s->graph->end = &s->graph->first;
    capture_mode = mode;
    live[GRAPH]++;
    return OK;
}
int cuStreamEndCapture(Stream *s, Graph **g) { NEED_CONTEXT; *g = s->graph; s->graph = 0; return OK; }
int cuGraphInstantiateWithFlags(Graph **x, Graph *g, unsigned long long f) {
    NEED_CONTEXT;
    *x = malloc(sizeof **x);
    **x = *g;
    live[EXEC]++;
    return OK;
}
int cuGraphLaunch(Graph *x, Stream *s) { NEED_CONTEXT; for (Node *n = x->first; n; n = n->next) run(n); return OK; }
int cuGraphDestroy(Graph *g) { free(g); live[GRAPH]--; return OK; }
int cuGraphExecDestroy(Graph *x) { free(x); live[EXEC]--; return OK; }

/* What this file defines, made by `stub_driver.py`; ends with 0. */
extern const char *const host_names[];

int cuGetProcAddress_v2(const char *name, void **p, int version, uint64_t flags, int *status) {
    static const char *suffixes[] = {"_v2", "", "WithFlags"};
    char full[128];
    Dl_info self;
    *p = 0;
    dladdr((void *)cuInit, &self);
    for (int i = 0; i < 3; i++) {
        snprintf(full, sizeof full, "%s%s", name, suffixes[i]);
        for (const char *const *one = host_names; *one && !*p; one++)
            if (!strcmp(*one, full)) *p = dlsym(dlopen(self.dli_fname, RTLD_LAZY), full);
    }
    if (status) *status = *p ? 0 : 1;
    return *p ? OK : 500;
}
