/* Below SQLite: writes down what a process does to the files of a database, and can play a disk that is full.
   LD_PRELOAD=this POWER_CUT_LOG=log POWER_CUT_FILES=part-of-path [POWER_CUT_FULL=bytes]
   A record: kind, length of the path, offset, length of the data (native int64 each), path, data. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <stdio.h>
#include <unistd.h>
#include <sys/types.h>

enum { WRITE = 1, TRUNCATE = 2, SYNC = 3, REMOVE = 4 };
static int log_fd = -1;
static int64_t written, full = -1;
static ssize_t (*real_write)(int, const void *, size_t);

__attribute__((constructor)) static void begin(void) {
  real_write = dlsym(RTLD_NEXT, "write");
  const char *name = getenv("POWER_CUT_LOG"), *limit = getenv("POWER_CUT_FULL");
  if (name) log_fd = open(name, O_WRONLY | O_CREAT | O_APPEND, 0600);
  if (limit) full = atoll(limit);
}

static int path_of(int fd, char *path, size_t size) {
  const char *part = getenv("POWER_CUT_FILES");
  char link[64];
  if (fd < 3 || fd == log_fd || !part) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, path, size - 1);
  if (n < 0) return 0;
  path[n] = 0;
  return strstr(path, part) != NULL && !strstr(path, "-shm");
}

static void note(int64_t kind, const char *path, int64_t offset, const void *data, int64_t size) {
  int64_t head[4] = {kind, (int64_t)strlen(path), offset, size};
  if (log_fd < 0) return;
  real_write(log_fd, head, sizeof head);
  real_write(log_fd, path, strlen(path));
  if (size) real_write(log_fd, data, size);
}

static int no_room(size_t size) {
  if (full < 0) return 0;
  if (written + (int64_t)size > full) { errno = ENOSPC; return 1; }
  written += size;
  return 0;
}

static ssize_t put_at(const char *symbol, int fd, const void *data, size_t size, off64_t at) {
  ssize_t (*real)(int, const void *, size_t, off64_t) = dlsym(RTLD_NEXT, symbol);
  char path[4096];
  if (!path_of(fd, path, sizeof path)) return real(fd, data, size, at);
  if (no_room(size)) return -1;
  note(WRITE, path, at, data, size);
  return real(fd, data, size, at);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { return put_at("pwrite", fd, data, size, at); }
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) { return put_at("pwrite64", fd, data, size, at); }

ssize_t write(int fd, const void *data, size_t size) {
  char path[4096];
  if (path_of(fd, path, sizeof path)) {
    if (no_room(size)) return -1;
    note(WRITE, path, lseek(fd, 0, SEEK_CUR), data, size);
  }
  return real_write(fd, data, size);
}

static int cut(const char *symbol, int fd, off64_t size) {
  int (*real)(int, off64_t) = dlsym(RTLD_NEXT, symbol);
  char path[4096];
  if (path_of(fd, path, sizeof path)) note(TRUNCATE, path, size, NULL, 0);
  return real(fd, size);
}

int ftruncate(int fd, off_t size) { return cut("ftruncate", fd, size); }
int ftruncate64(int fd, off64_t size) { return cut("ftruncate64", fd, size); }

static int sync_it(const char *symbol, int fd) {
  int (*real)(int) = dlsym(RTLD_NEXT, symbol);
  char path[4096];
  int done = real(fd);
  if (done == 0 && path_of(fd, path, sizeof path)) note(SYNC, path, 0, NULL, 0);
  return done;
}

int fsync(int fd) { return sync_it("fsync", fd); }
int fdatasync(int fd) { return sync_it("fdatasync", fd); }

int unlink(const char *path) {
  int (*real)(const char *) = dlsym(RTLD_NEXT, "unlink");
  const char *part = getenv("POWER_CUT_FILES");
  int done = real(path);
  if (done == 0 && part && strstr(path, part)) note(REMOVE, path, 0, NULL, 0);
  return done;
}
