// System calls that Swift cannot call itself: variadic ones, those without a glibc wrapper on the oldest glibc we
// support (2.34), and constants that are macros. Each function is a thin wrapper: result −1 and errno as in section 2.
#pragma once
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <grp.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

// malloc_trim(3): gives every whole free page of the heap back to the system.
static inline int muster_give_memory_back(void) { return malloc_trim(0); }

// prctl(2): orphans of this process's descendants become its children instead of init's.
static inline int muster_become_subreaper(void) { return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); }

// prctl(2): no core dumps, no ptrace by others of the same user. For this program only: exec ends it.
static inline int muster_forbid_dumps(void) { return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); }

// setrlimit(2): likewise, where it can be seen from outside. What is started from here inherits it and may raise it again.
static inline int muster_limit_dumps(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_CORE, &limit) != 0) return -1;
    limit.rlim_cur = 0;
    return setrlimit(RLIMIT_CORE, &limit);
}

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

// Two names of one folder change places (renameat2(2), RENAME_EXCHANGE): no moment without either, and nothing new to be stored.
static inline int muster_exchange(int directory, const char *name, const char *other) {
    return (int)syscall(SYS_renameat2, directory, name, directory, other, 2U);
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

// fork(2), which Swift hides because most programs have threads. For a process that has only one.
static inline pid_t muster_fork(void) { return fork(); }

// ioctl_tty(2): a new terminal pair, without becoming anybody's controlling terminal. The slave is opened by the master's
// own descriptor (TIOCGPTPEER), so no name in /dev/pts is trusted.
static inline int muster_open_terminal(int *master, int *slave) {
    int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (fd < 0) return -1;
    int peer = -1;
    if (grantpt(fd) == 0 && unlockpt(fd) == 0) peer = ioctl(fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (peer < 0) {
        int cause = errno;
        close(fd);
        errno = cause;
        return -1;
    }
    *master = fd;
    *slave = peer;
    return 0;
}

// ioctl_tty(2): the terminal becomes the controlling one of this session, whose leader calls.
static inline int muster_take_terminal(int fd) { return ioctl(fd, TIOCSCTTY, 0); }

// ioctl_tty(2): the kernel tells the foreground group with SIGWINCH.
static inline int muster_set_terminal_size(int fd, int columns, int rows) {
    struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns};
    return ioctl(fd, TIOCSWINSZ, &size);
}

// socketpair(2): a connected pair, close-on-exec; of sequenced packets when records are kept apart.
static inline int muster_socket_pair(int ends[2], int packets) {
    return socketpair(AF_UNIX, (packets ? SOCK_SEQPACKET : SOCK_STREAM) | SOCK_CLOEXEC, 0, ends);
}

// unix(7): one byte with up to four descriptors. Does not wait.
static inline int muster_send_descriptors(int socket, const int *descriptors, int count) {
    char byte = 0, control[CMSG_SPACE(4 * sizeof(int))] = {0};
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_SPACE(count * sizeof(int))};
    if (count < 1 || count > 4) return errno = EINVAL, -1;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(count * sizeof(int));
    __builtin_memcpy(CMSG_DATA(header), descriptors, count * sizeof(int));
    return sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -1 : 0;
}

// unix(7): the number of descriptors (up to four, close-on-exec) that came with one byte; 0 at the end, -1 with errno. Waits.
static inline int muster_receive_descriptors(int socket, int *descriptors) {
    char byte, control[CMSG_SPACE(4 * sizeof(int))];
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t got;
    do got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got <= 0) return (int)got;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (!header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) return errno = EBADMSG, -1;
    int count = (int)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    __builtin_memcpy(descriptors, CMSG_DATA(header), count * sizeof(int));
    return count;
}

// initgroups(3) is hidden without _DEFAULT_SOURCE in some module set-ups.
static inline int muster_init_groups(const char *user, gid_t group) { return initgroups(user, group); }

// _exit(2), for a child that has not executed anything: no handlers of its parent run.
static inline void muster_exit_now(int status) { _exit(status); }

// execvp(3) with an environment: the program is looked for in the PATH of that environment. Returns only when it fails.
extern char **environ;
static inline int muster_execute(const char *file, char *const *arguments, char **variables) {
    environ = variables;
    return execvp(file, arguments);
}

// For a child between fork(2) and exec(2): no signal is blocked, ignored or caught any more.
static inline void muster_reset_signals(void) {
    for (int number = 1; number < 65; number++) signal(number, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

// socket(7): how long a read waits.
static inline int muster_set_receive_timeout(int socket, int seconds) {
    struct timeval limit = {.tv_sec = seconds};
    return setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
}

// unix(7), connect(2): a stream to a listening socket in the file system; -1 with errno.
static inline int muster_connect_path(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = __builtin_strlen(path);
    if (length == 0 || length >= sizeof address.sun_path) return errno = ENAMETOOLONG, -1;
    __builtin_memcpy(address.sun_path, path, length + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        int cause = errno;
        close(fd);
        errno = cause;
        return -1;
    }
    return fd;
}

// The same for a socket of our own, which nobody but this user can connect to: the folder is private.
static inline int muster_listen_path(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = __builtin_strlen(path);
    if (length == 0 || length >= sizeof address.sun_path) return errno = ENAMETOOLONG, -1;
    __builtin_memcpy(address.sun_path, path, length + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || chmod(path, 0600) != 0 || listen(fd, 16) != 0) {
        int cause = errno;
        close(fd);
        errno = cause;
        return -1;
    }
    return fd;
}

// setresgid(2), setresuid(2): all three ids for good. 0, or -1 with errno; also when a way back was left open.
extern int setresuid(uid_t, uid_t, uid_t);
extern int setresgid(gid_t, gid_t, gid_t);
extern int getresuid(uid_t *, uid_t *, uid_t *);
extern int getresgid(gid_t *, gid_t *, gid_t *);
static inline int muster_become(uid_t user, gid_t group) {
    uid_t users[3];
    gid_t groups[3];
    if (setresgid(group, group, group) != 0 || setresuid(user, user, user) != 0) return -1;
    if (getresuid(&users[0], &users[1], &users[2]) != 0 || getresgid(&groups[0], &groups[1], &groups[2]) != 0) return -1;
    for (int i = 0; i < 3; i++)
        if (users[i] != user || groups[i] != group) return errno = EPERM, -1;
    if (user != 0 && (setuid(0) == 0 || seteuid(0) == 0)) return errno = EPERM, -1;
    return 0;
}

// fcntl(2): a second descriptor for the same, close-on-exec.
static inline int muster_duplicate(int fd) { return fcntl(fd, F_DUPFD_CLOEXEC, 3); }

// syncfs(2): everything written to the file system of a descriptor is on its disk.
static inline int muster_sync_filesystem(int fd) { return (int)syscall(SYS_syncfs, fd); }

// SIOCOUTQ, tcp(7): bytes written to a socket that the other side's kernel has not acknowledged yet.
static inline int muster_unacknowledged(int fd) {
    int count = 0;
    return ioctl(fd, TIOCOUTQ, &count) == 0 ? count : -1;
}

// sigaction(2): whether a signal is ignored, by this process or by whoever started it.
static inline int muster_signal_is_ignored(int number) {
    struct sigaction current;
    return sigaction(number, NULL, &current) == 0 && !(current.sa_flags & SA_SIGINFO) && current.sa_handler == SIG_IGN;
}
