// System calls that Swift cannot call itself: variadic ones, those without a glibc wrapper on the oldest glibc we
// support (2.34), and constants that are macros. Each function is a thin wrapper: result −1 and errno as in section 2.
#pragma once
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

// malloc_trim(3): gives every whole free page of the heap back to the system.
static inline int muster_give_memory_back(void) { return malloc_trim(0); }

// prctl(2): orphans of this process's descendants become its children instead of init's.
static inline int muster_become_subreaper(void) { return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); }

// prctl(2): no core dumps, no ptrace by others of the same user.
static inline int muster_forbid_dumps(void) { return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); }

// pidfd_open(2); the descriptor is close-on-exec by definition.
static inline int muster_pidfd_open(pid_t pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }

// pidfd_send_signal(2): reaches exactly the process the descriptor was opened for, never a later one of that number.
static inline int muster_pidfd_send_signal(int pidfd, int number) {
    return (int)syscall(SYS_pidfd_send_signal, pidfd, number, NULL, 0);
}

// waitid(2) on a pidfd: 1 when the process was our child and is reaped now, 0 when it still runs, −1 with errno
// (ECHILD: not our child). *status is the exit status, or 128 + signal.
static inline int muster_reap_pidfd(int pidfd, int *status) {
    siginfo_t info = {0};
    if (waitid((idtype_t)3 /* P_PIDFD */, (id_t)pidfd, &info, WEXITED | WNOHANG) != 0) return -1;
    if (info.si_pid == 0) return 0;
    *status = info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
    return 1;
}

static inline int muster_open(const char *path, int flags, mode_t mode) { return open(path, flags | O_CLOEXEC, mode); }

static inline int muster_openat(int directory, const char *name, int flags, mode_t mode) {
    return openat(directory, name, flags | O_CLOEXEC, mode);
}

static inline int muster_set_nonblocking(int fd) {
    int flags = fcntl(fd, F_GETFL);
    return flags < 0 ? -1 : fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

// flock(2), without waiting.
static inline int muster_lock_exclusively(int fd) { return flock(fd, LOCK_EX | LOCK_NB); }
static inline int muster_lock_shared(int fd) { return flock(fd, LOCK_SH | LOCK_NB); }
static inline int muster_unlock(int fd) { return flock(fd, LOCK_UN); }

// A child of posix_spawn(3) starts with a session of its own, the given signal mask and default dispositions.
static inline int muster_spawn_attributes(posix_spawnattr_t *attributes, const sigset_t *mask) {
    sigset_t all;
    sigfillset(&all);
    sigdelset(&all, SIGKILL);
    sigdelset(&all, SIGSTOP);
    int result = posix_spawnattr_setsigmask(attributes, mask);
    if (result == 0) result = posix_spawnattr_setsigdefault(attributes, &all);
    if (result == 0)
        result = posix_spawnattr_setflags(
            attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | 0x80 /* POSIX_SPAWN_SETSID, needs _GNU_SOURCE */);
    return result;
}

static inline mode_t muster_file_type(mode_t mode) { return mode & S_IFMT; }

// signalfd(2): the blocked signals arrive as readable records.
static inline int muster_signalfd(const sigset_t *mask) { return signalfd(-1, mask, SFD_CLOEXEC | SFD_NONBLOCK); }

// epoll(7): awaits descriptors that an event loop does not know, such as pidfds. Each is reported once.
static inline int muster_epoll_create(void) { return epoll_create1(EPOLL_CLOEXEC); }

static inline int muster_epoll_add(int epoll, int fd, uint64_t token) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data = {.u64 = token}};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

static inline int muster_epoll_remove(int epoll, int fd) { return epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL); }

// 1 and the token of a ready descriptor, 0 when there is none now.
static inline int muster_epoll_next(int epoll, uint64_t *token) {
    struct epoll_event event;
    int count;
    do count = epoll_wait(epoll, &event, 1, 0);
    while (count < 0 && errno == EINTR);
    if (count == 1) *token = event.data.u64;
    return count;
}

// Declared by glibc only with _GNU_SOURCE, which a module map cannot set.
extern int posix_spawn_file_actions_addclosefrom_np(posix_spawn_file_actions_t *, int);

static inline int muster_spawn_close_from(posix_spawn_file_actions_t *actions, int lowest) {
    return posix_spawn_file_actions_addclosefrom_np(actions, lowest);
}

// pipe2(2), close-on-exec.
static inline int muster_pipe(int ends[2]) { return (int)syscall(SYS_pipe2, ends, O_CLOEXEC); }

// clone3(2) with CLONE_INTO_CGROUP, and then as posix_spawn(3) with the attributes above: a session of its own, no blocked signals,
// default dispositions, /dev/null as input, the two descriptors as output, no others. To move a process into a group afterwards would
// stop all forks of the host for some milliseconds. For a process with one thread. Returns the process, with *failure 0; or −1 with
// errno, when none was made; or 0, when the program could not be executed, with the cause in *failure.
static inline pid_t muster_spawn_into_cgroup(
    int cgroup, const char *program, char *const arguments[], char *const environment[], int output, int error, int *failure) {
    struct {
        uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
    } order = {.flags = 0x200000000ULL /* CLONE_INTO_CGROUP */, .exit_signal = SIGCHLD, .cgroup = (uint64_t)cgroup};
    int ends[2];
    *failure = 0;
    if (muster_pipe(ends) != 0) return -1;
    pid_t pid = (pid_t)syscall(435 /* SYS_clone3 */, &order, sizeof order);
    if (pid == 0) {
        for (int number = 1; number < 65; number++) signal(number, SIG_DFL);
        sigset_t none;
        sigemptyset(&none);
        int input = open("/dev/null", O_RDONLY);
        if (input >= 0 && setsid() >= 0 && dup2(input, 0) == 0 && dup2(output, 1) == 1 && dup2(error, 2) == 2 &&
            syscall(436 /* SYS_close_range */, 3U, ~0U, 4U /* CLOSE_RANGE_CLOEXEC */) == 0 &&
            sigprocmask(SIG_SETMASK, &none, NULL) == 0)
            execve(program, arguments, environment);
        int cause = errno;
        if (write(ends[1], &cause, sizeof cause) < 0) _exit(126);
        _exit(127);
    }
    int cause = errno;
    close(ends[1]);
    if (pid > 0) {
        ssize_t got;
        do got = read(ends[0], &cause, sizeof cause);
        while (got < 0 && errno == EINTR);
        if (got == (ssize_t)sizeof cause) {
            while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {}
            *failure = cause;
            pid = 0;
        }
    }
    close(ends[0]);
    errno = cause;
    return pid;
}

static inline ssize_t muster_getxattr(const char *path, const char *name, void *value, size_t size) {
    return getxattr(path, name, value, size);
}

// ioctl_tty(2): columns and rows of the terminal behind a descriptor; −1 when there is none or it does not say.
static inline int muster_terminal_size(int fd, int *columns, int *rows) {
    struct winsize size = {0};
    if (ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return -1;
    *columns = size.ws_col;
    *rows = size.ws_row;
    return 0;
}
