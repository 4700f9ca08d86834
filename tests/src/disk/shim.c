/* Stands before the C library in a process under test, and makes its machine a bad one: slow, full, or wrong about the time.
 *
 *   DISK_SYNC_MICROS  how long each fsync and fdatasync takes besides
 *   DISK_SYNCS        a file that gets one byte for each
 *   DISK_FULL         while this file exists, nothing can be written to regular files: ENOSPC; but if there is a number in
 *                     it, so many bytes fit into the folder DISK_FOLDER
 *   NO_THREADS        while this file exists, no thread can be started: EAGAIN
 *   CLOCK_AHEAD       while this file exists, the wall clock is ahead by the number of seconds in it
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* Returns whether the file that a variable names exists, and the number in it, or 0. */
static int is_set(const char *variable, long long *number) {
    const char *path = getenv(variable);
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    char text[32] = "";
    if (file < 0) return 0;
    if (read(file, text, sizeof text - 1) < 0) text[0] = 0;
    close(file);
    *number = atoll(text);
    return 1;
}

static void note_sync(void) {
    const char *micros = getenv("DISK_SYNC_MICROS"), *syncs = getenv("DISK_SYNCS");
    if (micros) usleep((useconds_t)atoi(micros));
    if (syncs) {
        int file = open(syncs, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
        ssize_t (*next)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
        if (file >= 0) { (void)!next(file, "s", 1); close(file); }
    }
}

static __thread long long used;

static int add(const char *path, const struct stat *status, int kind, struct FTW *at) {
    (void)path, (void)at;
    if (kind == FTW_F) used += status->st_blocks * 512;
    return 0;
}

static int is_full(int file, size_t bytes) {
    const char *folder = getenv("DISK_FOLDER");
    struct stat status;
    long long room;
    if (!is_set("DISK_FULL", &room) || fstat(file, &status) != 0 || !S_ISREG(status.st_mode)) return 0;
    if (!room || !folder) return 1;
    used = 0;
    nftw(folder, add, 8, FTW_PHYS);
    return used + (long long)bytes > room;
}

#define NO_ROOM(file, bytes) do { if (is_full(file, bytes)) { errno = ENOSPC; return -1; } } while (0)

int fsync(int file) {
    int (*next)(int) = dlsym(RTLD_NEXT, "fsync");
    NO_ROOM(file, 0);
    note_sync();
    return next(file);
}

int fdatasync(int file) {
    int (*next)(int) = dlsym(RTLD_NEXT, "fdatasync");
    NO_ROOM(file, 0);
    note_sync();
    return next(file);
}

ssize_t write(int file, const void *bytes, size_t count) {
    ssize_t (*next)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    NO_ROOM(file, count);
    return next(file, bytes, count);
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t at) {
    ssize_t (*next)(int, const void *, size_t, off64_t) = dlsym(RTLD_NEXT, "pwrite64");
    NO_ROOM(file, count);
    return next(file, bytes, count, at);
}

ssize_t writev(int file, const struct iovec *parts, int count) {
    ssize_t (*next)(int, const struct iovec *, int) = dlsym(RTLD_NEXT, "writev");
    NO_ROOM(file, 4096);
    return next(file, parts, count);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *how, void *(*run)(void *), void *with) {
    int (*next)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) = dlsym(RTLD_NEXT, "pthread_create");
    long long unused;
    return is_set("NO_THREADS", &unused) ? EAGAIN : next(thread, how, run, with);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int (*next)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    int result = next(clock, now);
    long long ahead;
    if (result == 0 && clock == CLOCK_REALTIME && is_set("CLOCK_AHEAD", &ahead)) now->tv_sec += ahead;
    return result;
}
