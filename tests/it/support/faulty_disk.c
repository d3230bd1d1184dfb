/* A disk that fails as it is told, under any program that is started with it in LD_PRELOAD.
 *
 * FAULTY_DISK_PATH   a part of the paths that it fails for
 * FAULTY_DISK_CALLS  some of: write sync truncate allocate
 * FAULTY_DISK_ERRNO  the error, as a number
 * FAULTY_DISK_FROM   the first call that fails, counted from 1
 * FAULTY_DISK_COUNT  how many fail from there on; 0 for all
 * FAULTY_DISK_WHILE  a file: calls are counted, and fail, only while it is there
 * FAULTY_DISK_LOG    a file that gets a line for each call that failed
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/syscall.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long calls = 0;

static long number(const char *name, long otherwise) {
    const char *text = getenv(name);
    return text ? atol(text) : otherwise;
}

/* The error for this call, or 0. */
static int fault(int fd, const char *call) {
    const char *wanted = getenv("FAULTY_DISK_PATH"), *kinds = getenv("FAULTY_DISK_CALLS");
    const char *trigger = getenv("FAULTY_DISK_WHILE"), *log = getenv("FAULTY_DISK_LOG");
    char link[64], path[4096];
    if (!wanted || !kinds || !strstr(kinds, call)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    if (!strstr(path, wanted)) return 0;
    if (trigger && access(trigger, F_OK) != 0) return 0;
    pthread_mutex_lock(&lock);
    long now = ++calls;
    pthread_mutex_unlock(&lock);
    long from = number("FAULTY_DISK_FROM", 1), count = number("FAULTY_DISK_COUNT", 0);
    if (now < from || (count > 0 && now >= from + count)) return 0;
    if (log) {
        char line[4300];
        int size = snprintf(line, sizeof line, "%s %s\n", call, path);
        int to = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND, 0600);
        if (to >= 0) {
            syscall(SYS_write, to, line, (size_t)size);
            syscall(SYS_close, to);
        }
    }
    return (int)number("FAULTY_DISK_ERRNO", EIO);
}

#define FAIL(fd, call) do { int error = fault(fd, call); if (error) { errno = error; return -1; } } while (0)
#define NEXT(type, name, ...) type (*next)(__VA_ARGS__) = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

ssize_t write(int fd, const void *bytes, size_t size) {
    NEXT(ssize_t, "write", int, const void *, size_t);
    FAIL(fd, "write");
    return next(fd, bytes, size);
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at) {
    NEXT(ssize_t, "pwrite", int, const void *, size_t, off_t);
    FAIL(fd, "write");
    return next(fd, bytes, size, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t at) {
    NEXT(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
    FAIL(fd, "write");
    return next(fd, bytes, size, at);
}

int fsync(int fd) {
    NEXT(int, "fsync", int);
    FAIL(fd, "sync");
    return next(fd);
}

int fdatasync(int fd) {
    NEXT(int, "fdatasync", int);
    FAIL(fd, "sync");
    return next(fd);
}

int ftruncate(int fd, off_t size) {
    NEXT(int, "ftruncate", int, off_t);
    FAIL(fd, "truncate");
    return next(fd, size);
}

int ftruncate64(int fd, off64_t size) {
    NEXT(int, "ftruncate64", int, off64_t);
    FAIL(fd, "truncate");
    return next(fd, size);
}

int fallocate(int fd, int mode, off_t from, off_t size) {
    NEXT(int, "fallocate", int, int, off_t, off_t);
    FAIL(fd, "allocate");
    return next(fd, mode, from, size);
}

int posix_fallocate(int fd, off_t from, off_t size) {
    NEXT(int, "posix_fallocate", int, off_t, off_t);
    int error = fault(fd, "allocate");
    return error ? error : next(fd, from, size);
}
