/* A disk that forgets what wasn't synced, under any program that is started with it in LD_PRELOAD.
 *
 * It writes down what each change of a file or of a folder replaces, and every sync. After the program was killed, the
 * test puts back what no sync had reached (power_cut.rs). No real sync is made: a note of it outlives SIGKILL as well.
 *
 * POWER_CUT_ROOT    the folder that lies on this disk, without links in its path
 * POWER_CUT_NOTES   a folder on the same file system: `log` has the notes, `removed/` the files without a name, by inode
 * POWER_CUT_MICROS  how long a sync takes
 * POWER_CUT_DEAF    syncs of paths with this ending say that they were made, and weren't; a folder's path ends with `/`
 *
 * What it doesn't know how to put back (a shared mapping, a link) stops the program with a word.
 * SQLite's `-shm` files are left alone: SQLite makes them anew after a crash. 64-bit Linux only.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* As in power_cut.rs. */
enum kind { WRITTEN = 1, RESIZED, SYNCED, CREATED, REMOVED, RENAMED, FOLDER_MADE };

/* What stands before the bytes of a note. A file or folder is its inode. */
struct note {
    uint64_t kind;
    uint64_t file;     /* of a change of names: the folder */
    uint64_t at;       /* WRITTEN: offset; RESIZED: new size; SYNCED: notes before it began */
    uint64_t length;   /* WRITTEN: bytes written */
    uint64_t old_size; /* WRITTEN, RESIZED: size before */
    uint64_t other;    /* REMOVED, RENAMED: the file that loses this name, or 0 */
    uint64_t bytes;    /* how many follow: what was there, or the name; RENAMED: old name, 0, new name */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t notes = 0;
static int log_file = -1;

static void stop(const char *what, const char *path) {
    dprintf(2, "power_cut: %s of %s can't be put back\n", what, path);
    abort();
}

static int is_below_root(const char *path) {
    const char *root = getenv("POWER_CUT_ROOT");
    if (!root) return 0;
    size_t length = strlen(root);
    return strncmp(path, root, length) == 0 && (path[length] == '/' || path[length] == 0);
}

static int has_ending(const char *text, const char *ending) {
    size_t length = strlen(text), wanted = strlen(ending);
    return length >= wanted && strcmp(text + length - wanted, ending) == 0;
}

/* Is this a file or folder of this disk? Then its path and what it is. */
static int is_ours(int fd, char path[PATH_MAX], struct stat *is) {
    char link[64];
    if (!getenv("POWER_CUT_ROOT") || fstat(fd, is) != 0) return 0;
    if (!S_ISREG(is->st_mode) && !S_ISDIR(is->st_mode)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
    if (length < 0) return 0;
    path[length] = 0;
    if (has_ending(path, " (deleted)")) path[length - (ssize_t)strlen(" (deleted)")] = 0;
    return is_below_root(path) && !has_ending(path, "-shm");
}

/* The absolute path of a name, and the inode of its folder; 0 where it isn't of this disk. */
static int names_ours(const char *name, char path[PATH_MAX], uint64_t *folder) {
    char parent[PATH_MAX], real[PATH_MAX];
    struct stat is;
    if (!getenv("POWER_CUT_ROOT") || strlen(name) >= sizeof parent) return 0;
    strcpy(parent, name);
    size_t length = strlen(parent);
    while (length > 1 && parent[length - 1] == '/') parent[--length] = 0;
    char *slash = strrchr(parent, '/');
    const char *last = slash ? slash + 1 : parent;
    char base[NAME_MAX + 1];
    if (strlen(last) > NAME_MAX) return 0;
    strcpy(base, last);
    if (slash) slash[slash == parent] = 0;
    if (!realpath(slash ? parent : ".", real) || stat(real, &is) != 0) return 0;
    if (snprintf(path, PATH_MAX, "%s/%s", real, base) >= PATH_MAX) return 0;
    *folder = is.st_ino;
    return is_below_root(real);
}

static void put(struct iovec *parts, int count) {
    if (log_file < 0) {
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s/log", getenv("POWER_CUT_NOTES"));
        log_file = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (log_file < 0) stop("a log that can't be written", path);
    }
    size_t size = 0;
    for (int part = 0; part < count; part++) size += parts[part].iov_len;
    if (syscall(SYS_writev, log_file, parts, count) != (ssize_t)size) stop("a note", "a change");
    notes++;
}

static void note(struct note what, const void *bytes, size_t size) {
    what.bytes = size;
    struct iovec parts[2] = {{&what, sizeof what}, {(void *)bytes, size}};
    put(parts, 2);
}

/* Notes what stands in a range of a file, before it changes. */
static void note_content(int fd, struct note what, uint64_t from, uint64_t size) {
    char *there = malloc(size ? size : 1);
    ssize_t read = there && size ? syscall(SYS_pread64, fd, there, size, from) : 0;
    if (read < 0 && errno == EBADF) {
        /* This descriptor is for writing only. Not otherwise: closing another one gives up SQLite's locks. */
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        int reader = (int)syscall(SYS_openat, AT_FDCWD, link, O_RDONLY | O_CLOEXEC);
        read = syscall(SYS_pread64, reader, there, size, from);
        syscall(SYS_close, reader);
    }
    if (!there || read != (ssize_t)size) stop("the content", "a file");
    note(what, there, size);
    free(there);
}

static void note_write(int fd, const struct stat *is, uint64_t at, uint64_t length) {
    uint64_t size = (uint64_t)is->st_size, end = at + length < size ? at + length : size;
    struct note what = {.kind = WRITTEN, .file = is->st_ino, .at = at, .length = length, .old_size = size};
    note_content(fd, what, at, end > at ? end - at : 0);
}

static void note_size(int fd, const struct stat *is, uint64_t to) {
    uint64_t size = (uint64_t)is->st_size;
    struct note what = {.kind = RESIZED, .file = is->st_ino, .at = to, .old_size = size};
    if (to != size) note_content(fd, what, to, to < size ? size - to : 0);
}

/* Keeps a file that is about to lose its name; its inode, or 0 where there is none. */
static uint64_t keep(const char *path) {
    char kept[PATH_MAX];
    struct stat is;
    if (lstat(path, &is) != 0) return 0;
    if (!S_ISREG(is.st_mode)) stop("the name", path);
    snprintf(kept, sizeof kept, "%s/removed/%llu", getenv("POWER_CUT_NOTES"), (unsigned long long)is.st_ino);
    if (syscall(SYS_linkat, AT_FDCWD, path, AT_FDCWD, kept, 0) != 0 && errno != EEXIST) stop("the name", path);
    return is.st_ino;
}

#define LOCKED(call) do { pthread_mutex_lock(&lock); call; pthread_mutex_unlock(&lock); } while (0)
#define NAME_OF(path) (strrchr(path, '/') + 1)

static int open_file(int from, const char *name, int flags, mode_t mode) {
    char path[PATH_MAX];
    uint64_t folder;
    if (!(flags & (O_CREAT | O_TRUNC)) || (flags & O_TMPFILE) == O_TMPFILE || !names_ours(name, path, &folder))
        return (int)syscall(SYS_openat, from, name, flags, mode);
    if (from != AT_FDCWD && name[0] != '/') stop("a relative name", name);
    int fd;
    struct stat is;
    pthread_mutex_lock(&lock);
    int is_there = lstat(path, &is) == 0;
    if (!is_there && (flags & O_CREAT)) note((struct note){.kind = CREATED, .file = folder}, NAME_OF(path), strlen(NAME_OF(path)));
    if (is_there && (flags & O_TRUNC) && !has_ending(path, "-shm")) {
        int there = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
        if (there >= 0) {
            note_size(there, &is, 0);
            syscall(SYS_close, there);
        }
    }
    fd = (int)syscall(SYS_openat, from, name, flags, mode);
    pthread_mutex_unlock(&lock);
    return fd;
}

#define MODE(flags, after) \
    mode_t mode = 0; \
    if (((flags) & O_CREAT) || ((flags) & O_TMPFILE) == O_TMPFILE) { va_list list; va_start(list, after); mode = va_arg(list, mode_t); va_end(list); }

int open(const char *name, int flags, ...) { MODE(flags, flags) return open_file(AT_FDCWD, name, flags, mode); }
int open64(const char *name, int flags, ...) { MODE(flags, flags) return open_file(AT_FDCWD, name, flags, mode); }
int openat(int from, const char *name, int flags, ...) { MODE(flags, flags) return open_file(from, name, flags, mode); }
int openat64(int from, const char *name, int flags, ...) { MODE(flags, flags) return open_file(from, name, flags, mode); }
int creat(const char *name, mode_t mode) { return open_file(AT_FDCWD, name, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *name, mode_t mode) { return open_file(AT_FDCWD, name, O_CREAT | O_WRONLY | O_TRUNC, mode); }

ssize_t writev(int fd, const struct iovec *parts, int count) {
    char path[PATH_MAX];
    struct stat is;
    if (!is_ours(fd, path, &is)) return syscall(SYS_writev, fd, parts, count);
    ssize_t written;
    size_t size = 0;
    for (int part = 0; part < count; part++) size += parts[part].iov_len;
    pthread_mutex_lock(&lock);
    fstat(fd, &is);
    int appends = (int)syscall(SYS_fcntl, fd, F_GETFL) & O_APPEND;
    off_t at = appends ? is.st_size : (off_t)syscall(SYS_lseek, fd, 0, SEEK_CUR);
    note_write(fd, &is, (uint64_t)at, size);
    written = syscall(SYS_writev, fd, parts, count);
    pthread_mutex_unlock(&lock);
    return written;
}

ssize_t write(int fd, const void *bytes, size_t size) {
    struct iovec part = {(void *)bytes, size};
    return writev(fd, &part, 1);
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t at) {
    char path[PATH_MAX];
    struct stat is;
    if (!is_ours(fd, path, &is)) return syscall(SYS_pwrite64, fd, bytes, size, at);
    ssize_t written;
    pthread_mutex_lock(&lock);
    fstat(fd, &is);
    note_write(fd, &is, (uint64_t)at, size);
    written = syscall(SYS_pwrite64, fd, bytes, size, at);
    pthread_mutex_unlock(&lock);
    return written;
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at) { return pwrite64(fd, bytes, size, at); }

int ftruncate64(int fd, off64_t size) {
    char path[PATH_MAX];
    struct stat is;
    if (!is_ours(fd, path, &is)) return (int)syscall(SYS_ftruncate, fd, size);
    int done;
    LOCKED(fstat(fd, &is); note_size(fd, &is, (uint64_t)size); done = (int)syscall(SYS_ftruncate, fd, size));
    return done;
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

int fallocate64(int fd, int mode, off64_t from, off64_t size) {
    char path[PATH_MAX];
    struct stat is;
    if (!is_ours(fd, path, &is)) return (int)syscall(SYS_fallocate, fd, mode, from, size);
    if (mode != 0) stop("a hole", path);
    int done;
    pthread_mutex_lock(&lock);
    fstat(fd, &is);
    if (from + size > is.st_size) note_size(fd, &is, (uint64_t)(from + size));
    done = (int)syscall(SYS_fallocate, fd, mode, from, size);
    pthread_mutex_unlock(&lock);
    return done;
}

int fallocate(int fd, int mode, off_t from, off_t size) { return fallocate64(fd, mode, from, size); }
int posix_fallocate64(int fd, off64_t from, off64_t size) { return fallocate64(fd, 0, from, size) == 0 ? 0 : errno; }
int posix_fallocate(int fd, off_t from, off_t size) { return posix_fallocate64(fd, from, size); }

int fdatasync(int fd) {
    char path[PATH_MAX];
    struct stat is;
    if (!is_ours(fd, path, &is)) return (int)syscall(SYS_fdatasync, fd);
    if (S_ISDIR(is.st_mode)) strcat(path, "/");
    const char *deaf = getenv("POWER_CUT_DEAF"), *micros = getenv("POWER_CUT_MICROS");
    uint64_t before;
    LOCKED(before = notes);
    struct timespec takes = {0, (micros ? atol(micros) : 0) * 1000};
    nanosleep(&takes, NULL);
    struct note what = {.kind = SYNCED, .file = is.st_ino, .at = before};
    if (!deaf || !has_ending(path, deaf)) LOCKED(note(what, "", 0));
    return 0;
}

int fsync(int fd) { return fdatasync(fd); }

int unlink(const char *name) {
    char path[PATH_MAX];
    uint64_t folder;
    if (!names_ours(name, path, &folder)) return (int)syscall(SYS_unlinkat, AT_FDCWD, name, 0);
    int done;
    pthread_mutex_lock(&lock);
    struct note what = {.kind = REMOVED, .file = folder, .other = keep(path)};
    if (what.other) note(what, NAME_OF(path), strlen(NAME_OF(path)));
    done = (int)syscall(SYS_unlinkat, AT_FDCWD, name, 0);
    pthread_mutex_unlock(&lock);
    return done;
}

int remove(const char *name) {
    struct stat is;
    return lstat(name, &is) == 0 && S_ISDIR(is.st_mode) ? rmdir(name) : unlink(name);
}

int rename(const char *from, const char *to) {
    char old[PATH_MAX], new[PATH_MAX], names[2 * NAME_MAX + 2];
    uint64_t old_folder, new_folder;
    int are_ours[2] = {names_ours(from, old, &old_folder), names_ours(to, new, &new_folder)};
    if (!are_ours[0] && !are_ours[1]) return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    if (!are_ours[0] || !are_ours[1] || old_folder != new_folder) stop("a move into another folder", from);
    int done;
    struct stat is;
    pthread_mutex_lock(&lock);
    struct note what = {.kind = RENAMED, .file = new_folder, .other = keep(new)};
    int size = snprintf(names, sizeof names, "%s%c%s", NAME_OF(old), 0, NAME_OF(new));
    if (lstat(old, &is) == 0) note(what, names, (size_t)size);
    done = (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    pthread_mutex_unlock(&lock);
    return done;
}

int mkdir(const char *name, mode_t mode) {
    char path[PATH_MAX];
    uint64_t folder;
    if (!names_ours(name, path, &folder)) return (int)syscall(SYS_mkdirat, AT_FDCWD, name, mode);
    int done;
    struct stat is;
    pthread_mutex_lock(&lock);
    struct note what = {.kind = FOLDER_MADE, .file = folder};
    if (lstat(path, &is) != 0) note(what, NAME_OF(path), strlen(NAME_OF(path)));
    done = (int)syscall(SYS_mkdirat, AT_FDCWD, name, mode);
    pthread_mutex_unlock(&lock);
    return done;
}

/* What isn't known here. */

#define STOP_FOR_FILE(fd, what) do { char path[PATH_MAX]; struct stat is; if (is_ours(fd, path, &is)) stop(what, path); } while (0)
#define STOP_FOR_NAME(name, what) do { char path[PATH_MAX]; uint64_t folder; if (names_ours(name, path, &folder)) stop(what, path); } while (0)

void *mmap64(void *at, size_t size, int protection, int flags, int fd, off64_t from) {
    if (fd >= 0 && (flags & MAP_SHARED) && (protection & PROT_WRITE)) STOP_FOR_FILE(fd, "a shared mapping");
    return (void *)syscall(SYS_mmap, at, size, protection, flags, fd, from);
}

void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t from) {
    return mmap64(at, size, protection, flags, fd, from);
}

ssize_t copy_file_range(int from, off64_t *at, int to, off64_t *there, size_t size, unsigned flags) {
    STOP_FOR_FILE(to, "a copied range");
    return syscall(SYS_copy_file_range, from, at, to, there, size, flags);
}

int truncate64(const char *name, off64_t size) {
    STOP_FOR_NAME(name, "a size by name");
    return (int)syscall(SYS_truncate, name, size);
}

int truncate(const char *name, off_t size) { return truncate64(name, size); }

int link(const char *from, const char *to) {
    STOP_FOR_NAME(to, "a link");
    return (int)syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int linkat(int from, const char *old, int to, const char *new, int flags) {
    STOP_FOR_NAME(new, "a link");
    return (int)syscall(SYS_linkat, from, old, to, new, flags);
}

int symlink(const char *from, const char *to) {
    STOP_FOR_NAME(to, "a link");
    return (int)syscall(SYS_symlinkat, from, AT_FDCWD, to);
}

int rmdir(const char *name) {
    STOP_FOR_NAME(name, "a removed folder");
    return (int)syscall(SYS_unlinkat, AT_FDCWD, name, AT_REMOVEDIR);
}

int unlinkat(int from, const char *name, int flags) {
    STOP_FOR_NAME(name, "the removal");
    return (int)syscall(SYS_unlinkat, from, name, flags);
}

int renameat(int from, const char *old, int to, const char *new) {
    STOP_FOR_NAME(new, "a new name");
    return (int)syscall(SYS_renameat2, from, old, to, new, 0);
}
