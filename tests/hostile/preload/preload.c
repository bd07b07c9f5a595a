/*
 * Stands between a program and its disk: records every change of the files in one folder, in order and with the data,
 * and makes chosen calls fail. Loaded with LD_PRELOAD, so that the program under test is the real one.
 *
 * HOSTILE_WATCH  the folder whose files are watched (absolute, no symbolic links)
 * HOSTILE_TRACE  where to append the records; without it nothing is recorded
 * HOSTILE_SYNC   real (default) | pause: a short sleep in place of the sync, so that other threads run inside its window |
 *                ignore: answers 0 and records nothing, as a program that does not sync would behave
 * HOSTILE_FAULT  class:nth:error:once|sticky:file, e.g. write:17:EIO:sticky:wal. Counting starts when the history file
 *                receives a line that holds "fault on" and stops at "fault off".
 *
 * Files are told apart by inode, not by descriptor: descriptors are duplicated, pooled and inherited.
 * A write to *.history is a mark: what the program says it was promised, ordered against what reached the disk.
 * Nothing of -shm and of the side file is recorded: neither means anything after a power cut.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { BIND = 1, WRITE, TRUNCATE, ALLOCATE, SYNC_BEGIN, SYNC_END, SYNC_FAILED, UNLINK, RENAME, FOLDER_SYNC, MARK, MAPPED };
enum file_class { UNWATCHED, DATABASE, WAL, SHARED_MEMORY, SIDE, HISTORY, FOLDER };
enum fault_class { FAULT_NONE, FAULT_WRITE, FAULT_SYNC, FAULT_TRUNCATE, FAULT_ALLOCATE, FAULT_OPEN };
enum { FILES_MAX = 256, PATH_BYTES_MAX = 1024, ERROR_SHORT = -1 };

struct record {
    uint32_t kind, file;
    uint64_t a, b, len;
};

struct watched {
    ino_t inode;
    uint32_t id;
    enum file_class class;
};

static struct {
    pthread_mutex_t lock;
    char folder[PATH_BYTES_MAX];
    size_t folder_len;
    dev_t device;
    ino_t folder_inode;
    int trace;
    enum { SYNC_REAL, SYNC_PAUSE, SYNC_IGNORE } sync;
    uint64_t tickets;
    uint32_t ids;
    size_t count;
    struct watched files[FILES_MAX];
    struct {
        enum fault_class class;
        uint64_t nth, seen;
        int error, sticky, armed, any;
        enum file_class file;
    } fault;
} state = {.lock = PTHREAD_MUTEX_INITIALIZER, .trace = -1};

#define REAL(name, result, ...)                                                                                        \
    static result (*real_##name)(__VA_ARGS__);                                                                         \
    if (!real_##name) *(void **)&real_##name = dlsym(RTLD_NEXT, #name)

static void die(const char *text) {
    ssize_t ignored = write(STDERR_FILENO, text, strlen(text));
    (void)ignored;
    abort();
}

static ssize_t raw_write(int fd, const void *data, size_t len) {
    REAL(write, ssize_t, int, const void *, size_t);
    return real_write(fd, data, len);
}

/* Appends one record. The caller holds the lock, so the order of records is the order of effects. */
static void record(uint32_t kind, uint32_t file, uint64_t a, uint64_t b, const void *data, size_t len) {
    if (state.trace < 0) return;
    struct record head = {kind, file, a, b, len};
    if (raw_write(state.trace, &head, sizeof head) != (ssize_t)sizeof head) die("hostile: the trace cannot be written\n");
    for (size_t done = 0; done < len;) {
        ssize_t part = raw_write(state.trace, (const char *)data + done, len - done);
        if (part <= 0) die("hostile: the trace cannot be written\n");
        done += (size_t)part;
    }
}

static int ends_with(const char *text, const char *end) {
    size_t a = strlen(text), b = strlen(end);
    return a >= b && strcmp(text + a - b, end) == 0;
}

static int error_number(const char *name) {
    if (strcmp(name, "EIO") == 0) return EIO;
    if (strcmp(name, "ENOSPC") == 0) return ENOSPC;
    if (strcmp(name, "SHORT") == 0) return ERROR_SHORT;
    die("hostile: unknown error in HOSTILE_FAULT\n");
    return 0;
}

static void parse_fault(const char *spec) {
    static const char *classes[] = {"none", "write", "sync", "truncate", "allocate", "open"};
    static const char *files[] = {"unwatched", "db", "wal", "shm", "side"};
    char class[16], error[16], repeat[16], file[16];
    unsigned long nth;
    if (sscanf(spec, "%15[^:]:%lu:%15[^:]:%15[^:]:%15s", class, &nth, error, repeat, file) != 5)
        die("hostile: HOSTILE_FAULT does not parse\n");
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (strcmp(class, classes[i]) == 0) state.fault.class = (enum fault_class)i;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (strcmp(file, files[i]) == 0) state.fault.file = (enum file_class)i;
    state.fault.any = strcmp(file, "any") == 0;
    state.fault.nth = nth;
    state.fault.error = error_number(error);
    state.fault.sticky = strcmp(repeat, "sticky") == 0;
}

__attribute__((constructor)) static void start(void) {
    const char *folder = getenv("HOSTILE_WATCH"), *trace = getenv("HOSTILE_TRACE"), *sync = getenv("HOSTILE_SYNC");
    if (!folder) return;
    struct stat about;
    if (stat(folder, &about) != 0 || strlen(folder) >= PATH_BYTES_MAX) die("hostile: HOSTILE_WATCH is no folder\n");
    strcpy(state.folder, folder);
    state.device = about.st_dev;
    state.folder_inode = about.st_ino;
    if (sync && strcmp(sync, "pause") == 0) state.sync = SYNC_PAUSE;
    if (sync && strcmp(sync, "ignore") == 0) state.sync = SYNC_IGNORE;
    if (getenv("HOSTILE_FAULT")) parse_fault(getenv("HOSTILE_FAULT"));
    REAL(open, int, const char *, int, ...);
    if (trace && (state.trace = real_open(trace, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) < 0)
        die("hostile: HOSTILE_TRACE cannot be created\n");
    /* Last: every other call looks at this first. */
    state.folder_len = strlen(folder);
}

/* The name of a path inside the watched folder, or NULL. */
static const char *watched_name(int at, const char *path) {
    if (!state.folder_len || !path) return NULL;
    if (path[0] != '/' && at != AT_FDCWD) return NULL;
    if (strncmp(path, state.folder, state.folder_len) != 0 || path[state.folder_len] != '/') return NULL;
    const char *name = path + state.folder_len + 1;
    return strchr(name, '/') || !*name ? NULL : name;
}

static enum file_class class_of(const char *name) {
    if (ends_with(name, ".history")) return HISTORY;
    if (ends_with(name, "-shm")) return SHARED_MEMORY;
    if (ends_with(name, "-onceward")) return SIDE;
    if (ends_with(name, "-wal")) return WAL;
    return DATABASE;
}

static struct watched *by_inode(ino_t inode) {
    for (size_t i = 0; i < state.count; i++)
        if (state.files[i].inode == inode) return &state.files[i];
    return NULL;
}

static void forget(size_t index) {
    state.files[index] = state.files[--state.count];
}

/* A file of the folder was opened: gives it an id when its inode is new. The caller holds the lock. */
static void bind(int fd, const char *name) {
    struct stat about;
    if (fstat(fd, &about) != 0 || about.st_dev != state.device || by_inode(about.st_ino)) return;
    if (state.count == FILES_MAX) die("hostile: too many files\n");
    struct watched *file = &state.files[state.count++];
    *file = (struct watched){about.st_ino, ++state.ids, class_of(name)};
    if (file->class == DATABASE || file->class == WAL)
        record(BIND, file->id, (uint64_t)about.st_size, 0, name, strlen(name));
}

static struct watched *by_descriptor(int fd) {
    static struct watched folder = {.class = FOLDER};
    struct stat about;
    if (!state.folder_len || fstat(fd, &about) != 0 || about.st_dev != state.device) return NULL;
    if (about.st_ino == state.folder_inode) return &folder;
    return by_inode(about.st_ino);
}

static int recorded(const struct watched *file) {
    return file && (file->class == DATABASE || file->class == WAL);
}

/* Whether this call is the one that fails. The caller holds the lock. */
static int fault_hits(enum fault_class class, const struct watched *file) {
    if (!state.fault.armed || state.fault.class != class || !file || file->class == HISTORY) return 0;
    if (!state.fault.any && file->class != state.fault.file) return 0;
    state.fault.seen++;
    return state.fault.sticky ? state.fault.seen >= state.fault.nth : state.fault.seen == state.fault.nth;
}

static void note_mark(const void *data, size_t len) {
    if (memmem(data, len, "fault on", 8)) state.fault.armed = 1, state.fault.seen = 0;
    if (memmem(data, len, "fault off", 9)) state.fault.armed = 0;
    record(MARK, 0, 0, 0, data, len);
}

static ssize_t positioned(int fd, const void *data, size_t len, off_t at) {
    REAL(pwrite64, ssize_t, int, const void *, size_t, off_t);
    return real_pwrite64(fd, data, len, at);
}

/* One write, at `at` or (negative) at the position of the descriptor. */
static ssize_t watched_write(int fd, const void *data, size_t len, off_t at) {
    if (!state.folder_len || fd == state.trace) return at < 0 ? raw_write(fd, data, len) : positioned(fd, data, len, at);
    pthread_mutex_lock(&state.lock);
    struct watched *file = by_descriptor(fd);
    ssize_t done = 0;
    int error = 0;
    if (fault_hits(FAULT_WRITE, file)) {
        /* A short write is half a write first; the disk is full for the rest of it. */
        if (state.fault.error == ERROR_SHORT && len > 1 && (!state.fault.sticky || state.fault.seen == state.fault.nth))
            len /= 2;
        else
            error = state.fault.error == ERROR_SHORT ? ENOSPC : state.fault.error;
    }
    if (!error) {
        off_t from = at < 0 ? lseek(fd, 0, SEEK_CUR) : at;
        if (at < 0 && recorded(file) && (fcntl(fd, F_GETFL) & O_APPEND)) from = lseek(fd, 0, SEEK_END);
        done = at < 0 ? raw_write(fd, data, len) : positioned(fd, data, len, at);
        error = done < 0 ? errno : 0;
        if (done > 0 && recorded(file)) record(WRITE, file->id, (uint64_t)from, 0, data, (size_t)done);
        if (done > 0 && file && file->class == HISTORY) note_mark(data, (size_t)done);
    }
    pthread_mutex_unlock(&state.lock);
    if (error) errno = error, done = -1;
    return done;
}

ssize_t write(int fd, const void *data, size_t len) { return watched_write(fd, data, len, -1); }
ssize_t pwrite(int fd, const void *data, size_t len, off_t at) { return watched_write(fd, data, len, at); }
ssize_t pwrite64(int fd, const void *data, size_t len, off64_t at) { return watched_write(fd, data, len, at); }

/* Vectors become single writes: callers must expect a short count anyway. */
static ssize_t watched_vector(int fd, const struct iovec *parts, int count, off_t at) {
    ssize_t total = 0;
    for (int i = 0; i < count; i++) {
        if (!parts[i].iov_len) continue;
        ssize_t done = watched_write(fd, parts[i].iov_base, parts[i].iov_len, at < 0 ? at : at + total);
        if (done < 0) return total ? total : -1;
        total += done;
        if ((size_t)done < parts[i].iov_len) break;
    }
    return total;
}

ssize_t writev(int fd, const struct iovec *parts, int count) { return watched_vector(fd, parts, count, -1); }
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) { return watched_vector(fd, parts, count, at); }
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at) {
    return watched_vector(fd, parts, count, at);
}

static int watched_truncate(int fd, off_t size) {
    REAL(ftruncate64, int, int, off_t);
    if (!state.folder_len) return real_ftruncate64(fd, size);
    pthread_mutex_lock(&state.lock);
    struct watched *file = by_descriptor(fd);
    int result = -1, error = EIO;
    if (!fault_hits(FAULT_TRUNCATE, file)) {
        result = real_ftruncate64(fd, size);
        error = errno;
        if (result == 0 && recorded(file)) record(TRUNCATE, file->id, (uint64_t)size, 0, NULL, 0);
    }
    pthread_mutex_unlock(&state.lock);
    errno = error;
    return result;
}

int ftruncate(int fd, off_t size) { return watched_truncate(fd, size); }
int ftruncate64(int fd, off64_t size) { return watched_truncate(fd, size); }

static int watched_allocate(int fd, int mode, off_t at, off_t len) {
    REAL(fallocate64, int, int, int, off_t, off_t);
    if (!state.folder_len) return real_fallocate64(fd, mode, at, len);
    pthread_mutex_lock(&state.lock);
    struct watched *file = by_descriptor(fd);
    int result = -1, error = state.fault.error == EIO ? EIO : ENOSPC;
    if (!fault_hits(FAULT_ALLOCATE, file)) {
        result = real_fallocate64(fd, mode, at, len);
        error = errno;
        if (result == 0 && recorded(file)) {
            if (mode & ~FALLOC_FL_KEEP_SIZE) die("hostile: this mode of fallocate is not modelled\n");
            if (!mode) record(ALLOCATE, file->id, (uint64_t)at, (uint64_t)len, NULL, 0);
        }
    }
    pthread_mutex_unlock(&state.lock);
    errno = error;
    return result;
}

int fallocate(int fd, int mode, off_t at, off_t len) { return watched_allocate(fd, mode, at, len); }
int fallocate64(int fd, int mode, off64_t at, off64_t len) { return watched_allocate(fd, mode, at, len); }
int posix_fallocate(int fd, off_t at, off_t len) { return watched_allocate(fd, 0, at, len) == 0 ? 0 : errno; }
int posix_fallocate64(int fd, off64_t at, off64_t len) { return watched_allocate(fd, 0, at, len) == 0 ? 0 : errno; }

/* A sync covers what was written before it began, and counts once it returned. The lock is not held in between:
 * other threads must be able to write into that window, as they do in life. */
static int watched_sync(int fd, int data_only) {
    REAL(fdatasync, int, int);
    REAL(fsync, int, int);
    if (!state.folder_len) return data_only ? real_fdatasync(fd) : real_fsync(fd);
    pthread_mutex_lock(&state.lock);
    struct watched *file = by_descriptor(fd);
    uint32_t id = file ? file->id : 0;
    int folder = file && file->class == FOLDER, known = recorded(file);
    uint64_t ticket = ++state.tickets;
    int fails = fault_hits(FAULT_SYNC, file);
    int ignored = state.sync == SYNC_IGNORE && (known || folder);
    if (known && !ignored) record(SYNC_BEGIN, id, ticket, 0, NULL, 0);
    pthread_mutex_unlock(&state.lock);
    if (ignored && !fails) return 0;

    int result = 0, error = fails ? state.fault.error : 0;
    if (state.sync == SYNC_PAUSE && known) {
        struct timespec pause = {0, 50000 + (long)(ticket % 7) * 100000};
        nanosleep(&pause, NULL);
    } else if (!fails) {
        result = data_only ? real_fdatasync(fd) : real_fsync(fd);
        error = errno;
    }
    if (fails) result = -1;
    pthread_mutex_lock(&state.lock);
    if (known) record(result == 0 ? SYNC_END : SYNC_FAILED, id, ticket, 0, NULL, 0);
    if (folder && result == 0) record(FOLDER_SYNC, 0, 0, 0, NULL, 0);
    pthread_mutex_unlock(&state.lock);
    errno = error;
    return result;
}

int fdatasync(int fd) { return watched_sync(fd, 1); }
int fsync(int fd) { return watched_sync(fd, 0); }

static int watched_open(int at, const char *path, int flags, mode_t mode) {
    REAL(openat64, int, int, const char *, int, ...);
    const char *name = watched_name(at, path);
    if (!name) return real_openat64(at, path, flags, mode);
    pthread_mutex_lock(&state.lock);
    struct watched pretended = {.class = class_of(name)};
    int fd = -1, error = state.fault.error;
    if (!(flags & O_CREAT) || !fault_hits(FAULT_OPEN, &pretended)) {
        fd = real_openat64(at, path, flags, mode);
        error = errno;
        struct stat about;
        if (fd >= 0) bind(fd, name);
        struct watched *file = fd >= 0 ? by_descriptor(fd) : NULL;
        if (recorded(file) && (flags & O_TRUNC) && fstat(fd, &about) == 0)
            record(TRUNCATE, file->id, 0, 0, NULL, 0);
    }
    pthread_mutex_unlock(&state.lock);
    errno = error;
    return fd;
}

#define OPEN_BODY(at, path, flags)                                                                                     \
    mode_t mode = 0;                                                                                                   \
    if ((flags) & (O_CREAT | O_TMPFILE)) {                                                                             \
        va_list arguments;                                                                                             \
        va_start(arguments, flags);                                                                                    \
        mode = va_arg(arguments, mode_t);                                                                              \
        va_end(arguments);                                                                                             \
    }                                                                                                                  \
    return watched_open(at, path, flags, mode)

int open(const char *path, int flags, ...) { OPEN_BODY(AT_FDCWD, path, flags); }
int open64(const char *path, int flags, ...) { OPEN_BODY(AT_FDCWD, path, flags); }
int openat(int at, const char *path, int flags, ...) { OPEN_BODY(at, path, flags); }
int openat64(int at, const char *path, int flags, ...) { OPEN_BODY(at, path, flags); }

static int watched_unlink(int at, const char *path, int flags) {
    REAL(unlinkat, int, int, const char *, int);
    const char *name = watched_name(at, path);
    if (!name) return real_unlinkat(at, path, flags);
    pthread_mutex_lock(&state.lock);
    struct stat about;
    int known = lstat(path, &about) == 0;
    int result = real_unlinkat(at, path, flags), error = errno;
    for (size_t i = 0; result == 0 && known && i < state.count; i++) {
        if (state.files[i].inode != about.st_ino) continue;
        if (recorded(&state.files[i])) record(UNLINK, state.files[i].id, 0, 0, name, strlen(name));
        /* Its number may be given to the next file; writes through descriptors still open no longer matter. */
        forget(i);
        break;
    }
    pthread_mutex_unlock(&state.lock);
    errno = error;
    return result;
}

int unlink(const char *path) { return watched_unlink(AT_FDCWD, path, 0); }
int unlinkat(int at, const char *path, int flags) { return watched_unlink(at, path, flags); }

int rename(const char *from, const char *to) {
    REAL(rename, int, const char *, const char *);
    const char *a = watched_name(AT_FDCWD, from), *b = watched_name(AT_FDCWD, to);
    if ((a && class_of(a) <= WAL) || (b && class_of(b) <= WAL)) die("hostile: renaming a database is not modelled\n");
    return real_rename(from, to);
}

/* A shared, writable map of a recorded file would change it behind our back. */
static void *watched_map(void *at, size_t len, int protection, int flags, int fd, off_t from) {
    REAL(mmap64, void *, void *, size_t, int, int, int, off_t);
    if (state.folder_len && fd >= 0 && (flags & MAP_SHARED) && (protection & PROT_WRITE)) {
        pthread_mutex_lock(&state.lock);
        struct watched *file = by_descriptor(fd);
        if (recorded(file)) record(MAPPED, file->id, 0, 0, NULL, 0);
        pthread_mutex_unlock(&state.lock);
    }
    return real_mmap64(at, len, protection, flags, fd, from);
}

void *mmap(void *at, size_t len, int protection, int flags, int fd, off_t from) {
    return watched_map(at, len, protection, flags, fd, from);
}
void *mmap64(void *at, size_t len, int protection, int flags, int fd, off64_t from) {
    return watched_map(at, len, protection, flags, fd, from);
}
