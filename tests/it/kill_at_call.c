// Preloaded into the program by the crash tests: kills it with SIGKILL at the Nth call of one kind that changes files,
// counted over all threads. TIDEMILL_KILL_AT=write:17 says which; TIDEMILL_CALLS_FILE=path has all kinds counted
// instead. Every second write that kills has written half of its bytes before, as a machine that stops might.
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { WRITE, FSYNC, FDATASYNC, RENAME, UNLINK, LINK, MKDIR, TRUNCATE, KINDS };
static const char *const names[KINDS] = {"write", "fsync", "fdatasync", "rename", "unlink", "link", "mkdir", "truncate"};

static atomic_long calls[KINDS];
static int deadly_kind = -1;
static long deadly_call;

__attribute__((constructor)) static void begin(void) {
  const char *at = getenv("TIDEMILL_KILL_AT");
  const char *colon = at ? strchr(at, ':') : NULL;
  for (int kind = 0; colon && kind < KINDS; kind++) {
    if (strlen(names[kind]) == (size_t)(colon - at) && strncmp(names[kind], at, colon - at) == 0) {
      deadly_kind = kind;
      deadly_call = atol(colon + 1);
    }
  }
}

__attribute__((destructor)) static void end(void) {
  const char *path = getenv("TIDEMILL_CALLS_FILE");
  FILE *file = path ? fopen(path, "w") : NULL;
  for (int kind = 0; file && kind < KINDS; kind++) fprintf(file, "%s %ld\n", names[kind], atomic_load(&calls[kind]));
  if (file) fclose(file);
}

static int is_deadly(enum kind kind) {
  return atomic_fetch_add(&calls[kind], 1) + 1 == deadly_call && (int)kind == deadly_kind;
}

static void die(void) {
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

static void reach(enum kind kind) {
  if (is_deadly(kind)) die();
}

// Terminals, pipes and sockets hold nothing that a restart could find.
static int is_file(int fd) {
  struct stat status;
  return fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
}

static void reach_write(int fd, const void *bytes, size_t length, off_t offset) {
  if (!is_file(fd) || !is_deadly(WRITE)) return;
  if (deadly_call % 2 == 0 && offset < 0) syscall(SYS_write, fd, bytes, length / 2);
  if (deadly_call % 2 == 0 && offset >= 0) syscall(SYS_pwrite64, fd, bytes, length / 2, offset);
  die();
}

ssize_t write(int fd, const void *bytes, size_t length) {
  reach_write(fd, bytes, length, -1);
  return syscall(SYS_write, fd, bytes, length);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) {
  reach_write(fd, bytes, length, offset);
  return syscall(SYS_pwrite64, fd, bytes, length, offset);
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) { return pwrite64(fd, bytes, length, offset); }

ssize_t writev(int fd, const struct iovec *parts, int count) {
  if (count > 0) reach_write(fd, parts[0].iov_base, parts[0].iov_len, -1);
  return syscall(SYS_writev, fd, parts, count);
}

int fsync(int fd) {
  reach(FSYNC);
  return syscall(SYS_fsync, fd);
}

int fdatasync(int fd) {
  reach(FDATASYNC);
  return syscall(SYS_fdatasync, fd);
}

int renameat(int from_folder, const char *from, int to_folder, const char *to) {
  reach(RENAME);
  return syscall(SYS_renameat2, from_folder, from, to_folder, to, 0);
}

int rename(const char *from, const char *to) { return renameat(AT_FDCWD, from, AT_FDCWD, to); }

int unlinkat(int folder, const char *path, int flags) {
  reach(UNLINK);
  return syscall(SYS_unlinkat, folder, path, flags);
}

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }

int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags) {
  reach(LINK);
  return syscall(SYS_linkat, from_folder, from, to_folder, to, flags);
}

int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }

int mkdirat(int folder, const char *path, mode_t mode) {
  reach(MKDIR);
  return syscall(SYS_mkdirat, folder, path, mode);
}

int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

int ftruncate64(int fd, off64_t length) {
  reach(TRUNCATE);
  return syscall(SYS_ftruncate, fd, length);
}

int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }
