/* A disk that refuses one operation, or all from one on: preloaded, and silent until `refuse_operations` is called.

Operations on files below one directory are counted, in all threads of the process together, or those alone whose line
in the log begins with `named`; the N-th, and in the mode `gone` each one after it, fails with the error that was asked
for. Every operation is written to the log as a line `KIND PATH`; the name of the kind is in capital letters where it
was refused. A full or read-only disk still gives what it has: reading and listing fail, and are counted, with EIO only.
*/

#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static char below[PATH_MAX], only[PATH_MAX];
static size_t below_length;
static long wanted;
static int gone, failure, log_file;
static atomic_long seen;

void refuse_operations(const char *directory, const char *named, long number, int stays_gone, int error, int log)
{
    snprintf(only, sizeof only, "%s", named);
    snprintf(below, sizeof below, "%s/", directory);
    wanted = number, gone = stays_gone, failure = error, log_file = log;
    below_length = strlen(below);
}

static int refused(const char *kind, const char *path, int reads)
{
    char line[PATH_MAX + 32];
    if (strncmp(path, below, below_length) || (reads && failure != EIO))
        return 0;
    int length = snprintf(line, sizeof line, "%s %s\n", kind, path + below_length);
    int counts = !strncmp(line, only, strlen(only)) || (gone && seen >= wanted);
    long number = counts ? atomic_fetch_add(&seen, 1) + 1 : 0;
    int refuses = wanted && (number == wanted || (gone && number > wanted));
    for (char *c = line; refuses && *c != ' '; c++)
        *c = toupper(*c);
    syscall(SYS_write, log_file, line, length);
    return refuses;
}

static int refused_file(const char *kind, int file, int reads)
{
    char link[64], path[PATH_MAX];
    if (!below_length)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = syscall(SYS_readlink, link, path, sizeof path - 1);
    if (length <= 0)
        return 0;
    path[length] = 0;
    return refused(kind, path, reads);
}

static int refused_path(const char *kind, int directory, const char *name, int reads)
{
    char link[64], path[2 * PATH_MAX] = "";
    if (!below_length || !name)
        return 0;
    if (name[0] != '/') {
        snprintf(link, sizeof link, directory == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", directory);
        ssize_t length = syscall(SYS_readlink, link, path, PATH_MAX);
        if (length <= 0)
            return 0;
        path[length] = '/', path[length + 1] = 0;
    }
    strncat(path, name, PATH_MAX - 1);
    return refused(kind, path, reads);
}

#define REAL(name) ({ static __typeof__(&name) real; if (!real) real = dlsym(RTLD_NEXT, #name); real; })
#define FAIL(value) do { errno = failure; return value; } while (0)

#define ON_FILE(type, name, kind, reads, parameters, arguments) \
    type name parameters { if (refused_file(kind, file, reads)) FAIL(-1); return REAL(name) arguments; }
#define ON_PATH(name, kind, directory, path, parameters, arguments) \
    int name parameters { if (refused_path(kind, directory, path, 0)) FAIL(-1); return REAL(name) arguments; }

ON_FILE(int, fsync, "fsync", 0, (int file), (file))
ON_FILE(int, fdatasync, "fdatasync", 0, (int file), (file))
ON_FILE(int, fchmod, "chmod", 0, (int file, mode_t mode), (file, mode))
ON_FILE(ssize_t, write, "write", 0, (int file, const void *body, size_t size), (file, body, size))
ON_FILE(ssize_t, writev, "write", 0, (int file, const struct iovec *bodies, int count), (file, bodies, count))
ON_FILE(ssize_t, pwrite, "write", 0, (int file, const void *body, size_t size, off_t at), (file, body, size, at))
ON_FILE(ssize_t, pwrite64, "write", 0, (int file, const void *body, size_t size, off64_t at), (file, body, size, at))
ON_FILE(ssize_t, sendfile64, "write", 0, (int file, int from, off64_t *at, size_t size), (file, from, at, size))
ON_FILE(ssize_t, read, "read", 1, (int file, void *body, size_t size), (file, body, size))
ON_FILE(ssize_t, pread, "read", 1, (int file, void *body, size_t size, off_t at), (file, body, size, at))
ON_FILE(ssize_t, pread64, "read", 1, (int file, void *body, size_t size, off64_t at), (file, body, size, at))
ON_FILE(int, ftruncate, "truncate", 0, (int file, off_t size), (file, size))
ON_FILE(int, ftruncate64, "truncate", 0, (int file, off64_t size), (file, size))
ON_FILE(int, fallocate, "allocate", 0, (int file, int mode, off_t at, off_t size), (file, mode, at, size))

ON_PATH(mkdir, "mkdir", AT_FDCWD, path, (const char *path, mode_t mode), (path, mode))
ON_PATH(mkdirat, "mkdir", directory, path, (int directory, const char *path, mode_t mode), (directory, path, mode))
ON_PATH(unlink, "unlink", AT_FDCWD, path, (const char *path), (path))
ON_PATH(unlinkat, "unlink", directory, path, (int directory, const char *path, int flags), (directory, path, flags))
ON_PATH(rmdir, "rmdir", AT_FDCWD, path, (const char *path), (path))
ON_PATH(chmod, "chmod", AT_FDCWD, path, (const char *path, mode_t mode), (path, mode))
ON_PATH(rename, "rename", AT_FDCWD, to, (const char *from, const char *to), (from, to))
ON_PATH(renameat, "rename", to_directory, to, (int from_directory, const char *from, int to_directory, const char *to),
        (from_directory, from, to_directory, to))
ON_PATH(link, "link", AT_FDCWD, to, (const char *from, const char *to), (from, to))
ON_PATH(linkat, "link", to_directory, to,
        (int from_directory, const char *from, int to_directory, const char *to, int flags),
        (from_directory, from, to_directory, to, flags))

int posix_fallocate64(int file, off64_t at, off64_t size)
{
    return refused_file("allocate", file, 0) ? failure : REAL(posix_fallocate64)(file, at, size);
}

int posix_fallocate(int file, off_t at, off_t size)
{
    return refused_file("allocate", file, 0) ? failure : REAL(posix_fallocate)(file, at, size);
}

DIR *opendir(const char *path)
{
    if (refused_path("list", AT_FDCWD, path, 1))
        FAIL(NULL);
    return REAL(opendir)(path);
}

/* A file that is there can be opened on a full disk, and on one that is read-only for reading. */
static int refused_open(int directory, const char *path, int flags)
{
    int reads = failure == EROFS ? (flags & O_ACCMODE) == O_RDONLY : !(flags & O_CREAT);
    return refused_path(flags & O_CREAT ? "create" : "open", directory, path, reads);
}

#define MODE(flags) ({ mode_t mode = 0; if (flags & (O_CREAT | O_TMPFILE)) { \
    va_list more; va_start(more, flags); mode = va_arg(more, mode_t); va_end(more); } mode; })

#define OPEN(name) int name(const char *path, int flags, ...) \
    { if (refused_open(AT_FDCWD, path, flags)) FAIL(-1); return REAL(name)(path, flags, MODE(flags)); }
#define OPEN_AT(name) int name(int directory, const char *path, int flags, ...) \
    { if (refused_open(directory, path, flags)) FAIL(-1); return REAL(name)(directory, path, flags, MODE(flags)); }

OPEN(open)
OPEN(open64)
OPEN_AT(openat)
OPEN_AT(openat64)
