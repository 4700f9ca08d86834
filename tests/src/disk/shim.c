/* Stands before the C library in a process under test, and makes its disk slow, or full.
 *
 *   DISK_SYNC_MICROS  how long each fsync and fdatasync takes besides
 *   DISK_SYNCS        a file that gets one byte for each
 *   DISK_FULL         while this file exists, nothing can be written to regular files: ENOSPC
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static void note_sync(void) {
    const char *micros = getenv("DISK_SYNC_MICROS"), *syncs = getenv("DISK_SYNCS");
    if (micros) usleep((useconds_t)atoi(micros));
    if (syncs) {
        int file = open(syncs, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
        ssize_t (*next)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
        if (file >= 0) { (void)!next(file, "s", 1); close(file); }
    }
}

static int is_full(int file) {
    const char *full = getenv("DISK_FULL");
    struct stat status;
    return full && access(full, F_OK) == 0 && fstat(file, &status) == 0 && S_ISREG(status.st_mode);
}

#define NO_ROOM(file) do { if (is_full(file)) { errno = ENOSPC; return -1; } } while (0)

int fsync(int file) {
    int (*next)(int) = dlsym(RTLD_NEXT, "fsync");
    NO_ROOM(file);
    note_sync();
    return next(file);
}

int fdatasync(int file) {
    int (*next)(int) = dlsym(RTLD_NEXT, "fdatasync");
    NO_ROOM(file);
    note_sync();
    return next(file);
}

ssize_t write(int file, const void *bytes, size_t count) {
    ssize_t (*next)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    NO_ROOM(file);
    return next(file, bytes, count);
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t at) {
    ssize_t (*next)(int, const void *, size_t, off64_t) = dlsym(RTLD_NEXT, "pwrite64");
    NO_ROOM(file);
    return next(file, bytes, count, at);
}

ssize_t writev(int file, const struct iovec *parts, int count) {
    ssize_t (*next)(int, const struct iovec *, int) = dlsym(RTLD_NEXT, "writev");
    NO_ROOM(file);
    return next(file, parts, count);
}
