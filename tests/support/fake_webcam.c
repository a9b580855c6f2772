/* A camera behind the Video4Linux calls of this process, where a machine has none.
 *
 *   cc -shared -fPIC -o webcam.so fake_webcam.c -ldl
 *   LD_PRELOAD=webcam.so FAKE_WEBCAM=/dev/video9 FAKE_WEBCAM_FRAMES=20 program
 *
 * FFmpeg's own v4l2 input then opens FAKE_WEBCAM, agrees on YUYV 64x48 at 50 pictures a second, and
 * streams through mapped buffers. Picture n is grey of luma 16 + 8 n (mod 200). After
 * FAKE_WEBCAM_FRAMES pictures of one opening the camera is unplugged (ENODEV); 0: never.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { WIDTH = 64, HEIGHT = 48, FPS = 50, BUFFERS = 4, PAGE = 8192 };
static const int size = WIDTH * HEIGHT * 2;
static int camera = -1, queued[BUFFERS], head, tail, shown;

static int is_camera(const char *path) {
    const char *name = getenv("FAKE_WEBCAM");
    return name && path && !strcmp(path, name);
}

static int plug_in(void) {
    camera = memfd_create("webcam", 0);
    head = tail = shown = 0;
    return ftruncate(camera, BUFFERS * PAGE) ? -1 : camera;
}

#define OPEN(name)                                                              \
    int name(const char *path, int flags, ...) {                                \
        va_list rest;                                                           \
        va_start(rest, flags);                                                  \
        int mode = va_arg(rest, int);                                           \
        va_end(rest);                                                           \
        int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, #name);          \
        return is_camera(path) ? plug_in() : real(path, flags, mode);           \
    }
OPEN(open)
OPEN(open64)

static int format(struct v4l2_format *wanted) {
    struct v4l2_pix_format *pix = &wanted->fmt.pix;
    pix->width = WIDTH, pix->height = HEIGHT, pix->field = V4L2_FIELD_NONE;
    pix->pixelformat = V4L2_PIX_FMT_YUYV, pix->bytesperline = 2 * WIDTH, pix->sizeimage = size;
    return 0;
}

static int rate(struct v4l2_streamparm *parameters) {
    parameters->parm.capture.capability = V4L2_CAP_TIMEPERFRAME;
    parameters->parm.capture.timeperframe.numerator = 1;
    parameters->parm.capture.timeperframe.denominator = FPS;
    return 0;
}

static int take(struct v4l2_buffer *buffer) {
    int most = atoi(getenv("FAKE_WEBCAM_FRAMES") ? getenv("FAKE_WEBCAM_FRAMES") : "0");
    unsigned char picture[WIDTH * HEIGHT * 2];
    struct timespec pause = {0, 1000000000 / FPS}, now;
    nanosleep(&pause, NULL);
    if (most && shown >= most) return errno = ENODEV, -1;
    if (head == tail) return errno = EAGAIN, -1;
    for (int k = 0; k < size; k += 2)
        picture[k] = 16 + 8 * shown % 200, picture[k + 1] = 128;
    buffer->index = queued[head++ % BUFFERS];
    if (pwrite(camera, picture, size, buffer->index * PAGE) != size) return -1;
    clock_gettime(CLOCK_MONOTONIC, &now);
    buffer->timestamp.tv_sec = now.tv_sec, buffer->timestamp.tv_usec = now.tv_nsec / 1000;
    buffer->bytesused = size, buffer->sequence = shown++;
    buffer->flags = V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC;
    return 0;
}

static int answer(unsigned long request, void *argument) {
    struct v4l2_capability *can = argument;
    struct v4l2_buffer *buffer = argument;
    switch (request) {
    case VIDIOC_QUERYCAP:
        memset(can, 0, sizeof *can);
        can->capabilities = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING;
        return 0;
    case VIDIOC_G_INPUT: *(int *)argument = 0; return 0;
    case VIDIOC_ENUMINPUT: ((struct v4l2_input *)argument)->std = 0; return 0;
    case VIDIOC_G_FMT:
    case VIDIOC_S_FMT: return format(argument);
    case VIDIOC_G_PARM:
    case VIDIOC_S_PARM: return rate(argument);
    case VIDIOC_REQBUFS:
        ((struct v4l2_requestbuffers *)argument)->count = BUFFERS;
        return 0;
    case VIDIOC_QUERYBUF:
        buffer->length = size, buffer->m.offset = buffer->index * PAGE;
        return 0;
    case VIDIOC_QBUF: queued[tail++ % BUFFERS] = buffer->index; return 0;
    case VIDIOC_DQBUF: return take(argument);
    case VIDIOC_STREAMON:
    case VIDIOC_STREAMOFF: return 0;
    default: return errno = ENOTTY, -1;
    }
}

int ioctl(int fd, unsigned long request, ...) {
    va_list rest;
    va_start(rest, request);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    int (*real)(int, unsigned long, ...) = dlsym(RTLD_NEXT, "ioctl");
    return fd >= 0 && fd == camera ? answer(request, argument) : real(fd, request, argument);
}
