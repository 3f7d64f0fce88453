#!/usr/bin/env python3
"""Second stage: grade every completion. Rows from standard input, rewarded rows to standard output, order kept.

    python reward.py --reward binary --workers 16 < completions.jsonl > rewarded.jsonl

Adds to each row, one entry per completion:
    scores    float in [0, 1]: (weighted) fraction of tests passed; fraction of right cells for grids; 0 or 1 for math
    correct   bool: everything right; pass@k counts this
    preds     math: canonical answer; code: digest of all outputs; grid: the grid as text; null: no answer
    votes     int class of equal answers within the row, numbered by first appearance; -1: no answer, it abstains
    rewards   --reward fraction: the score; binary: 1 if correct else 0; signed: 1 if correct else -1
    verdicts  "ok"; "wrong"; "no answer" (nothing to grade was found); and for what the first failed test died of:
              "timeout"; "memory"; "crash" (raised, did not compile, killed, exit status not 0); "output" (too much of
              it, or a returned value that is not plain data)

Completions are hostile text. Math: LaTeX goes to math-verify (never to eval, sympify or parse_expr) in a worker process
with a memory limit that is killed when its time is up. Code: one forked process a run in a sandbox, see "The sandbox".
Expected outputs never enter it; what comes out is data and is compared here. A grader that fails is an error (exit
status 2), never a zero reward.
"""

import collections
import ctypes
import json
import mmap
import os
import re
import resource
import select
import signal
import socket
import struct
import sys
import time


# ----------------------------------------------------------------------------------------------------------------------
# Workers: every helper process speaks length-prefixed JSON over one end of a socket pair.
# ----------------------------------------------------------------------------------------------------------------------


def send(channel, message, descriptors=()):
    data = json.dumps(message).encode()
    head = struct.pack("<I", len(data))
    if descriptors:
        socket.send_fds(channel, [head], descriptors)
        head = b""
    channel.sendall(head + data)


def receive(channel, timeout=None, want_descriptor=False):
    """The next message; EOFError if the other side is gone, TimeoutError after `timeout` seconds."""
    channel.settimeout(timeout)
    descriptors = []
    if want_descriptor:
        head, descriptors, _, _ = socket.recv_fds(channel, 4, 1)
    else:
        head = channel.recv(4, socket.MSG_WAITALL)
    if len(head) < 4:
        raise EOFError
    length, = struct.unpack("<I", head)
    data = bytearray()
    while len(data) < length:
        chunk = channel.recv(length - len(data))
        if not chunk:
            raise EOFError
        data += chunk
    message = json.loads(data)
    return (message, descriptors[0] if descriptors else None) if want_descriptor else message


PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 4, 22, 36, 38


def prctl(option, value=0):
    if libc().prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")


def libc(cache=[]):
    if not cache:
        cache.append(ctypes.CDLL(None, use_errno=True))
    return cache[0]


# ----------------------------------------------------------------------------------------------------------------------
# The sandbox. sandbox_main() is the zygote: a small interpreter (no torch, no sympy, no site-packages), which locks
# itself into namespaces once and then forks a child per run. It is the first process of its PID namespace, so that after each
# run `kill -1` ends whatever is left. A run is a pure function of (program, inputs): no state stays between runs.
#
# Modes: "call" calls the entry point on each input within one child and returns the results as data; "stdin" runs the
# program on one standard input; "serve" answers calls that come over a socket from a "check": the dataset's check
# function, in a zygote of its own, so that its verdict and its expected values live where no model text runs.
# ----------------------------------------------------------------------------------------------------------------------

CAPABILITIES_V3, NO_CAPABILITIES = struct.pack("<Ii", 0x20080522, 0), bytes(24)
STDIN, CALL, SERVE, CHECK = range(4)                 # modes
OK, CRASH, MEMORY, TIMEOUT, OUTPUT = 0, 1, 97, 98, 99   # how a child ended; the first three are its exit statuses
STATUS = {OK: "ok", CRASH: "crash", MEMORY: "memory", TIMEOUT: "timeout", OUTPUT: "output"}
REQUEST = struct.Struct("<BdQQI4I")  # mode, seconds per test, memory, room for output, tests, lengths of four texts:
#                                      program; standard input, arguments or check; entry point; setup or template
REPLY = struct.Struct("<B?qI")       # status, /tmp was touched, tests done, length of the output
HEADER = struct.Struct("<qqq")  # shared with the child: tests finished (-1: not started), start of test, bytes used

# System calls of a program, with numbers for x86-64 and arm64: no exec, socket, ptrace, namespace, key, bpf, ...
SYSCALLS = """read 0 63,write 1 64,close 3 57,fstat 5 80,lseek 8 62,mmap 9 222,mprotect 10 226,munmap 11 215,brk 12 214,
rt_sigaction 13 134,rt_sigprocmask 14 135,rt_sigreturn 15 139,ioctl 16 29,pread64 17 67,pwrite64 18 68,readv 19 65,
writev 20 66,access 21 -,pipe 22 -,pipe2 293 59,select 23 -,pselect6 270 72,poll 7 -,ppoll 271 73,sched_yield 24 124,
mremap 25 216,madvise 28 233,dup 32 23,dup2 33 -,dup3 292 24,pause 34 -,nanosleep 35 101,alarm 37 -,setitimer 38 103,
getitimer 36 102,getpid 39 172,gettid 186 178,getppid 110 173,exit 60 93,exit_group 231 94,uname 63 160,fcntl 72 25,
truncate 76 45,ftruncate 77 46,fsync 74 82,getdents64 217 61,getcwd 79 17,chdir 80 49,fchdir 81 50,rename 82 -,
renameat 264 38,renameat2 316 276,mkdir 83 -,mkdirat 258 34,rmdir 84 -,unlink 87 -,unlinkat 263 35,readlink 89 -,
readlinkat 267 78,open 2 -,openat 257 56,stat 4 -,lstat 6 -,newfstatat 262 79,statx 332 291,faccessat 269 48,
faccessat2 439 439,gettimeofday 96 169,getrlimit 97 163,getrusage 98 165,sysinfo 99 179,times 100 153,getuid 102 174,
getgid 104 176,geteuid 107 175,getegid 108 177,sigaltstack 131 132,arch_prctl 158 -,futex 202 98,
sched_getaffinity 204 123,set_tid_address 218 96,restart_syscall 219 128,clock_gettime 228 113,clock_getres 229 114,
clock_nanosleep 230 115,set_robust_list 273 99,getrandom 318 278,rseq 334 293,rt_sigpending 127 136,
rt_sigtimedwait 128 137,membarrier 324 283,umask 95 166,close_range 436 436,sendto 44 206,recvfrom 45 207"""
# What the zygote does besides. In namespaces one filter, installed once (0.6 ms here), holds for it and its children:
# there a program may fork (the next run finds none of it) and may not mount (it has no capabilities).
ZYGOTE_SYSCALLS = ("wait4 61 260,waitid 247 95,kill 62 129,recvmsg 47 212,memfd_create 319 279,pidfd_open 434 434,"
                   "fork 57 -")
MACHINES = {"x86_64": (0, 0xC000003E, dict(clone=56, clone3=435, tgkill=234, prlimit64=302, pivot_root=155)),
            "aarch64": (1, 0xC00000B7, dict(clone=220, clone3=435, tgkill=131, prlimit64=261, pivot_root=41))}


def install_seccomp(alone):
    """A filter for this process and its children. `alone`: one process, which may make threads but not fork, for where
    no PID namespace contains it. Raises OSError."""
    if os.uname().machine not in MACHINES or sys.byteorder != "little":
        raise OSError("no system call table for this machine")
    column, audit_arch, special = MACHINES[os.uname().machine]
    load, equal, at_least, any_bit, give = 0x20, 0x15, 0x35, 0x45, 0x06
    allow, refuse, absent, kill = 0x7FFF0000, 0x00050001, 0x00050026, 0x80000000  # allow, EPERM, ENOSYS, kill process
    code = [(load, 0, 0, 4), (equal, 1, 0, audit_arch), (give, 0, 0, kill), (load, 0, 0, 0),
            (at_least, 0, 1, 0x40000000), (give, 0, 0, refuse)]
    for entry in (SYSCALLS if alone else f"{SYSCALLS},{ZYGOTE_SYSCALLS}").replace("\n", "").split(","):
        number = entry.split()[1 + column]
        if number != "-":
            code += [(equal, 0, 1, int(number)), (give, 0, 0, allow)]
    code += [(equal, 0, 1, special["clone3"]), (give, 0, 0, absent)]  # glibc then uses clone, whose flags we can see
    if alone:
        code += [(equal, 0, 4, special["clone"]), (load, 0, 0, 16), (any_bit, 0, 1, 0x10000), (give, 0, 0, allow),
                 (give, 0, 0, refuse)]                                      # CLONE_THREAD
    else:
        code += [(equal, 0, 4, special["clone"]), (load, 0, 0, 16), (any_bit, 1, 0, 0x7E020080), (give, 0, 0, allow),
                 (give, 0, 0, refuse)]                                      # no CLONE_NEW*
    for name, own in ("prlimit64", 0), ("tgkill", os.getpid()):             # on itself only
        if alone or name == "prlimit64":
            code += [(equal, 0, 4, special[name]), (load, 0, 0, 16), (equal, 0, 1, own), (give, 0, 0, allow),
                     (give, 0, 0, refuse)]
        else:
            code += [(equal, 0, 1, special[name]), (give, 0, 0, allow)]
    code += [(give, 0, 0, refuse)]
    program = b"".join(struct.pack("<HBBI", *line) for line in code)
    buffer = ctypes.create_string_buffer(program, len(program))
    if libc().prctl(PR_SET_SECCOMP, 2, struct.pack("<HxxxxxxQ", len(code), ctypes.addressof(buffer)), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"seccomp: {os.strerror(ctypes.get_errno())}")


def library_paths():
    """What programs may read: this Python's standard library, shared libraries, and numpy where it is installed."""
    import sysconfig
    paths = {os.path.realpath(os.path.dirname(os.__file__)), "/lib", "/lib64", "/usr/lib", "/usr/lib64",
             "/etc/ld.so.cache"}
    site = os.path.join(sysconfig.get_path("purelib", vars={"base": sys.prefix}))
    numpy = [os.path.join(site, name) for name in ("numpy", "numpy.libs") if os.path.isdir(os.path.join(site, name))]
    return [p for p in paths if os.path.exists(p)] + numpy, site if numpy else None


def enter_namespaces(paths):
    """New user, mount, PID, IPC, network and host-name namespaces; a root that holds `paths`, read-only, and /tmp.

    Returns in a forked child, the first process of the PID namespace; the caller's process stays behind as its guard.
    """
    newuser, newns, newpid, newipc, newnet, newuts = 0x10000000, 0x20000, 0x20000000, 0x8000000, 0x40000000, 0x4000000
    os.umask(0o022)
    # Who runs the programs: if root started us, `nobody` (a second id can only be mapped from outside, hence the
    # helper); if a user did, that user, called nobody.
    uid, gid, me = os.geteuid(), os.getegid(), os.getpid()
    if uid == 0:
        wait, go = os.pipe()
        helper = os.fork()
        if helper == 0:
            os.close(go)
            os.read(wait, 1)
            write_file(f"/proc/{me}/uid_map", "0 0 1\n65534 65534 1")
            write_file(f"/proc/{me}/gid_map", "0 0 1\n65534 65534 1")
            os._exit(0)
        os.close(wait)
    unshared, error = libc().unshare(newuser | newns | newpid | newipc | newnet | newuts), ctypes.get_errno()
    if uid == 0:
        os.close(go)
        if os.waitpid(helper, 0)[1] != 0 and unshared == 0:
            raise OSError("no map of user ids")
    if unshared != 0:
        raise OSError(error, f"unshare: {os.strerror(error)}")
    if uid != 0:
        write_file("/proc/self/setgroups", "deny")
        write_file("/proc/self/uid_map", f"65534 {uid} 1")
        write_file("/proc/self/gid_map", f"65534 {gid} 1")
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    mount(None, "/", None, 0x4000 | 0x40000)                                         # recursively private
    root = "/proc"                                                                   # there is one; we need it no more
    mount("tmpfs", root, "tmpfs", 0x2 | 0x4, "size=1m,mode=755")
    for path in paths:
        inside = root + path
        if os.path.isdir(path):
            os.makedirs(inside, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(inside), exist_ok=True)
            open(inside, "w").close()
        mount(path, inside, None, 0x1000 | 0x4000)                                   # bind
        kept = os.statvfs(path).f_flag & (0x2 | 0x4 | 0x8 | 0x400 | 0x800)            # flags we may not take away
        mount(None, inside, None, 0x20 | 0x1000 | 0x1 | 0x2 | 0x4 | kept | (os.statvfs(path).f_flag & 0x1000) << 9)
    for name in "/dev", "/tmp", "/old":
        os.makedirs(root + name, exist_ok=True)
    open(root + "/dev/null", "w").close()
    mount("/dev/null", root + "/dev/null", None, 0x1000)
    os.chdir(root)
    if libc().syscall(MACHINES[os.uname().machine][2]["pivot_root"], b".", b"old") != 0:
        raise OSError(ctypes.get_errno(), "pivot_root")
    os.chdir("/")
    if libc().umount2(b"/old", 2) != 0:
        raise OSError(ctypes.get_errno(), "umount")
    os.rmdir("/old")
    mount(None, "/", None, 0x20 | 0x1 | 0x2 | 0x4)                                   # read-only
    mount("tmpfs", "/tmp", "tmpfs", 0x2 | 0x4 | 0x8, "size=64m,nr_inodes=1024,mode=777")
    os.chdir("/tmp")
    child = os.fork()
    if child:
        os.closerange(0, 2)
        os.closerange(3, 4096)
        os.waitpid(child, 0)
        os._exit(0)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def write_file(path, text):
    with open(path, "w") as file:
        file.write(text)


def mount(source, target, kind, flags, data=None):
    encoded = [None if s is None else s.encode() for s in (source, target, kind)]
    if libc().mount(*encoded, ctypes.c_ulong(flags), None if data is None else data.encode()) != 0:
        raise OSError(ctypes.get_errno(), f"mount {target}: {os.strerror(ctypes.get_errno())}")


def enter_landlock(paths):
    """Without namespaces: from here on this process and its children read nothing but `paths` and write no file."""
    read, everything = 0x4 | 0x8, 0x1FFF
    ruleset = libc().syscall(444, struct.pack("<Q", everything), ctypes.c_size_t(8), 0)
    if ruleset < 0:
        raise OSError(ctypes.get_errno(), "landlock")
    for path in [*paths, "/dev/null"]:
        fd = os.open(path, os.O_PATH)
        access = read if os.path.isdir(path) else 0x4 | (0x2 if path == "/dev/null" else 0)
        if libc().syscall(445, ruleset, 1, struct.pack("<Qi", access, fd), 0) != 0:
            raise OSError(ctypes.get_errno(), "landlock rule")
        os.close(fd)
    if libc().syscall(446, ruleset, 0) != 0:
        raise OSError(ctypes.get_errno(), "landlock restrict")
    os.close(ruleset)


def sandbox_main(fd):
    """The zygote: say which protections this machine gave, then one reply per request until the channel closes."""
    # what programs import most
    import bisect, copy, functools, gc, heapq, itertools, math, operator, string, types, typing  # noqa: E401, F401
    register, os.register_at_fork = os.register_at_fork, lambda **hooks: None  # or every child would seed itself anew:
    import random                                                             # same program, same numbers
    os.register_at_fork = register
    random.seed(0)
    channel = socket.socket(fileno=fd)
    offer = receive(channel)
    level, notes = [], []
    paths, site = library_paths()
    with open("/proc/self/statm") as file:
        base = int(file.read().split()[0]) * mmap.PAGESIZE + (16 << 20)  # our own address space
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    null = os.open("/dev/null", os.O_RDWR)
    if "namespaces" in offer:
        try:
            enter_namespaces(paths)
            level.append("namespaces")
        except OSError as error:                                         # perhaps half-way in: start again without
            send(channel, {"failed": f"namespaces: {error}"})
            os._exit(0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # cannot now be sent from within the namespace
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    if "landlock" in offer and not level:
        try:
            os.chdir("/")
            enter_landlock(paths)
            level.append("landlock")
        except OSError as error:
            notes.append(f"landlock: {error}")
    if "namespaces" in level and os.getuid() == 0:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
    libc().capset(CAPABILITIES_V3, NO_CAPABILITIES)
    prctl(PR_SET_DUMPABLE, 0)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # again: a change of credentials clears it
    if "seccomp" in offer:
        pid = os.fork()
        if pid == 0:
            install_seccomp(alone="namespaces" not in level)
            os._exit(0)
        if os.waitpid(pid, 0)[1] == 0:
            level.append("seccomp")
        else:
            notes.append("seccomp: the kernel refused the filter")
    if level == ["namespaces", "seccomp"]:
        install_seccomp(alone=False)
    if site:
        sys.path.append(site)
    for descriptor in 0, 1, 2:
        os.dup2(null, descriptor)
    os.close(null)
    sys.stdin = sys.__stdin__ = open(0, encoding="utf-8", closefd=False)   # a child finds its own files behind these
    sys.stdout = sys.__stdout__ = open(1, "w", encoding="utf-8", errors="surrogateescape", closefd=False)
    sys.stderr = sys.__stderr__ = open(2, "w", closefd=False)
    sys.argv = ["program.py"]
    sys.modules["builtins"].exit = sys.modules["builtins"].quit = sys.exit  # which -S leaves out
    limit_self(resource.RLIMIT_CORE, 0)
    limit_self(resource.RLIMIT_NOFILE, 64)
    limit_self(resource.RLIMIT_NPROC, 64)
    send(channel, {"level": level, "notes": notes})
    untouched = os.stat("/tmp").st_ctime_ns if "namespaces" in level else None
    for _ in range(20):  # run the children's path once here: caches filled now are pages that no child has to copy
        run_child(CALL, 1 << 16, (b"def f(x): return x & 1", b"[[1], [2]]", b"f", b""), None,
                  mmap.mmap(-1, HEADER.size + (1 << 16)))
    gc.collect()
    gc.freeze()
    gc.disable()
    # From here on every page written, here or in a child, is a page copied: few objects, few modules.
    while True:
        head, ancillary, _, _ = channel.recvmsg(REQUEST.size, 32)
        if len(head) < REQUEST.size:
            os._exit(0)
        extra = struct.unpack("<i", ancillary[0][2][:4])[0] if ancillary else None
        mode, limit, memory, room, count, *lengths = REQUEST.unpack(head)
        texts = []
        for length in lengths:
            texts.append(channel.recv(length, socket.MSG_WAITALL) if length else b"")
        status, done, output = run_once(mode, limit, memory + base, room, count, texts, extra, level, channel)
        end_all("namespaces" in level)
        replace = untouched is not None and os.stat("/tmp").st_ctime_ns != untouched
        channel.sendall(REPLY.pack(status, replace, done, len(output)) + output)


def limit_self(what, value):
    """Set both limits, or as low as they already are."""
    hard = resource.getrlimit(what)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(what, (value, value))


def run_once(mode, limit, memory, room, count, texts, extra, level, channel):
    """Fork one child, wait for it, at most its time: (status, tests done, output)."""
    shared = mmap.mmap(-1, HEADER.size + (room if mode in (CALL, CHECK) else 0))
    HEADER.pack_into(shared, 0, -1, 0, 0)
    standard = []
    if mode == STDIN:  # regular files, as programs may expect: no pipe to fill or to drain
        standard = [os.memfd_create("stdin"), os.memfd_create("stdout")]
        os.write(standard[0], texts[1])
        os.lseek(standard[0], 0, os.SEEK_SET)
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        status = CRASH
        try:
            for target, source in enumerate(standard):
                os.dup2(source, target)
                os.close(source)
            os.close(channel.fileno())
            resource.setrlimit(resource.RLIMIT_CPU, (int(limit * (count + 1)) + 2,) * 2)
            resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
            if "namespaces" not in level:
                prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
                if "seccomp" in level:
                    install_seccomp(alone=True)
            run_child(mode, room, texts, extra, shared)
            status = OK
        except MemoryError:
            status = MEMORY
        except SystemExit as stop:
            status = OK if stop.code in (None, 0, False) else CRASH
        finally:
            os._exit(status)
    if extra is not None:
        os.close(extra)
    handle = os.pidfd_open(child)
    hard = start + limit * (count + 1) + 1
    while True:
        began = HEADER.unpack_from(shared)[1] / 1e9  # of the current test, by the child's word; see `hard`
        left = min(began if start < began < hard else start, hard) + limit - time.monotonic()
        if select.select([handle], [], [], max(left, 0))[0]:
            status = OK
            break
        if left <= 0:
            os.kill(child, signal.SIGKILL)
            status = TIMEOUT
            break
    os.close(handle)
    ended = os.waitpid(child, 0)[1]
    if status != TIMEOUT:
        code = os.waitstatus_to_exitcode(ended)
        status = code if code in (OK, MEMORY) else TIMEOUT if code == -signal.SIGXCPU else CRASH
    done, output = 0, b""
    if mode == STDIN:
        size = os.fstat(standard[1]).st_size
        output = os.pread(standard[1], min(size, room), 0)
        if size >= room:
            status = OUTPUT
        os.close(standard[0])
        os.close(standard[1])
    else:
        done, _, length = HEADER.unpack_from(shared)
        if not (-1 <= done <= count and 0 <= length <= room):
            done, length = -1, 0
        if mode != SERVE:
            output = shared[HEADER.size:HEADER.size + length]
    shared.close()
    return status, done, output


def end_all(namespaces):
    """Kill and reap every descendant."""
    if namespaces:
        try:
            os.kill(-1, signal.SIGKILL)
        except ProcessLookupError:
            return
    try:
        while True:  # without a PID namespace: under seccomp there are no children; --unsafe ones come to us as orphans
            if os.waitpid(-1, 0 if namespaces else os.WNOHANG)[0] == 0:
                with open(f"/proc/self/task/{os.getpid()}/children") as file:
                    for pid in file.read().split():
                        os.kill(int(pid), signal.SIGKILL)
                time.sleep(0.001)
    except ChildProcessError:
        pass


def run_child(mode, room, texts, extra, shared):
    """In the child, all limits set: run the program. Nothing here is to be trusted once the program has started."""
    program, payload, entry_point, setup = texts
    if extra is not None:
        extra = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=extra)
    if mode == CHECK:
        return run_check(payload.decode(), setup.decode(), extra, shared)
    main = type(sys)("__main__")
    main.__builtins__ = __builtins__
    sys.modules["__main__"] = main
    clock, pack, start_at, write = time.monotonic_ns, HEADER.pack_into, HEADER.size, shared.__setitem__
    encode_result, entry_point = encode, entry_point.decode()
    if mode != STDIN and setup:
        exec(compile(setup.decode(), "setup.py", "exec"), main.__dict__)
    if mode == STDIN:
        try:
            exec(compile(program.decode(), "program.py", "exec"), main.__dict__)
        finally:  # as an interpreter ends, also after sys.exit
            if "threading" in sys.modules:
                sys.modules["threading"]._shutdown()
            if "atexit" in sys.modules:
                sys.modules["atexit"]._run_exitfuncs()
            if not getattr(sys.stdout, "closed", False):
                sys.stdout.flush()
            main.__dict__.clear()  # files that it left open are written out
            if not sys.__stdout__.closed:
                sys.__stdout__.flush()
        return
    exec(compile(program.decode(), "program.py", "exec"), main.__dict__)
    if mode == SERVE:
        pack(shared, 0, 0, clock(), 0)
        return serve_calls(main, entry_point, extra)
    used = 0
    for done, arguments in enumerate(json.loads(payload)):
        pack(shared, 0, done, clock(), used)
        try:
            result = encode_result(resolve(main, entry_point)(*arguments))
        except MemoryError:
            result = '{"~":"error","v":"memory"}'
        except Unencodable:
            result = '{"~":"error","v":"output"}'
        except (Exception, SystemExit):
            result = '{"~":"error","v":"crash"}'
        result = result.encode() + b"\n"
        if used + len(result) > room:
            result = b'{"~":"error","v":"output"}\n'[:max(0, room - used)]
        write(slice(start_at + used, start_at + used + len(result)), result)
        used += len(result)
        pack(shared, 0, done + 1, clock(), used)


def resolve(main, entry_point):
    """A function of the program, or (LeetCode style) a method of a new `Solution()`."""
    if hasattr(main, entry_point):
        return getattr(main, entry_point)
    return getattr(main.Solution(), entry_point.rpartition(".")[2])


class Unencodable(ValueError):
    pass


PLAIN = (*((kind, kind) for kind in (str, bool, int, float, list, tuple, dict, set, frozenset, bytes, complex)),
         (bytearray, bytes))


def encode(value, kinds=PLAIN):
    """A value as JSON text; what JSON does not hold is {"~": type, "v": ...}. Subclasses count as their plain base."""
    if type(value) is int and -10**15 < value < 10**15:
        return int.__repr__(value)

    def plain(value):
        if value is None or type(value) in (bool, float, str):
            return value
        kind = next((plain for base, plain in kinds if isinstance(value, base)), None)
        if kind is int:
            value = int(value)
            return value if -10**15 < value < 10**15 else {"~": "int", "v": hex(value)}
        if kind in (str, float):
            return kind(value)
        if kind is list:
            return [plain(v) for v in list.__iter__(value)]
        if kind is dict:
            return {"~": "dict", "v": [[plain(k), plain(v)] for k, v in dict.items(value)]}
        if kind in (tuple, set, frozenset):
            return {"~": kind.__name__, "v": [plain(v) for v in kind.__iter__(value)]}
        if kind is bytes:
            return {"~": "bytes", "v": bytes(value).hex()}
        if kind is complex:
            return {"~": "complex", "v": [value.real, value.imag]}
        raise Unencodable(type(value).__name__)
    try:
        return json.dumps(plain(value))
    except RecursionError:
        raise Unencodable("nested without end") from None


class Failed:
    """What stands in the place of a test's output when there is none; equal to nothing but itself."""

    def __init__(self, why):
        self.why = why


def decode(text, remote=None):
    """The inverse of encode, for hostile text: ValueError if it is anything else."""
    def restore(item):
        kind, value = item.get("~"), item.get("v")
        if len(item) != 2 or "v" not in item:
            raise ValueError("not encode()'s")
        if kind == "dict":
            return {k: v for k, v in value}
        if kind in ("tuple", "set", "frozenset"):
            return {"tuple": tuple, "set": set, "frozenset": frozenset}[kind](value)
        if kind == "int":
            return int(value, 16)
        if kind == "bytes":
            return bytes.fromhex(value)
        if kind == "complex":
            return complex(*value)
        if kind == "error" and value in ("crash", "memory", "output"):
            return Failed(value)
        if kind == "remote" and remote is not None:
            return remote(value)
        if kind == "type" and remote is not None and isinstance(sys.modules["builtins"].__dict__.get(value), type):
            return sys.modules["builtins"].__dict__[value]
        raise ValueError("not encode()'s")
    try:
        return json.loads(text, object_hook=restore)
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"not encode()'s: {error}") from None


def decode_lines(lines):
    try:
        values = decode("[" + ",".join(lines) + "]")
        if len(values) == len(lines):
            return values
    except ValueError:
        pass  # some line is no value: find out which
    values = []
    for line in lines:
        try:
            values.append(decode(line))
        except ValueError:
            values.append(Failed("output"))
    return values


def serve_calls(main, entry_point, channel):
    """In the program's child: evaluate what the check asks for; objects that are not plain data stay here, numbered."""
    objects = []

    def answer(value):
        try:
            return encode(value)
        except Unencodable:
            objects.append(value)
            return json.dumps({"~": "remote", "v": len(objects) - 1})
    while True:
        try:
            request = receive(channel)
        except EOFError:
            return
        try:
            if request[0] == "call":
                target = objects[request[1]] if request[1] is not None else resolve(main, entry_point)
                arguments = decode(request[2], lambda number: objects[number])
                keywords = decode(request[3], lambda number: objects[number])
                reply = ["value", answer(target(*arguments, **keywords))]
            elif request[0] == "name":
                reply = ["value", answer(getattr(main, request[1]))]
            else:
                reply = ["value", answer(getattr(objects[request[1]], request[2]))]
        except Exception as error:
            reply = ["error", type(error).__name__, str(error)[:1000]]
        send(channel, reply)


def run_check(check, template, channel, shared):
    """In a child that no model text enters: the dataset's check function, its candidate a stub for the program."""
    def ask(*message):
        send(channel, message)
        kind, *rest = receive(channel)
        if kind == "value":
            return decode(rest[0], Remote)
        error = getattr(sys.modules["builtins"], str(rest[0]), RuntimeError)
        raise (error if isinstance(error, type) and issubclass(error, Exception) else RuntimeError)(rest[1])

    class Remote:
        """An object of the program. It is equal to itself only: its own __eq__ has no say."""

        def __init__(self, number):
            self.__dict__["number"] = number

        def __call__(self, *arguments, **keywords):
            return ask("call", self.number, pack(arguments), pack(keywords))

        def __getattr__(self, name):
            if name.startswith("__"):
                raise AttributeError(name)
            return ask("attribute", self.number, name)

        def __bool__(self):
            raise TypeError("the program returned an object that is not plain data")

    def pack(value):
        def plain(value):
            if isinstance(value, Remote):
                return {"~": "remote", "v": value.number}
            if isinstance(value, type) and value is sys.modules["builtins"].__dict__.get(value.__name__):
                return {"~": "type", "v": value.__name__}
            if type(value) in (list, tuple):
                items = [plain(v) for v in value]
                return items if type(value) is list else {"~": "tuple", "v": items}
            if type(value) is dict:
                return {"~": "dict", "v": [[plain(k), plain(v)] for k, v in value.items()]}
            return json.loads(encode(value))
        return json.dumps(plain(value))

    namespace = {"__name__": "check"}
    try:  # HumanEval's checks use helpers of the prompt, which is the template: from here, not from the program
        exec(compile(template.replace("{program}", ""), "template.py", "exec"), namespace)
    except Exception:
        namespace = {"__name__": "check"}  # the template needs the program's names: they are looked up there
    source = compile(check, "check.py", "exec")
    exec(source, namespace)
    names, codes = set(), [source]
    for code in codes:
        names.update(code.co_names)
        codes.extend(c for c in code.co_consts if isinstance(c, type(source)))
    for name in names - set(namespace) - set(dir(sys.modules["builtins"])):
        try:
            namespace[name] = ask("name", name)
        except Exception:
            pass  # an attribute's name, or a name that the check would not find either
    namespace["check"](lambda *arguments, **keywords: ask("call", None, pack(arguments), pack(keywords)))
    HEADER.pack_into(shared, 0, 1, 0, 0)


# ---- The sandbox process loads this file up to here, and no more: what is loaded makes its forks slower. ----

import argparse  # noqa: E402
import cmath  # noqa: E402
import concurrent.futures  # noqa: E402
import functools  # noqa: E402
import hashlib  # noqa: E402
import itertools  # noqa: E402
import math  # noqa: E402
import operator  # noqa: E402
import queue  # noqa: E402
import subprocess  # noqa: E402
import threading  # noqa: E402
import traceback  # noqa: E402
import zlib  # noqa: E402
from fractions import Fraction  # noqa: E402

from advantages import BadRow, at_row, nothing_came, read_rows  # noqa: E402


class GraderError(RuntimeError):
    """The grader itself failed: never turned into a reward."""


def spawn(start, *flags):
    """Run `start` (source of a program, given a descriptor) in a fresh interpreter: (process, our end of the channel)."""
    ours, theirs = socket.socketpair()
    process = subprocess.Popen([sys.executable, "-B", "-s", *flags, "-c", start, str(theirs.fileno())],
                               pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=2, start_new_session=True,
                               env={"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
                                    "LD_BIND_NOW": "1"})
    theirs.close()
    return process, ours


LOAD_SANDBOX = (f"exec(open({__file__!r}).read().partition('# ---- The sandbox process')[0]); "
                "sandbox_main(int(sys.argv[1]))")
LOAD_MATH = (f"import sys; sys.path.insert(0, {os.path.dirname(os.path.abspath(__file__))!r}); import reward; "
             "reward.math_main(int(sys.argv[1]))")


class Sandbox:
    """One zygote as seen from here. `offer`: the protections to try."""

    def __init__(self, offer=("namespaces", "landlock", "seccomp")):
        self.offer, self.process = list(offer), None
        self.start()

    def start(self):
        self.process, self.channel = spawn(LOAD_SANDBOX, "-S", "-P")
        send(self.channel, self.offer)
        try:
            hello = receive(self.channel, 60)
        except (EOFError, TimeoutError):
            raise GraderError("the sandbox process did not start") from None
        if "failed" in hello:
            self.close()
            self.offer.remove("namespaces")
            self.start()
            self.notes.insert(0, hello["failed"])
        else:
            self.level, self.notes = hello["level"], hello["notes"]

    def ask(self, mode, limit_s, memory_mb, room, count, *texts, descriptor=None):
        """Start a run; `texts` as in REQUEST."""
        texts = [text.encode("utf-8", "replace") for text in texts]
        head = REQUEST.pack(mode, limit_s, memory_mb << 20, room, count, *map(len, texts))
        self.channel.settimeout(60)
        try:
            if descriptor is not None:
                socket.send_fds(self.channel, [head], [descriptor])
                head = b""
            self.channel.sendall(head + b"".join(texts))
        except OSError as error:
            self.close()
            raise GraderError(f"the sandbox process ended or stopped listening: {error}") from None

    def reply(self, seconds):
        """(status, tests done, output) of the run; GraderError if the zygote died or did not answer."""
        try:
            self.channel.settimeout(seconds)
            status, touched, done, length = REPLY.unpack(self.receive(REPLY.size))
            output = self.receive(length).decode("utf-8", "replace")
        except OSError as error:
            self.close()
            raise GraderError(f"the sandbox process ended or stopped answering: {error}") from None
        if touched:
            self.close()
            self.start()
        return STATUS[status], done, output

    def receive(self, length):
        data = bytearray()
        while len(data) < length:
            chunk = self.channel.recv(length - len(data))
            if not chunk:
                raise ConnectionError("end of its channel")
            data += chunk
        return bytes(data)

    def close(self):
        self.process.kill()
        self.process.wait()
        self.channel.close()


MAX_RUNS = 4096   # programs whose outputs are kept
MAX_TIMEOUTS = 3  # tests that a program may run out of time on before the rest count as failed


def run_program(sandboxes, program, tests, limit_s, memory_mb, stop_early):
    """Per test: its output as data, or Failed(why). For a check: True or Failed(why)."""
    sandbox, setup, entry_point = sandboxes[0], tests.get("setup") or "", tests.get("entry_point", "")
    if tests["type"] == "check":
        ours, theirs = socket.socketpair()
        with ours, theirs:
            sandbox.ask(SERVE, 2 * limit_s, memory_mb, 1 << 16, 1, program, "", entry_point, setup,
                        descriptor=ours.fileno())
            sandboxes[1].ask(CHECK, limit_s, memory_mb, 1 << 16, 1, "", tests["check"], entry_point,
                             (tests.get("template") or "{program}"), descriptor=theirs.fileno())
        status, checked, _ = sandboxes[1].reply(4 * limit_s + 30)
        served, started, _ = sandbox.reply(4 * limit_s + 30)
        if status == "ok" and checked == 1:
            return [True]
        if "timeout" in (status, served):
            return [Failed("timeout")]
        return [Failed(served if served != "ok" else "wrong" if started == 0 else "crash")]
    outputs, timeouts, total = [], 0, len(tests["outputs"])
    while len(outputs) < total:
        first = len(outputs)
        if timeouts >= MAX_TIMEOUTS:
            return outputs + [Failed("timeout")] * (total - first)
        if tests["type"] == "stdin":
            expected = tests["outputs"][first]
            room = (1 << 20) + 4 * len(expected)
            sandbox.ask(STDIN, limit_s, memory_mb, room, 1, program, tests["inputs"][first], "", "")
            status, _, output = sandbox.reply(2 * limit_s + 30)
            outputs.append(output if status == "ok" else Failed(status))
            if stop_early and not (status == "ok" and same_output(output, expected)):
                return outputs + [Failed("not run")] * (total - len(outputs))
        else:
            inputs = tests["inputs_json"] if first == 0 else json.dumps(tests["inputs"][first:])
            sandbox.ask(CALL, limit_s, memory_mb, tests["room"], total - first, program, inputs, entry_point, setup)
            status, done, output = sandbox.reply(limit_s * (total - first + 2) + 30)
            why = status if status != "ok" else "crash"
            if done < 0:
                return outputs + [Failed(why)] * (total - first)
            outputs += decode_lines(output.split("\n")[:done])
            if len(outputs) < total:  # the program died in a test; the next ones get a new child
                outputs.append(Failed(why))
        timeouts += isinstance(outputs[-1], Failed) and outputs[-1].why == "timeout"
    return outputs


def same_output(got, expected):
    """Standard output: equal whitespace-separated tokens; a token with a decimal point or exponent within 1e-6."""
    got, expected = got.split(), expected.split()
    return len(got) == len(expected) and all(g == e or close(g, e) for g, e in zip(got, expected))


NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def close(got, expected):
    if len(got) > 400 or not NUMBER.fullmatch(got) or not NUMBER.fullmatch(expected) or expected.lstrip("+-").isdigit():
        return False
    got, expected = float(got), float(expected)
    return abs(got - expected) <= 1e-6 * max(1.0, abs(expected))


def extract_program(completion):
    """The last ```python block (else the last fenced block, else all of the text)."""
    blocks = re.findall(r"```[ \t]*(?:python3?|py)[ \t]*\r?\n(.*?)(?:```|\Z)", completion, re.S | re.I)
    blocks = blocks or re.findall(r"```[^\n`]*\n(.*?)```", completion, re.S)
    return blocks[-1] if blocks else completion


def grade_code(completion, row, settings, sandboxes, runs):
    """(score, correct, pred, verdict) of one completion. `runs`: outputs by (program, inputs), kept between rows: what a
    program answers does not depend on what is expected of it. A test of weight 0 is run but does not count."""
    tests = row["tests"]
    program = completion if tests.get("extract") is False else extract_program(completion)
    if not program.strip():
        return 0.0, False, None, "no answer"
    program = (tests.get("template") or "{program}").replace("{program}", program)
    limits = tests.get("time_limit_s") or settings.timeout_s, int(tests.get("memory_limit_mb") or settings.memory_mb)
    if tests["type"] == "call":
        key = program, tests["entry_point"], tests.get("setup"), tests["inputs_json"], tests["room"], limits
        outputs = runs.get(key)
        if outputs is None:
            outputs = runs[key] = run_program(sandboxes, program, tests, *limits, settings.stop_early)
            if len(runs) > MAX_RUNS:
                runs.pop(next(iter(runs)), None)
    else:
        outputs = run_program(sandboxes, program, tests, *limits, settings.stop_early)
    scalars = tests["type"] == "call" and {*map(type, outputs)} <= SCALARS  # the fast path of most programs
    if tests["type"] == "check":
        passed = [outputs[0] is True]
    elif tests["type"] == "stdin":
        passed = [not isinstance(o, Failed) and same_output(o, e) for o, e in zip(outputs, tests["outputs"])]
    elif scalars:
        passed = list(map(operator.eq, outputs, tests["outputs"]))
    else:
        passed = [not isinstance(o, Failed) and safe_equal(o, e) for o, e in zip(outputs, tests["outputs"])]
    weights = tests.get("weights") or [1] * len(passed)
    outputs, passed, weights = (list(itertools.compress(values, weights)) for values in (outputs, passed, weights))
    correct = all(passed)
    score = 1.0 if correct else sum(itertools.compress(weights, passed)) / sum(weights)
    verdict = "ok"
    if not correct:
        first = outputs[passed.index(False)]
        verdict = first.why if isinstance(first, Failed) else "wrong"
    if tests["type"] == "check":  # outputs are not seen: passing programs are one class, of the others each text its own
        text = program.encode("utf-8", "replace")
        return score, correct, "passed" if correct else hashlib.sha256(text).hexdigest()[:16], verdict
    if all(isinstance(o, Failed) for o in outputs):
        return score, correct, None, verdict
    shown = outputs if scalars else [" ".join(o.split()) if isinstance(o, str) and tests["type"] == "stdin" else
                                     [o.why] if isinstance(o, Failed) else ordered(o) for o in outputs]
    return score, correct, hashlib.sha256(repr(shown).encode()).hexdigest()[:16], verdict


SCALARS = {int, float, bool, str, type(None)}  # what `ordered` leaves as it is, and == compares without recursion


def ordered(value):
    """A value whose repr is the same for equal sets and dicts."""
    if isinstance(value, (set, frozenset)):
        return ("set", sorted(repr(ordered(v)) for v in value))
    if isinstance(value, dict):
        return ("dict", sorted((repr(ordered(k)), repr(ordered(v))) for k, v in value.items()))
    if isinstance(value, (list, tuple)):
        return (type(value).__name__, [ordered(v) for v in value])
    return value


def safe_equal(got, expected):
    try:
        return bool(got == expected)
    except RecursionError:
        return False


# ----------------------------------------------------------------------------------------------------------------------
# Grids.
# ----------------------------------------------------------------------------------------------------------------------


def extract_grid(text):
    """The last grid in the text: [[...]] as JSON, else the last run of lines of digits. None if there is none."""
    found = re.findall(r"\[\s*\[[\d,\s]*\](?:\s*,\s*\[[\d,\s]*\])*\s*,?\s*\]", text)
    for candidate in reversed(found):
        try:
            grid = json.loads(candidate)
        except (ValueError, RecursionError):
            continue
        if all(isinstance(r, list) and r and all(type(c) is int and c <= 9 for c in r) for r in grid) and \
                len({len(r) for r in grid}) == 1:
            return grid
    runs, current = [], []
    for line in text.splitlines() + [""]:
        digits = re.fullmatch(r"[\s\[|]*\d([\s,|]*\d)*[\s\],|]*", line)
        cells = [int(c) for c in re.findall(r"\d", line)] if digits else None
        if cells and (not current or len(cells) == len(current[0])):
            current.append(cells)
        else:
            if current:
                runs.append(current)
            current = [cells] if cells else []
    return runs[-1] if runs else None


def grade_grid(completion, row):
    grid, gold = extract_grid(completion), row["gold"]
    if grid is None:
        return 0.0, False, None, "no answer"
    right = 0
    if len(grid) == len(gold) and len(grid[0]) == len(gold[0]):
        right = sum(g == e for a, b in zip(grid, gold) for g, e in zip(a, b))
    correct = grid == gold
    return right / (len(gold) * len(gold[0])), correct, "/".join("".join(map(str, r)) for r in grid), \
        "ok" if correct else "wrong"


# ----------------------------------------------------------------------------------------------------------------------
# Math, first part: the answer that a completion gives. It is what the text states last: in a box, between answer tags,
# after "####", or in words ("the answer is", a heading "Answer"). If nothing is stated, it is the value in which the last
# sentence with a value ends. A statement that is taken back afterwards is none. A new way to state an answer is a function
# in STATEMENTS: text -> (start and end of its last statement there, the answer), or None. All of it takes linear time.
# ----------------------------------------------------------------------------------------------------------------------

MAX_ANSWER = 1000  # characters; longer ones are wrong (the longest of MATH's 7,500 reference answers has 159)
MAX_STATEMENTS = 500  # so many of a kind are looked at, from the end
FORMULA = "\ue000"  # stands for a formula while the words around it are read


def words(text):
    """A pattern for one of these words (`_` is a blank)."""
    return r"\b(?:" + "|".join(text.split()).replace("_", r"\s+").replace("'", "['’]") + r")\b"


BRACES = re.compile(r"\\.|[{}]", re.S)
BOX = re.compile(r"\\f?box(?:ed)?(?:\s*(?=\{)|\s+([^\s$.{]+))")
JOIN = re.compile(rf"[,;&]|{words('and or')}|\n\s*(?:[-*•]|\(?\w[.)])\s")  # what stands between the boxes of one list
BREAK = re.compile(rf"[.?!](?=[\s$\\)]|$)|\n\s*\n|\\(?:implies|Rightarrow|to|approx)(?![a-zA-Z])|(?<![a-zA-Z)\s])\s*=\s*$|" + words(
    """so thus then hence therefore have has gives? gets? but not since because which that means yields? implies equivalently same
    about approximately answer wait actually no"""), re.I)                 # ... and what does not
TAG = re.compile(r"<(?:final_?)?answer>", re.I)
HASHES = re.compile(r"(?<!#)####(?!#)")
SUBJECT = r"(?<![a-zA-Z])(?:ans(?:wers?)?|(?:correct|right)\s+(?:option|choice))(?![a-zA-Z])"
PHRASE = re.compile(  # a heading; a label, "Answer:" at the beginning of a sentence; "the answer (to ...) is"
    r"^[^a-zA-Z\d\n]{0,12}(?:final\s+)?(?:answers?|result|conclusion)[^\w\n\\$(]{0,8}\n|"
    rf"(?:^|[.!?>]\s)[^a-zA-Z\d\n]{{0,12}}(?:[a-z]+,?\s+){{0,3}}?{SUBJECT}(?:(?!\s(?:is|are)\b)[^.:=\n?!—|$\\]){{0,60}}?[*_\s]{{0,8}}(?:[:=—|]|[-–]\s)|"
    rf"{SUBJECT}(?P<gap>[^.:=\n?!—|$\\]{{0,80}}?)[*_\s]{{0,8}}" + words("is are was equals? be becomes of comes_(?:out_)?to"), re.I | re.M)
LEAD = re.compile(r"(?:[\s:*_>=~|]|-(?!\s*[\d\\$(a-z]|\ue000)|" + words("therefore thus then hence simply just indeed exactly now equal_to either both choice option") + ")*", re.I)
NOT_STATED = re.compile(words("""wrong incorrect mistaken tempting naive any every each no whether thought first initial initially old previous
    intermediate check checking verify (?:may|might|could|would)_(?:think|say|guess|expect|believe)""") + "|" + words("if had were instead") + r".*\bwould\b", re.I)
ASIDE = re.compile(words("which and by works so if because when"), re.I)
VALUE = re.compile(r"(?:≈|\\approx|\\sim(?:eq)?|approximately|about|roughly|around)?[\s(\[{|+\-−–±<.√\\$€£]*(?:[\d\ue000π∅∞½¼¾]|\\[a-zA-Z]|"
                   r"[B-HJ-Zb-hj-z](?![a-zA-Z'’])|[aAiI](?=[-+*/^=_)(.,;:]|\s*(?:$|[=+]))|[a-zA-Z]{1,3}(?:\([a-z]\))?\s*=)", re.I | re.M)
SENTENCE = re.compile(r"\n|\.(?=\s|$)|[?!](?=\s+[A-Z]|\s*$)|\.\.|</?[a-zA-Z]|\s\|(?=\s|$)", re.M)
ITEM = r"(?:(?:and|or)\s)?\s*(?:[-+−(\[{$\\\d\ue000±]|[a-zA-Z]{1,2}(?:\([a-z]\))?\s*=|[b-zB-HJ-Z]\b(?!['’])|" + words(
    "zero one two three four five six seven eight nine ten eleven twelve no none") + ")"
CLAUSE = re.compile(  # where a value ends and a remark begins
    rf"[,;]\s+(?!{ITEM})|,?\s+{words('and or')}(?!\s*{ITEM})|,?\s+or\s+{words('about roughly approximately equivalently')}|;|\s*[—–](?=\s*[a-zA-Z])"
    rf"|\s--?\s+(?=[a-zA-Z])|(?<=\S):\s+|\s*\((?!mod)(?=[^()$\\]*[a-z]{{2}})|\s\((?=[^()$\\]*=)|,?\s+(?:in\b(?=\s+\S)|to\b(?!\s*\d)|" + words("""because since as so which
    that who where when while if for of on at by with from after before is are was were has have had will would can the this it we i you they
    he she given making meaning assuming thus hence therefore not altogether overall combined but instead rather roughly about""") + ")", re.I)
REMARK = re.compile(rf"[,;:(—–]|\s-\s|\s{words('because since as so but not')}", re.I)  # the same after an answer in words
NO_WORDS = re.compile(words("as given found obtained in correct right below above shown reached clear that this what how we not then the_same"), re.I)
BOLD = re.compile(r"(?<!\*)\*{1,3}(?=[^\s*])([^*\n]{0,200}[^\s*])\*{1,3}(?!\*)")
NUMBER = re.compile(r"(?<![\w.,/^\\])[-−]?\s?[$€£]?\d[\d,]*(?:\.\d+)?(?:/\d+)?")
BECOMES = re.compile(words("is are was were equals? be becomes makes? gives? gets? totals? leaves") + r"|[=:]", re.I)
EQUATION = re.compile(r"(?<![\w\\])[a-zA-Z](?:\([a-z]\))?\s*=(?=\s*\S)")
CONCLUDING = re.compile(words("so therefore thus hence altogether total finally conclusion consequently result leaves final conclude in_all that_makes") + "|∴", re.I)
REFUSAL = re.compile(words("can(?:not|'t|_not) could(?:n't|_not) unable not_able impossible_to don't_know not_(?:possible|sure)"), re.I)
RETRACTION = re.compile(
    words(r"""(?:scratch|strike|forget|ignore|disregard)_(?:that|this|my|the_(?:above|previous|last)) oops no,?_wait wait,?_no make_that i_meant?
    i(?:'ve|_have)?_(?:made|see|notice|found|spotted|realized)_(?:a|an|my|the|one)(?:_\w+)?_(?:mistake|error|slip) i(?:_was|'m|_am)_(?:wrong|mistaken)
    i_(?:miscounted|misread|miscalculated|forgot(?!_to_(?:say|mention|note|add|state))|overlooked|mixed_up)""")
    + r"|\bcorrection\b\W{0,4}:|(?:[.,—–-]|\n)\s?no[,.:—]\s|" + words("wait hold_on hm+ sorry actually reflection oh") + r"[^.!?\n]{0,60}?(?<!no )"
    + words("wrong incorrect mistake should_(?:be|have_been) (?:can(?:not|'t)|isn't|not)_(?:be_)?(?:right|correct)")
    + r"|\A[^\w\n]{0,12}(?:but )?" + words("that this it which is was") + r"[^.!?,;\n]{0,30}?(?<!not )"
    + words("wrong(?!_to) incorrect mistaken impossible (?:not|n't)_(?:right|correct)"), re.I)


def balanced(text, start, end=None):
    """Content of the brace group that opens at `start`; None if it does not close before `end`."""
    close = text.find("}", start, end)
    if text.find("{", start + 1, close) < 0 and text.find("\\", start, close) < 0:
        return text[start + 1:close] if close >= 0 else None
    depth = 0
    for match in BRACES.finditer(text, start, len(text) if end is None else end):
        depth += {"{": 1, "}": -1}.get(match.group(), 0)
        if depth == 0:
            return text[start + 1:match.start()]
    return None


CLOSING = {"$": "$", "$$": "$$", r"\[": r"\]", r"\(": r"\)"}
DELIMITER = re.compile(r"\\\\|\\\$|\$\$|\$|\\[\[\]()]")


def masked(text):
    """(text with FORMULA for each formula, [formula]). A dollar is money where a formula cannot begin or end."""
    pieces, formulas, last, opened = [], [], 0, None
    for match in DELIMITER.finditer(text):
        mark, start, end = match[0], match.start(), match.end()
        if opened and mark == CLOSING[opened[0]] and (mark != "$" or not text[start - 1].isspace() and start > opened[1] + 1
                                                      and not text[end:end + 1].isdigit() and "\n\n" not in text[opened[1]:start]):
            pieces += text[last:opened[1]].replace(FORMULA, " "), FORMULA
            formulas.append(text[opened[1]:end])
            last, opened = end, None
        elif mark in CLOSING and not (opened and opened[0] != "$" and mark == "$"):
            opened = None if mark == "$" and text[end:end + 1].isspace() else (mark, start)
    return "".join(pieces) + text[last:].replace(FORMULA, " "), formulas


def unmasked(text, formulas):
    """`text` with its formulas put back; the content alone if it is nothing but one formula."""
    text = text.strip()
    if text == FORMULA:
        return re.sub(r"\A(\$\$?|\\[\[(])|(\$\$?|\\[\])])\Z", "", formulas[0]).strip()
    left = iter(formulas)
    return "".join(next(left) if c == FORMULA else c for c in text).strip()


def read_value(text):
    """The answer at the beginning of `text`, which stands after "the answer is": a value with its unit up to the end of
    the clause, a list, or a word or a few; None if there is nothing of the kind."""
    text, formulas = masked(text)
    text = BOLD.sub(r"\1", text)
    text = text[LEAD.match(text).end():]
    but = re.match(r"not\b[^.\n]{0,40}?,?\s(?:but|it is|rather)\s(?:rather\s)?", text)
    if but:
        formulas, text = formulas[but[0].count(FORMULA):], text[but.end():]
    end = SENTENCE.search(text)
    sentence = text[:end.start()] if end else text
    if not sentence.strip() or end and end[0] == "?" or sentence.startswith("not ") or "\\box" in sentence:
        return None
    if VALUE.match(sentence):
        clause = CLAUSE.search(sentence, VALUE.match(sentence).end())
        sentence = sentence[:clause.start()] if clause else sentence
        return unmasked(re.sub(r"[\s,*_:]+(?:and|or)?$", "", sentence), formulas) or None
    if FORMULA in sentence:
        return None
    remark = REMARK.search(sentence)
    sentence = (sentence[:remark.start()] if remark else sentence).strip(" *_\"“”")
    return None if not sentence or NO_WORDS.match(sentence) or re.search(r"\d", sentence) or len(sentence.split()) > 6 else sentence


def value_of(sentence, formulas):
    """The value in which a sentence ends: its last bold one, formula, equation, or its number; None if there is none."""
    bold = [m for m in BOLD.finditer(sentence) if VALUE.match(m[1])]
    if bold:
        return read_value(unmasked(bold[-1][1] + " ", formulas[sentence[:bold[-1].start(1)].count(FORMULA):]))
    if formulas:
        with_digits = [f for f in formulas if re.search(r"\d|\\[a-zA-Z]", f)] or formulas
        return unmasked(FORMULA, with_digits[-1:])
    equation = EQUATION.search(sentence)
    if equation:
        return read_value(sentence[equation.start():])
    concluding = [m.end() for m in CONCLUDING.finditer(sentence)]
    sentence = sentence[concluding[-1]:] if concluding and NUMBER.search(sentence, concluding[-1]) else sentence
    numbers = list(NUMBER.finditer(sentence))
    if len(numbers) == 1:
        return read_value(sentence[numbers[0].start():])
    results = [m for m in BECOMES.finditer(sentence) if VALUE.match(sentence, m.end())]
    return read_value(sentence[results[-1].end():]) if results else None


def concluded(text, anything=False):
    """The value of the last sentence that has one: a formula, or in words if the sentence says that it concludes."""
    if not anything and len(text.strip()) < 60 and "\n" not in text.strip():
        bare = masked(text.strip())[0]
        if VALUE.match(bare) and not REFUSAL.search(bare):
            return read_value(text)
    text, formulas = masked(text)
    ends = [0] + [m.end() for m in SENTENCE.finditer(text)] + [len(text)]
    left = len(formulas)
    for start, end in zip(ends[-2::-1], ends[::-1]):
        sentence = text[start:end].strip(" \n.*_" if "**" not in text[start:end] else " \n.")
        left -= sentence.count(FORMULA)
        if not sentence:
            continue
        if REFUSAL.search(sentence):
            return None
        if FORMULA in sentence or "**" in sentence or anything or CONCLUDING.search(sentence):
            answer = value_of(sentence[:2 * MAX_ANSWER], formulas[left:left + sentence.count(FORMULA)])
            if answer:
                return answer
    return None


def boxed(text):
    r"""The last \boxed{...} that closes and is not empty, with those that one enumeration joins to it: `3, 5` for
    "\boxed{3} and \boxed{5}"; a value that is boxed again counts once."""
    found, start, limit = [], len(text), len(text)
    while start >= 0 and len(found) < 32:
        near = max(0, start - MAX_ANSWER) if found else 0
        start = max(text.rfind("\\box", near, start), text.rfind("\\fbox", near, start))
        match = BOX.match(text, start) if start >= 0 else None
        content = match and (match[1] or balanced(text, match.end(), limit))
        if match and content is None:
            limit = start  # it does not close, so none that opens before it closes after it
        if not content or not content.strip():
            continue
        end = match.end() + (0 if match[1] else len(content) + 2)
        if found:
            gap = text[end:found[-1][0]]
            if not 0 < len(gap) <= 100 or not JOIN.search(gap) or BREAK.search(gap):
                break
        found.append((match.start(), end, content.strip()))
    if not found:
        return None
    contents = []
    for _, _, content in found:
        if not any(content == other or same(other, content) is True for other in contents):
            contents.insert(0, content)
    return found[-1][0], found[0][1], ", ".join(contents)


def tagged(text):
    """The content of the last <answer> that has any."""
    for match in reversed(collections.deque(TAG.finditer(text), MAX_STATEMENTS)):
        content = text[match.end():match.end() + 4 * MAX_ANSWER].partition("</")[0].strip()
        if content:
            return match.start(), match.end() + len(content), extract_answer(content) or content


def after_hashes(text):
    """What follows the last "####" that is no numbered heading."""
    for match in reversed(collections.deque(HASHES.finditer(text), MAX_STATEMENTS)):
        line = re.match(r"[^\n]{0,2000}", text[match.end():])[0]
        answer = None if re.match(r"\s*\d+[.):]\s+\S|\s*$", line) else read_value(line)
        if answer and (VALUE.match(masked(answer)[0]) or text[match.end() + len(line):].strip() == ""):
            return match.start(), match.end(), answer


def after_phrase(text):
    """What follows the last "answer is", "answer:" or heading that is the text's own statement of a value."""
    in_words = None
    for match in reversed(collections.deque(PHRASE.finditer(text), MAX_STATEMENTS)):
        before = re.split(r"[.!?:\n]|,\s*(?:but|so)\b", text[max(0, match.start() - 120):match.start()])[-1]
        gap = (match["gap"] or "").strip()
        if NOT_STATED.search(before + " " + match[0]) or ASIDE.search(gap):
            continue
        tail = text[match.end():match.end() + 2 * MAX_ANSWER]
        answer = read_value(tail)
        value = answer is not None and VALUE.match(masked(answer)[0])
        if not value and match[0].rstrip(" *_}")[-1] in ":\n=—|":  # a label: **Answer:** There are 17 balls.
            line, formulas = masked(tail.strip().partition("\n")[0])
            end = SENTENCE.search(line)
            line = line[:end.start()] if end else line
            concluding = None if answer else value_of(line, formulas[:line.count(FORMULA)])
            answer, value = concluding or answer, concluding is not None
        if value:
            return match.start(), match.end(), answer
        if answer and in_words is None and not gap:
            in_words = match.start(), match.end(), answer
    return in_words


# each with what any text that it reads contains in lower case: most texts are sorted out by that, which is quick
STATEMENTS = ((boxed, ("box",)), (tagged, ("answer>",)), (after_hashes, ("####",)), (after_phrase, ("ans", "option", "choice", "result", "conclusion")))
HINTS = [hint.replace("_", " ") for hint in """wrong mista incorrect wait no, no. no: no— error slip t_correct be_correct correction t_right
    be_right should_ impossible scratch strike forg ignore disregard oops make_that i_mean misc misr overlook mixed""".split()]


def extract_answer(text):
    """The answer that a completion gives, as text; None if it gives none."""
    if "</think" in text and (response := text.rpartition("</think")[2].partition(">")[2]).strip():
        text = response
    answer, rest, lower = None, text, text.lower()
    for rule, hints in STATEMENTS:
        found = rule(rest) if any(hint in lower for hint in hints) else None
        if found and (answer is None or VALUE.match(masked(found[2])[0])):
            answer, rest = found[2], rest[found[1]:]
            lower = rest.lower()
    if answer is None:
        return None if BOX.search(text) else concluded(text)
    if any(hint in lower for hint in HINTS):
        for match in RETRACTION.finditer(rest):
            sentence = SENTENCE.search(rest, match.end())
            if not (sentence and sentence[0] == "?"):
                return concluded(rest[match.end():], anything=True)
    return answer


# ----------------------------------------------------------------------------------------------------------------------
# Math. same(gold, pred) decides what can be decided by reading: the spellings of an answer are made one, structures
# (lists, tuples, intervals, sets, matrices, equations, inequalities) are compared part by part, and expressions by
# value, in exact fractions or complex floats, at three fixed points of their variables. True and False are final; None
# means "not sure", and math-verify decides, in a worker that can be killed. Nothing here evaluates text but `value`, a
# reader of arithmetic with bounded numbers.
# ----------------------------------------------------------------------------------------------------------------------



class Unclear(ValueError):
    """`value` cannot read this."""


SYMBOLS = str.maketrans({
    "−": "-", "–": "-", "×": r"\times ", "·": r"\cdot ", "÷": "/", "π": r"\pi ", "∞": r"\infty ", "≤": r"\le ",
    "≥": r"\ge ", "≠": r"\ne ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "°": r"^\circ ", "√": r"\sqrt ",
    "±": r"\pm ", "½": r"\frac12 ", "¼": r"\frac14 ", "¾": r"\frac34 ", "²": "^2", "³": "^3", "’": "'", "“": "",
    "”": "", "\u00a0": " ", "\u202f": " ", "…": "...", "€": "", "£": "", "∅": r"\emptyset "})
MAGNITUDES = {"thousand": "3", "million": "6", "billion": "9"}
SPELLINGS = [(re.compile(pattern), replacement) for pattern, replacement in [
    (r"\\\\\s*(\[[^\]]*\])?", "¶"),                                                     # row ends of matrices
    (r"\\\$|\$|\\[()\[\]]|\\displaystyle|\\textstyle|\\limits|\\phantom\s*(\{[^{}]*\}|.)|\\nobreak|\\strut", ""),
    (r"\{\s*([-+])\s*\}", r"\1"), (r"(?<![\w})])\+\s*(?=\\infty)", ""),
    (r"\\(left|right|[bB]igg?[lrm]?)(?![a-zA-Z])\.?", ""),
    (r"\\(lbrace|\{)", "⦃"), (r"\\(rbrace|\})", "⦄"), (r"\\langle", "("), (r"\\rangle", ")"), (r"\\lvert|\\rvert|\\vert|\\mid", "|"),
    (r"(?<=\d)(\{,\}\s*|,\\!\s*|\\[,!;: ]\s*|\\thinspace\s*|,\s*\\ )(?=(\d{3})+(?!\d))", ""),  # surely thousands
    (r"(?<![\d.,]\s)(?<![\d.,])\d{1,3}(?: \d{3})+(?![\d.,/]|\s*\d)", lambda m: m[0].replace(" ", "")),
    (r"\{,\}", ","), (r"\\!", ""), (r"\\[,;: ]|\\q?quad|\\h(space|skip)\*?\{[^{}]*\}|~|\\thinspace", " "),
    (r"\\[dtc]frac", r"\\frac"), (r"\\[dt]binom", r"\\binom"), (r"\\choose", r"\\choose"),
    (r"\\(text(bf|it|rm|normal|tt|sf|sc)?|mathrm|mathbf|mathit|mathsf|mathtt|boldsymbol|bf|mbox|hbox|operatorname\*?|emph)\s*(?=\{)",
     r"\\text"),
    (r"(?<=[\d}])\s*(\\text\{\s*)?(thousand|million|billion)(?![a-z])", lambda m: f"*10^{MAGNITUDES[m[2]]}" + (m[1] or "")),
    (r"\\text\{([A-Z])\}(?=\w*\s*_)", r"\1"), (r"\\text\{\s*\}", ""), (r"\{\\(rm|bf|it)\s+([^{}]*)\}", r"\\text{\2}"),
    (r"\^\s*(\{\s*\\circ\s*\}|\\circ|\\degrees?)|\\degrees?(?![a-z])|(?<=[\d})])\s*\\circ", "°"),
    (r"\\leqslant|\\leq(?![a-z])|<=", r"\\le "), (r"\\geqslant|\\geq(?![a-z])|>=", r"\\ge "), (r"\\lt(?![a-z])", "<"),
    (r"\\gt(?![a-z])", ">"), (r"\\neq|\\not\s*=|!=", r"\\ne "), (r"\\%", "%"), (r"\\(l|c|)dots", "..."), (r"\\cdot|\\times|\\ast", "*"),
    (r"\\(bullet)", "*"), (r"\\div(?![a-z])", "/"), (r"\\mathbb\s*\{?\s*([A-Z])\s*\}?", r"\\mathbb{\1}"), (r"\\infin(?![a-z])|\binfinity\b", r"\\infty"),
    (r"\\varnothing|\\empty(?!set)|⦃\s*⦄", r"\\emptyset"), (r"\\var(phi|epsilon|theta)", r"\\\1"), (r"\\i?math(?![a-z])", "i"),
    (r"(?<![\\a-zA-Z])(sqrt|sin|cos|tan|cot|sec|csc|log|ln|pi|arcsin|arccos|arctan)(?![a-zA-Z])", r"\\\1"),
    (r"(?<=\d)\s*(?:\\text\s*\{\s*to\s*\}|to)\s*(?=\d)", ":"),
    (r"\*\*", "^"), (r"(?<=\d)[eE]([+-]?\d+)(?![\w.])", r"*10^{\1}"), (r"\\(overline|bar)\{([A-Z]{2})\}", r"\2")]]
WORDS = {"allreals": r"(-\infty,\infty)", "allrealnumbers": r"(-\infty,\infty)", r"\mathbb{R}": r"(-\infty,\infty)",
         "nosolution": r"\emptyset", "nosolutions": r"\emptyset", "norealsolution": r"\emptyset", "norealsolutions": r"\emptyset",
         "therearenosolutions": r"\emptyset", "emptyset": r"\emptyset",
         **{word: str(n) for n, word in enumerate((
             "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
             "eighteen nineteen twenty").split())}}
UNITS = {**{name: name for name in """centimeter meter kilometer millimeter foot inch yard mile second minute hour day
    week month year kilogram gram pound ounce liter dollar cent degree radian square cubic percent per""".split()},
    "cm": "centimeter", "centimetre": "centimeter", "m": "meter", "metre": "meter", "km": "kilometer", "h": "hour",
    "kilometre": "kilometer", "mm": "millimeter", "ft": "foot", "feet": "foot", "in": "inch", "inche": "inch",
    "yd": "yard", "mi": "mile", "sec": "second", "s": "second", "min": "minute", "hr": "hour", "kg": "kilogram",
    "g": "gram", "lb": "pound", "oz": "ounce", "sq": "square", "cube": "cubic", "litre": "liter", "ml": "milliliter",
    "mph": "mile per hour", "rad": "radian", "deg": "degree"}
OTHER_UNITS = set("""
    unit way people person student point time page book ball marble game car box integer number digit side edge
    solution root possibility choice coin apple block tile step inhabitant acre gallon cup ounce piece square cube
    line prime factor term hit vote ticket card player team member mark euro rupee yen a.m p.m am pm o'clock
    combination arrangement pair triangle rectangle subset divisor multiple pencil pen child children men women boy
    girl dime nickel quarter penny pennies hop revolution rpm fahrenheit celsius mpg hat chair row seat toy flower
    tree bag""".split())


PLAIN_NUMBER = re.compile(r"-?\d+(?:\.\d+)?", re.A)
NO_UNITS = set("hundred thousand million billion trillion dozen times modulo choose where when with".split())


def singular(word):
    word = word.strip(".").lower()
    return word[:-1] if len(word) > 2 and word.endswith("s") and not word.endswith("ss") else word


def split_unit(text):
    r"""('5', ['square', 'meter']) for '5\text{ m}^2' or '5 square meters'; the unit is [] if there is none."""
    match = re.fullmatch(r"(.*[\d})°%a-zA-Z])\s*\\text\s*\{\s*([^{}]*)\}\s*(?:\^\s*\{?\s*([23])\s*\}?)?", text, re.S)
    if match and re.search(r"\d|\\pi|\\sqrt", match[1]) and not re.search(r"\\text", match[1]) \
            and not re.fullmatch(r"\s*(and|or|if|to)\s*", match[2]):
        number, words, power = match.groups()
    else:
        match = re.fullmatch(r"(.*[\d})°%])\s*((?:[a-zA-Z'.]{2,}|/)(?:[\s/]+[a-zA-Z'.]+)*|[mgshL]\s*/\s*[a-z]+)\s*(?:\^\s*\{?\s*([23])\s*\}?)?",
                             text, re.S)
        if not match or not re.search(r"\d", match[1]) or "\\text" in match[2]:
            return text, []
        number, words, power = match.groups()
        words = re.sub(r"\s+", " ", words)
        if not all(singular(w) in UNITS or singular(w) in OTHER_UNITS or len(w) > 3 and w.islower() and w not in NO_UNITS
                   for w in re.findall(r"[a-zA-Z'.]+", words)):
            return text, []
    unit = [u for w in re.findall(r"[a-zA-Z'.]+", words) for u in UNITS.get(singular(w), "?").split()]
    if power:
        unit = [{"2": "square", "3": "cubic"}[power]] + unit
    return number.strip(), unit


def split_letter(text):
    """('5', ['meter']) for '5 m', which split_unit takes for a product; the unit is [] if there is no such letter."""
    match = re.fullmatch(r"(.*[\d})])\s*([mgshL])", text, re.S)
    return (match[1], [UNITS.get(match[2], "?")]) if match else (text, [])


@functools.lru_cache(4096)
def normalize(text):
    """(canonical text, unit words): one spelling for what LaTeX and people spell in many ways."""
    if PLAIN_NUMBER.fullmatch(text):
        return text, []
    text = text.translate(SYMBOLS).strip().strip("*")
    for pattern, replacement in SPELLINGS:
        text = pattern.sub(replacement, text)
    text = text.strip()
    for _ in range(4):
        inner = re.match(r"\\boxed\s*(?=\{)", text)
        if inner and balanced(text, inner.end()) is not None:
            text = text[:inner.start()] + balanced(text, inner.end())
        if text.startswith("{") and balanced(text, 0) == text[1:-1]:
            text = text[1:-1]
        text = text.strip().rstrip(".,;:\\").lstrip(",;:").strip() if not re.fullmatch(r"\.\d+", text) else text
    text = re.sub(r"^(\\text\s*\{\s*)?(the (final )?answer is|therefore|thus|so|approximately|about|\\approx)[\s,:]*(?(1)\})", "", text, flags=re.I)
    text, unit = split_unit(text)
    text = text.rstrip(".,; ")
    if re.fullmatch(r"\\text\{[^{}]*\}", text):
        text = text[6:-1].strip().rstrip(".,;")
    if not re.search(r"[(\[⦃¶]", text) or re.search(r",\s", text):
        text = re.sub(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,]|\.\d*,)", lambda m: m[0].replace(",", ""), text)
    if "°" in text:
        text = re.sub(r"(?<=[\d})])\s*°", r"\\frac{\\pi}{180}" if TRIGONOMETRIC.search(text) else "", text)
    text = re.sub(r"\s+", " ", text).strip()
    word = re.sub(r"\\text|[{}\s.]", "", text).lower()
    return WORDS.get(word, WORDS.get(text, text)), unit


def canonical(text):
    return squeeze(normalize(text)[0])


def squeeze(text):
    """Without the blanks, but for those between two words and between two numbers: 3 1/2 is not 31/2."""
    return re.sub(r"(?<![a-zA-Z\d])\s+|\s+(?![a-zA-Z\d])|(?<=\d)\s+(?=[a-zA-Z])|(?<=[a-zA-Z])\s+(?=\d)", "", text)


def split_top(text, separators):
    """Split at the separators (a compiled pattern) that stand outside all brackets."""
    parts, depth, last, i = [], 0, 0, 0
    while i < len(text):
        if text[i] in "([{⦃":
            depth += 1
        elif text[i] in ")]}⦄":
            depth -= 1
        elif depth == 0:
            match = separators.match(text, i)
            if match:
                parts.append(text[last:i])
                last = i = match.end()
                continue
        i += 1
    return [p.strip() for p in parts + [text[last:]]]


TRIGONOMETRIC = re.compile(r"\\(sin|cos|tan|cot|sec|csc)(?![a-z])")
COMMA = re.compile(r"\s*[,;]\s*(?:\\text\{\s*(?:and|or)\s*\}|(?:and|or)(?![a-zA-Z]))?|\s*\\text\{\s*,?\s*(?:and|or)\s*\}|\s+(?:and|or)(?![a-zA-Z])")
UNION = re.compile(r"\\cup(?![a-zA-Z])|\s+U\s+")
RELATION = re.compile(r"=|<|>|\\le(?![a-zA-Z])|\\ge(?![a-zA-Z])|\\ne(?![a-zA-Z])|\\in(?![a-zA-Z])|\\equiv|\\approx")
VARIABLE = re.compile(r"\\?[a-zA-Z]+(?:_\{?\w+\}?)?(?:\s*\(\s*[a-zA-Z](?:\s*,\s*[a-zA-Z])*\s*\))?'*|\\text\{[^{}]*\}")
MATRIX = re.compile(r"[(\[]?\s*\\begin\{([bpvV]?matrix|array)\}\s*(?:\{[^{}]*\})?(.*?)\\end\{\1\}\s*[)\]]?", re.S)


CHOICE = re.compile(r"(?:\\text\{\s*)?\(([A-F])\)(?:\s*\}\s*|\s+)(\S.*)")  # \text{(B)} 12
BASED = re.compile(r"(?:\\text\{)?([0-9A-Z]+)\}?_\s*\{?\s*(\d+|\\text\{\s*\w+\s*\})\s*\}?")  # 1010_2


def every(verdicts):
    """All of them, in three-valued logic."""
    verdicts = list(verdicts)
    return False if False in verdicts else None if None in verdicts else True


def some(verdicts):
    """At least one of them, in three-valued logic."""
    verdicts = list(verdicts)
    return True if True in verdicts else None if None in verdicts else False


def matching(gold, pred, equal):
    """Equal as unordered collections of what `equal` compares, in three-valued logic."""
    if len(gold) != len(pred):
        return False
    left, doubt = list(pred), False
    for g in gold:
        verdicts = [equal(g, p) for p in left]
        if True in verdicts:
            left.pop(verdicts.index(True))
        elif None in verdicts:
            doubt = True
        else:
            return False
    return None if doubt else True


@functools.lru_cache(8192)
def same(gold, pred):
    """True, False or None (not sure): is `pred` the answer `gold`?"""
    try:
        return same_answer(gold, pred)
    except RecursionError:
        return None


def same_answer(gold, pred):
    """`same`, but RecursionError where brackets nest too deeply."""
    if gold.strip() == pred.strip():
        return True
    (gold_text, gold_unit), (pred_text, pred_unit) = normalize(gold), normalize(pred)
    if not pred_text:
        return False
    # 5 m: five meters where the other side has a unit, else five times m
    if gold_unit and not pred_unit:
        pred_text, pred_unit = split_letter(pred_text)
    elif pred_unit and not gold_unit:
        gold_text, gold_unit = split_letter(gold_text)
    known = [u for u in (gold_unit, pred_unit) if u and "?" not in u]
    if len(known) == 2 and {*known[0]} - {"per"} != {*known[1]} - {"per"}:
        return False
    if r"\approx" in pred_text:  # of 12\sqrt{2} \approx 16.97 the first counts
        pred_text = pred_text.partition(r"\approx")[0].strip() or pred_text
    if gold_text == pred_text:
        return True
    choices = [CHOICE.fullmatch(t) for t in (gold_text, pred_text)]  # (B) 12 is B and is 12
    if all(choices):
        return choices[0][1] == choices[1][1]
    if any(choices):
        choice, other = (choices[0], pred_text) if choices[0] else (choices[1], gold_text)
        return re.sub(r"\\text|[(){}.\s]", "", other) == choice[1] or same_part(choice[2], other)
    if "=" in gold_text and not has_variables(gold_text) and "=" not in pred_text:  # 0.56 = 56\%
        return some(same_answer(side, pred_text) for side in gold_text.split("="))
    # 73\% is 73 (a unit) and 0.73
    if (gold_text.endswith("%") or pred_text.endswith("%")) and "," not in gold_text + pred_text:
        g, p = gold_text.rstrip("% "), pred_text.rstrip("% ")
        if gold_text.endswith("%") and pred_text.endswith("%") or same_part(g, p) is not False:
            return same_part(g, p)
        if gold_text.endswith("%"):
            return same_part(f"\\frac{{{g}}}{{100}}", p)
        return same_part(g, f"\\frac{{{p}}}{{100}}")
    verdict = same_part(gold_text, pred_text)
    raw = [re.sub(r"\s+", "", t.strip("$ ")) for t in (gold, pred)]
    if verdict is not True and all(re.fullmatch(r"-?\d+(,-?\d+)+", t) for t in raw):  # 100,200: a list after all?
        if sorted(raw[0].split(",")) == sorted(raw[1].split(",")):
            return True
    return verdict


def same_part(gold, pred):
    """`same` for texts that are normalized: by structure first."""
    gold, pred = gold.strip(), pred.strip()
    if squeeze(gold) == squeeze(pred):
        return True
    if not gold or not pred:
        return False
    letters = [re.fullmatch(r"\(?([A-Za-z])\)?", t) for t in (gold, pred)]
    if all(letters):                                                             # choices: (C), C; variables: n
        return letters[0][1] == letters[1][1]
    bases = [BASED.fullmatch(t) for t in (gold, pred)]
    if all(bases):
        (digits, base), (other_digits, other_base) = (
            (b[1].lstrip("0"), re.sub(r"\\text|\W", "", b[2]).lower()) for b in bases)
        return digits == other_digits and WORDS.get(base, base) == WORDS.get(other_base, other_base)
    if bases[0] or bases[1]:  # 1010_2 is 1010 where the base was asked for
        return bases[0] is not None and bases[0][1] == pred
    ratios = [re.fullmatch(r"(\d+)\s*:\s*(\d+)", t) for t in (gold, pred)]
    if all(ratios):                                                              # times, and ratios in lowest terms
        (a, b), (c, d) = ([int(n) for n in r.groups()] for r in ratios)
        return (a, b) == (c, d) or math.gcd(a, b) == 1 and a * d == b * c
    if any(ratios):                                                              # 1:4 against 1/4
        (a, b), other = (ratios[0].groups(), pred) if ratios[0] else (ratios[1].groups(), gold)
        if "/" in other or "frac" in other or b == "1":
            return same_part(f"\\frac{{{a}}}{{{b}}}", other)
    shapes = {shape(gold), shape(pred)}
    if len(shapes) == 2 and None not in shapes:
        return False
    matrices = [MATRIX.fullmatch(t) for t in (gold, pred)]
    if all(matrices):
        rows = [[split_top(row, re.compile("&")) for row in m[2].strip().strip("¶").split("¶")] for m in matrices]
        if [len(r) for r in rows[0]] != [len(r) for r in rows[1]]:
            return False
        return every(same_part(g, p) for r, q in zip(*rows) for g, p in zip(r, q))
    if any(matrices):
        matrix, other = (matrices[0], pred) if matrices[0] else (matrices[1], gold)
        point, body = bracketed(other), matrix[2].strip().strip("¶")
        if point and point[0] + point[2] == "()" and not ("&" in body and "¶" in body):  # a row or a column
            entries = re.split("[&¶]", body)
            return len(entries) == len(point[1]) and every(same_part(e, x) for e, x in zip(entries, point[1]))
        return None
    infinite = [t for t in (gold, pred) if t in (r"\infty", r"-\infty")]
    if infinite:
        other = pred if gold in infinite else gold
        return False if len(infinite) == 2 or value_or_none(other) is not None else None
    sets = [as_pieces(t) for t in (gold, pred)]
    if all(sets):
        return matching_pieces(*sets)
    relations = [split_top(t, RELATION) for t in (gold, pred)]
    if len(relations[0]) > 1 or len(relations[1]) > 1:
        return same_relation(gold, pred, *relations)
    lists = [split_top(t, COMMA) for t in (gold, pred)]
    brackets = [bracketed(t) for t in (gold, pred)]
    signed = [[w for t in items for w in plus_minus(t)] for items in lists]
    if any(brackets) and any(bracketed(items[0]) and len(items) > len(before) for items, before in zip(signed, lists)):
        return matching(*signed, same_part)                                      # (\pm 1, 2)
    if all(brackets):
        (g_open, g_items, g_close), (p_open, p_items, p_close) = brackets
        if (g_open, g_close) != (p_open, p_close):
            return None if g_open + p_open in ("([", "[(") and len(g_items) != 2 else False
        if g_open == "⦃":
            return matching(g_items, p_items, same_part)
        return len(g_items) == len(p_items) and every(same_part(g, p) for g, p in zip(g_items, p_items))
    if any(brackets) and (len(lists[0]) > 1 or len(lists[1]) > 1):
        bracket, items = (brackets[0], lists[1]) if brackets[0] else (brackets[1], lists[0])
        if bracket[0] == "⦃":
            return matching(bracket[1], items, same_part)
        if bracket[0] + bracket[2] == "()" and len(items) == len(bracket[1]) and not any(bracketed(i) for i in items):
            return every(same_part(g, p) for g, p in zip(bracket[1], items))      # a point without its parentheses
        return False
    if any(brackets):
        bracket, other = (brackets[0], pred) if brackets[0] else (brackets[1], gold)
        if bracket[0] == "⦃" and len(bracket[1]) == 1:
            return same_part(bracket[1][0], other)
        return expand_signs(bracket, other)
    lists = signed
    if len(lists[0]) > 1 or len(lists[1]) > 1:
        if len(lists[0]) == len(lists[1]) and all(re.fullmatch(r"[A-Za-z .'-]{2,}", w) for w in lists[0]) \
                and not re.search(r"(?<![a-z])(and|or)(?![a-z])", gold):         # names: a ranking
            return every(same_part(g, p) for g, p in zip(*lists))
        return matching(*lists, same_part)
    return same_value(gold, pred)


def shape(text):
    """What a text certainly is, if that is plain to see: answers of different shapes differ."""
    if MATRIX.fullmatch(text):
        return "matrix"
    if len(split_top(text, UNION)) > 1 and all(bracketed(part) for part in split_top(text, UNION)):
        return "union"
    if re.fullmatch(r"\d+\s*:\s*\d+", text):
        return "ratio"
    if re.fullmatch(r"[A-Za-z' -]{3,}", text):
        return "words"
    return "number" if re.fullmatch(r"-?[\d.]+|-?\\frac\{\d+\}\{\d+\}", text) else None


def expand_signs(bracket, other):
    values = plus_minus(other)
    return matching(bracket[1], values, same_part) if bracket[0] == "⦃" and len(values) > 1 else False


def plus_minus(text):
    r"""['1+x', '1-x'] for '1\pm x'."""
    if text.count(r"\pm") == 1:
        return [text.replace(r"\pm", sign) for sign in "+-"]
    return [text]


def bracketed(text):
    """(open, items, close) of a text that is one pair of brackets around a list, else None."""
    if len(text) > 1 and text[0] in "([⦃" and text[-1] in ")]⦄":
        depth = 0
        for i, c in enumerate(text):
            depth += (c in "([{⦃") - (c in ")]}⦄")
            if depth == 0:
                items = split_top(text[1:-1], COMMA)
                return (text[0], items, text[-1]) if i == len(text) - 1 and (len(items) > 1 or text[0] == "⦃") else None
    return None


def as_pieces(text):
    r"""Pieces of a union, [(open, low, high, close) | ('⦃', element)], for an interval, a union, x \in ..., or a simple
    inequality; None for anything else."""
    text = re.sub(r"^[a-zA-Z]\s*\\in(?![a-z])\s*", "", text)
    text = re.sub(r"^(?:[a-zA-Z]\s*\\ne(?![a-z])|\(-\\infty,\\infty\)\s*\\(?:setminus|backslash)\s*⦃)\s*([^,⦃⦄]+)⦄?$",
                  r"(-\\infty,\1)\\cup(\1,\\infty)", text)
    set_of = re.fullmatch(r"⦃\s*[a-zA-Z]\s*(?:\\in\s*\\mathbb\{R\}\s*)?(?:\||:)(.*)⦄", text)
    text = set_of[1].strip() if set_of else text
    pieces = []
    for part in split_top(text, re.compile(UNION.pattern + r"|(?<=\s)or(?=\s)|\\text\{\s*or\s*\}|\\lor(?![a-z])")):
        bracket = bracketed(part)
        parts, signs = split_top(part, RELATION), [m.group() for m in RELATION.finditer(part)]
        if bracket and bracket[0] == "⦃":
            pieces += [("⦃", item) for item in bracket[1]]
        elif bracket and len(bracket[1]) == 2:
            pieces.append((bracket[0], *bracket[1], bracket[2]))
        elif len(parts) == 2 and len(signs) == 1 and signs[0] in ("<", ">", r"\le", r"\ge"):
            low, high = parts if signs[0] in ("<", r"\le") else parts[::-1]
            strict = signs[0] in "<>"
            if VARIABLE.fullmatch(low) and not VARIABLE.fullmatch(high):
                pieces.append(("(", r"-\infty", high, ")" if strict else "]"))
            elif VARIABLE.fullmatch(high) and not VARIABLE.fullmatch(low):
                pieces.append(("(" if strict else "[", low, r"\infty", ")"))
            else:
                return None
        elif len(parts) == 3 and len(signs) == 2 and VARIABLE.fullmatch(parts[1]):
            if set(signs) <= {">", r"\ge"}:
                parts, signs = parts[::-1], signs[::-1]
            elif not set(signs) <= {"<", r"\le"}:
                return None
            pieces.append(("(" if signs[0] in "<>" else "[", parts[0], parts[2], ")" if signs[1] in "<>" else "]"))
        else:
            return None
    return pieces


def matching_pieces(gold, pred):
    """Unions of intervals: equal as collections. An open interval may be meant as a point: order counts just as well."""
    if len(gold) != len(pred):
        kinds = [{p[0] == "⦃" for p in pieces} for pieces in (gold, pred)]
        return None if any(len(k) == 2 for k in kinds) else False

    def equal(g, p):
        if (g[0], g[-1] if len(g) == 4 else 0) != (p[0], p[-1] if len(p) == 4 else 0):
            return False
        return every(same_part(a, b) for a, b in zip(g[1:3], p[1:3]))
    return matching(gold, pred, equal)


def same_relation(gold_text, pred_text, gold, pred):
    """Equations, as split at their relation signs."""
    signs = [set(m.group() for m in RELATION.finditer(t)) for t in (gold_text, pred_text)]
    lists = [split_top(t, COMMA) for t in (gold_text, pred_text)]
    if len(lists[0]) > 1 or len(lists[1]) > 1:                     # x = 1 or x = 2 against 1, 2 or {1, 2}
        lists = [b[1] if (b := bracketed(t)) and b[0] == "⦃" else items for t, items in zip((gold_text, pred_text), lists)]
        values = [[split_top(item, RELATION)[-1] for item in items] for items in lists]
        names = [[n for n, *v in (split_top(item, RELATION) for item in items) if len(v) == 1] for items in lists]
        if signs[0] | signs[1] == {"="} and all(VARIABLE.fullmatch(n) for n in names[0] + names[1]):
            if len(set(names[0] + names[1])) == 1:
                return matching(*values, same_part)
            if names[0] and names[1]:                              # x = 1, y = 2: by name
                named = [dict(zip(n, v)) for n, v in zip(names, values)]
                if all(len(d) == len(v) for d, v in zip(named, values)):
                    return set(named[0]) == set(named[1]) and every(
                        same_part(v, named[1][name]) for name, v in named[0].items())
            point = bracketed(gold_text) or bracketed(pred_text)   # (1, 2) against x = 1, y = 2
            if point:
                values = [point[1] if bracketed(t) else v for t, v in zip((gold_text, pred_text), values)]
            if len(values[0]) == len(values[1]):
                return every(same_part(g, p) for g, p in zip(*values)) or None
        return None
    if not signs[0] | signs[1] <= {"=", r"\in", r"\approx"}:
        if len(gold) == len(pred) == 2 and signs[0] | signs[1] <= {"<", ">", r"\le", r"\ge"}:
            low_high = [sides if sign <= {"<", r"\le"} else sides[::-1] for sides, sign in zip((gold, pred), signs)]
            ratio = proportional(*low_high)
            if ratio:
                return bool(signs[0] & {"<", ">"}) == bool(signs[1] & {"<", ">"}) and ratio.real > 0 and not ratio.imag
        return None
    if len(gold) > 1 and len(pred) > 1:
        if len(gold) > 2 or len(pred) > 2:
            return same_part(gold[-1], pred[-1]) or None
        if VARIABLE.fullmatch(gold[0]) and VARIABLE.fullmatch(pred[0]):
            if re.sub(r"\s|[{}]", "", gold[0]) != re.sub(r"\s|[{}]", "", pred[0]):
                return False if same_part(gold[1], pred[1]) is False else None
            verdict = same_part(gold[1], pred[1])
            return None if verdict is False and has_variables(gold[1]) else verdict
        if not has_variables(gold_text + pred_text):
            return every(same_part(g, p) for g, p in zip(gold, pred))
        return True if proportional(gold, pred) else None
    if len(gold) > 1:
        return same_part(gold[-1], pred_text) if VARIABLE.fullmatch(gold[0]) else None
    labelled = VARIABLE.fullmatch(pred[0]) or value_or_none(gold_text) is not None
    return same_part(gold_text, pred[-1]) if labelled else None


def has_variables(text):
    return re.search(r"[a-zA-Z]", re.sub(r"\\[a-zA-Z]+", "", text)) is not None


def proportional(gold, pred):
    """The constant factor between left minus right of the one and of the other, if it is the same at all points."""
    ratios = []
    try:
        for trial in POINTS:
            g, p = (value(sides[0], trial) - value(sides[1], trial) for sides in (gold, pred))
            ratios.append(complex(g) / complex(p))
    except (Unclear, ZeroDivisionError, OverflowError):
        return None
    return ratios[0] if all(abs(r - ratios[0]) <= 1e-9 * abs(r) for r in ratios) else None


def value_or_none(text):
    try:
        return value(text, 0)
    except (Unclear, OverflowError, ZeroDivisionError):
        return None


def same_value(gold, pred):
    """Expressions by value, else texts by their letters."""
    values = [[], []]
    positive = r"\sqrt" in gold + pred and "|" not in gold + pred  # \sqrt{ab} is \sqrt{a}\sqrt{b}
    for found, text in zip(values, (gold, pred)):
        for trial in (POSITIVE_POINTS if positive else POINTS)[:3 if re.search("[a-zA-Z]", text) else 1]:
            try:
                found.append(value(text, trial))
            except ZeroDivisionError:
                found.append(None)
            except (Unclear, OverflowError):
                break
    if values[0] and values[1] and len(gold) + len(pred) < 2 * MAX_ANSWER:
        longer = max(map(len, values))
        values = [v * longer if len(v) == 1 else v for v in values]
        pairs = [(g, p) for g, p in zip(*values) if g is not None and p is not None]
        if len(values[0]) == len(values[1]) and pairs:
            return every(close_values(g, p) for g, p in pairs) if len(pairs) == longer or longer == 1 else \
                (False if any(close_values(g, p) is False for g, p in pairs) else None)
    drop = r"\\text|[\s{}.,;:!?'()]" if re.search(r"\d|\\(?!text)", gold + pred) else r"\\text|[^a-z]"
    plain = [re.sub(drop, "", t.lower()) for t in (gold, pred)]
    wordy = [bool(re.search(r"[a-zA-Z]{2}", re.sub(r"\\(?!text)[a-zA-Z]+|\\text", "", t))) for t in (gold, pred)]
    if all(wordy):
        if plain[0] == plain[1] and plain[0]:
            return True
        return False if not any(re.search(r"[\\^_=+*/]", re.sub(r"\\text", "", t)) for t in (gold, pred)) else None
    return None


def close_values(g, p):
    if type(g) is type(p) is Fraction:
        if g == p:
            return True
        near = abs(g - p) <= Fraction(1, 10**5) * max(abs(g), abs(p))
        return None if near and not g.denominator == p.denominator == 1 else False
    try:
        g, p = complex(g), complex(p)
    except OverflowError:
        return None
    size = max(abs(g), abs(p))
    if not math.isfinite(size):
        return None
    if abs(g - p) <= 1e-11 * size or size < 1e-13:
        return True
    return None if abs(g - p) <= 1e-5 * size else False


FUNCTIONS = {"sin": cmath.sin, "cos": cmath.cos, "tan": cmath.tan, "ln": cmath.log, "log": cmath.log, "exp": cmath.exp,
             "arcsin": cmath.asin, "arccos": cmath.acos, "arctan": cmath.atan, "cot": lambda x: 1 / cmath.tan(x),
             "sec": lambda x: 1 / cmath.cos(x), "csc": lambda x: 1 / cmath.sin(x), "sinh": cmath.sinh, "cosh": cmath.cosh,
             "tanh": cmath.tanh}
GREEK = set("alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau phi chi psi omega "
            "Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega ell".split())
MIXED = re.compile(r"\s*\\frac\s*(?:\{\s*(\d+)\s*\}|(\d))\s*(?:\{\s*(\d+)\s*\}|(\d))|\s+(\d+)\s*/\s*(\d+)(?![\d.])")
MAX_BITS = 1 << 15
POINTS, POSITIVE_POINTS = (0, 1, 2), (0, 3, 4)  # where expressions are compared: fixed random values of their variables


def value(text, trial):
    """Value of an expression in LaTeX or plain notation at the `trial`-th point: a Fraction if exact, else complex.

    Raises Unclear for what it cannot read with certainty, ZeroDivisionError where the expression is not defined.
    """
    position, depth = 0, 0

    def peek():
        nonlocal position
        while position < len(text) and text[position] == " ":
            position += 1
        return text[position] if position < len(text) else ""

    def command():
        match = re.compile(r"\\[a-zA-Z]+").match(text, position)
        return match.group()[1:] if match else ""

    def take(expected):
        nonlocal position
        if peek() != expected:
            raise Unclear(text)
        position += 1

    def exact(number):
        if isinstance(number, Fraction) and \
                max(number.numerator.bit_length(), number.denominator.bit_length()) > MAX_BITS:
            raise Unclear("too large")
        return number

    def add_up():
        nonlocal position, depth
        depth += 1
        if depth > 40:
            raise Unclear("nested too deeply")
        total = multiply()
        while peek() in ("+", "-"):
            sign = text[position]
            position += 1
            term = multiply()
            total = exact(total + term if sign == "+" else total - term)
        depth -= 1
        return total

    def starts_atom():
        c = peek()
        if c == "\\":
            return command() in {*FUNCTIONS, *GREEK, "frac", "sqrt", "pi", "binom", "lfloor", "lceil"}
        return c.isalnum() and c.isascii() or c in ("(", "{", "[") or c == "."

    def multiply():
        nonlocal position
        product = signed()
        while True:
            c = peek()
            if c == "*":
                position += 1
                product = exact(product * signed())
            elif c == "/":
                position += 1
                divisor = signed()
                if divisor == 0:
                    raise ZeroDivisionError
                product = exact(product / divisor)
            elif c and starts_atom():
                product = exact(product * power())
            else:
                return product

    def signed():
        nonlocal position
        if peek() == "-":
            position += 1
            return -signed()
        if peek() == "+":
            position += 1
            return signed()
        return power()

    def power():
        nonlocal position
        base = atom()
        while True:
            if peek() == "!":
                position += 1
                if not isinstance(base, Fraction) or base.denominator != 1 or not 0 <= base <= 200:
                    raise Unclear("factorial")
                base = Fraction(math.factorial(int(base)))
            elif peek() == "^":
                position += 1
                base = raised(base, exponent())
            else:
                return base

    def exponent():
        nonlocal position
        if peek() == "{":
            return argument()
        if peek() == "-":
            position += 1
            return -exponent()
        return atom()

    def argument():
        """What a LaTeX command takes: a group in braces, or one digit, letter or command."""
        nonlocal position
        if peek() == "{":
            take("{")
            inner = add_up()
            take("}")
            return inner
        if peek().isdigit():
            position += 1
            return Fraction(int(text[position - 1]))
        return atom()

    def function(name):
        nonlocal position
        base = order = None
        while peek() in ("^", "_"):
            if text[position] == "_":
                position += 1
                base = argument()
            else:
                position += 1
                order = exponent()
                if order == -1:                  # \sin^{-1} is the inverse function
                    if name not in ("sin", "cos", "tan"):
                        raise Unclear("inverse or reciprocal")
                    name, order = "arc" + name, None
        if peek() in ("(", "{", "["):
            inner = atom()
        else:
            if not starts_atom() or command() in FUNCTIONS:
                raise Unclear(text)
            inner = power()
            while peek() and starts_atom() and command() not in FUNCTIONS and peek() not in "([":
                inner = exact(inner * power())
        try:
            result = FUNCTIONS[name](complex(inner))
            if base is not None:
                result /= cmath.log(complex(base))
        except (ValueError, OverflowError):
            raise ZeroDivisionError from None
        return result if order is None else raised(result, order)

    def atom():
        nonlocal position
        c = peek()
        number = re.compile(r"\d+(?:\.\d*)?|\.\d+").match(text, position)
        if number:
            position = number.end()
            result = Fraction(number.group().rstrip("."))
            repeating = re.compile(r"\s*\\overline\s*\{(\d{1,50})\}").match(text, position)
            if repeating and "." in number.group():
                position, period = repeating.end(), repeating[1]
                decimals = len(number.group().partition(".")[2])
                result += Fraction(int(period), (10 ** len(period) - 1) * 10 ** decimals)
            mixed = MIXED.match(text, position) if "." not in number.group() else None
            if mixed:
                top, bottom = [int(g) for g in mixed.groups() if g]
                if 0 < top < bottom and text[mixed.end():mixed.end() + 1] not in ("^", "!"):
                    position = mixed.end()
                    result += Fraction(top, bottom)
            if peek() == "_":
                raise Unclear("a number in some base")
            return exact(result)
        if c in ("(", "[", "{"):
            take(c)
            inner = add_up()
            take({"(": ")", "[": "]", "{": "}"}[c])
            return inner
        if c == "|":
            take("|")
            inner = add_up()
            take("|")
            return abs(inner) if isinstance(inner, Fraction) else complex(abs(inner))
        if c == "\\":
            name = command()
            position += len(name) + 1
            if name == "frac":
                top, bottom = argument(), argument()
                if bottom == 0:
                    raise ZeroDivisionError
                return exact(top / bottom)
            if name == "sqrt":
                degree = Fraction(2)
                if peek() == "[":
                    take("[")
                    degree = add_up()
                    take("]")
                return root(argument(), degree)
            if name == "pi":
                return complex(math.pi)
            if name == "binom":
                n, k = argument(), argument()
                if not all(isinstance(v, Fraction) and v.denominator == 1 and 0 <= v <= 1000 for v in (n, k)):
                    raise Unclear("binomial")
                return Fraction(math.comb(int(n), int(k)))
            if name in ("lfloor", "lceil"):
                inner = add_up()
                peek()
                if command() != name.replace("l", "r", 1):
                    raise Unclear(text)
                position += len(name) + 1
                if not isinstance(inner, Fraction):
                    raise Unclear("rounding")
                return Fraction(math.floor(inner) if name == "lfloor" else math.ceil(inner))
            if name in FUNCTIONS:
                return function(name)
            if name not in GREEK:
                raise Unclear(name)
            return variable(name)
        word = re.compile(r"[a-zA-Z]+").match(text, position)
        if not word or len(word.group()) > 2:
            raise Unclear("words")
        position += 1
        if c == "i":
            return 1j
        return complex(math.e) if c == "e" else variable(c)

    def variable(name):
        nonlocal position
        index = re.compile(r"\s*_\s*(\{\w+\}|\w)").match(text, position)
        if index:
            name += "_" + index[1].strip("{}")
            position = index.end()
        code = zlib.crc32(f"{name}/{trial}".encode())
        return Fraction(code % 1997 + 503, 1009) * (-1 if trial not in POSITIVE_POINTS and code >> 20 & 1 else 1)

    result = add_up()
    if peek():
        raise Unclear(text)
    return result


def raised(base, exponent):
    if isinstance(exponent, Fraction) and exponent.denominator == 1:
        n = int(exponent)
        if isinstance(base, Fraction):
            if base == 0 and n < 0:
                raise ZeroDivisionError
            if abs(n) * max(base.numerator.bit_length(), base.denominator.bit_length()) > MAX_BITS:
                raise Unclear("too large")
            return base ** n
        if abs(n) > 10**6 or base == 0:
            raise Unclear("too large")
        return base ** n
    if isinstance(exponent, Fraction) and isinstance(base, Fraction) and base >= 0:
        return root(base, 1 / exponent) if exponent.numerator == 1 else complex(float(base) ** float(exponent))
    base = complex(base)
    if base == 0 or base.imag == 0 and base.real < 0:
        raise Unclear("which root")
    return base ** complex(exponent)


def root(base, degree):
    if not isinstance(degree, Fraction) or degree.denominator != 1 or not 2 <= degree <= 100:
        raise Unclear("root")
    if isinstance(base, Fraction) and base >= 0 and degree == 2:
        top, bottom = math.isqrt(base.numerator), math.isqrt(base.denominator)
        if top * top == base.numerator and bottom * bottom == base.denominator:
            return Fraction(top, bottom)
    base = complex(base)
    if base.imag == 0 and base.real < 0 and degree % 2:
        return complex(-((-base.real) ** (1 / float(degree))))
    return cmath.sqrt(base) if degree == 2 else base ** (1 / float(degree))


def math_main(fd):
    """Nursery: imports math-verify once, then forks a worker for every channel that it is sent."""
    import math_verify  # noqa: F401
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    channel = socket.socket(fileno=fd)
    send(channel, "ready")
    while True:
        try:
            _, descriptor = receive(channel, want_descriptor=True)
        except EOFError:
            os._exit(0)
        pid = os.fork()
        if pid == 0:
            channel.close()
            math_worker(socket.socket(fileno=descriptor))
        os.close(descriptor)
        send(channel, pid)


def math_worker(channel):
    from math_verify import LatexExtractionConfig, parse, verify
    import logging
    logging.disable(logging.CRITICAL)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
    config = [LatexExtractionConfig()]
    while True:
        try:
            gold, pred = receive(channel)
        except EOFError:
            os._exit(0)
        try:
            sides = [parse("\\boxed{" + side + "}", config, parsing_timeout=None) for side in (gold, pred)]
            reply = bool(verify(*sides, timeout_seconds=None)) if all(sides) else False
        except MemoryError:
            os._exit(MEMORY)
        except RecursionError:
            reply = False
        send(channel, reply)


class Nursery:
    """The process that has math-verify loaded, started when the first answer needs it; it dies with its workers."""

    def __init__(self):
        self.lock, self.process = threading.Lock(), None

    def fork(self):
        """(pid, channel) of a new worker."""
        with self.lock:
            if self.process is None or self.process.poll() is not None:
                self.process, self.channel = spawn(LOAD_MATH)
                receive(self.channel, 120)
            ours, theirs = socket.socketpair()
            with theirs:
                send(self.channel, "fork", [theirs.fileno()])
            return receive(self.channel, 60), ours

    def close(self):
        if self.process:
            self.process.kill()


class MathWorker:
    def __init__(self, nursery):
        self.nursery, self.channel = nursery, None

    def equal(self, gold, pred, limit_s):
        """True, False, "timeout" or "memory"."""
        if self.channel is None:
            self.pid, self.channel = self.nursery.fork()
        try:
            send(self.channel, [gold, pred])
            return receive(self.channel, limit_s)
        except (TimeoutError, EOFError, ConnectionError) as error:
            os.kill(self.pid, signal.SIGKILL)
            self.channel.close()
            self.channel = None
            return "timeout" if isinstance(error, TimeoutError) else "memory"


def equal_answers(gold, pred, settings, worker):
    """True, False, "timeout" or "memory"."""
    if len(pred) > MAX_ANSWER:
        return False
    verdict = same(gold, pred)
    return worker.equal(gold, pred, settings.timeout_s) if verdict is None else verdict


def grade_math(completion, row, settings, worker):
    pred = extract_answer(completion)
    if pred is None or not pred.strip():
        return 0.0, False, None, "no answer"
    gold, meant = row["gold"], pred
    choices = row.get("choices") or {}
    if choices and canonical(gold) not in choices:  # "(C)" or "C. 16" stands for what choice C says
        plain = re.sub(r"\\text\{([^{}]*)\}", r"\1", normalize(pred[:MAX_ANSWER])[0])
        letter = re.fullmatch(r"\(?([A-Z])\)?(?:[.:)]?\s.*)?", plain, re.S)
        meant = choices.get(letter[1], pred) if letter else pred
    verdict = equal_answers(gold, meant, settings, worker)
    correct = verdict is True
    return float(correct), correct, canonical(meant[:MAX_ANSWER]), {True: "ok", False: "wrong"}.get(verdict, verdict)


# ----------------------------------------------------------------------------------------------------------------------
# The filter.
# ----------------------------------------------------------------------------------------------------------------------


GRADERS = {"math": grade_math, "code": grade_code, "grid": grade_grid}
REWARDS = {"fraction": lambda score, correct: score, "binary": lambda score, correct: float(correct),
           "signed": lambda score, correct: 1.0 if correct else -1.0}


class Grader:
    """W threads, each with its own helper processes; results of the same (answer, reference) are computed once."""

    def __init__(self, settings):
        self.settings, self.local = settings, threading.local()
        self.pool = concurrent.futures.ThreadPoolExecutor(settings.workers)
        self.cache, self.runs, self.ready, self.helpers = collections.OrderedDict(), {}, set(), []
        self.offer, self.nursery = ("namespaces", "landlock", "seccomp"), Nursery()
        self.reused = 0

    def sandboxes(self, check):
        mine = self.local.__dict__.setdefault("sandboxes", [])
        while len(mine) < (2 if check else 1):
            mine.append(Sandbox(self.offer))
            self.helpers.append(mine[-1])
        return mine

    def worker(self):
        if not hasattr(self.local, "worker"):
            self.local.worker = MathWorker(self.nursery)
        return self.local.worker

    def one(self, completion, row):
        if row["kind"] == "code":
            return grade_code(completion, row, self.settings, self.sandboxes(row["tests"]["type"] == "check"), self.runs)
        if row["kind"] == "math":
            return grade_math(completion, row, self.settings, self.worker())
        return grade_grid(completion, row)

    def self_test(self, kind):
        """Grade a known-good and a known-bad sample of this kind; GraderError if either comes out wrong."""
        if kind == "code":
            sandbox = self.sandboxes(False)[0]
            level = sandbox.level
            safe = "seccomp" in level and len(level) == 2
            print(f"reward.py: sandbox: {', '.join(level) or 'none'}{''.join('; no ' + n for n in sandbox.notes)}",
                  file=sys.stderr)
            if not safe and not self.settings.unsafe:
                raise GraderError("this machine offers less than the floor for untrusted code (seccomp, and either "
                                  "namespaces or landlock); --unsafe runs it all the same")
        good, bad = SELF_TEST[kind]
        for completion, right in (good, True), (bad, False):
            result = self.one(completion, SELF_TEST_ROWS[kind])
            if result[1] is not right:
                raise GraderError(f"self-test: {kind} sample {completion!r} was graded {result}")

    def submit(self, row):
        """Start grading a row: a function that waits for it and returns the rewarded row."""
        kind = row["kind"]
        if kind not in self.ready:
            self.pool.submit(self.self_test, kind).result()
            self.ready.add(kind)
        if kind == "code" and self.settings.max_tests and row["tests"]["type"] != "check":
            row = {**row, "tests": {**row["tests"], **{k: row["tests"][k][:self.settings.max_tests] for k in
                                                       ("inputs", "outputs", "weights") if row["tests"].get(k)}}}
            if row["tests"].get("weights") and not any(row["tests"]["weights"]):
                raise BadRow(f"--max-tests {self.settings.max_tests} leaves no test of positive weight")
        if kind == "code" and row["tests"]["type"] == "call":
            row = {**row, "tests": {**row["tests"], "inputs_json": json.dumps(row["tests"]["inputs"]),
                                    "room": (1 << 16) + 4 * len(json.dumps(row["tests"]["outputs"]))}}
        reference = json.dumps([kind, row.get("gold"), row.get("tests"), row.get("choices")])
        reference = hashlib.sha256(reference.encode()).digest()
        futures = []
        for completion in row["completions"]:
            key = hashlib.sha256(reference + completion.encode("utf-8", "surrogatepass")).digest()
            if key in self.cache:
                self.cache.move_to_end(key)
                self.reused += 1
            else:
                self.cache[key] = self.pool.submit(self.one, completion, row)
                if len(self.cache) > 50_000:
                    self.cache.popitem(last=False)
            futures.append(self.cache[key])
        return futures

    def finish(self, row, futures):
        results = [future.result() for future in futures]
        scores, correct, preds, verdicts = ([r[i] for r in results] for i in range(4))
        votes = self.votes(row["kind"], preds, correct)
        rewards = [REWARDS[self.settings.reward](s, c) for s, c in zip(scores, correct)]
        return {**row, "scores": scores, "correct": correct, "preds": preds, "votes": votes, "rewards": rewards,
                "verdicts": verdicts}

    def votes(self, kind, preds, correct):
        """Classes of equal predictions, numbered by first appearance; -1 for none. Math: right ones are one class; others
        join the first class whose first member they equal (what only math-verify can tell: within --timeout-s a row)."""
        votes, firsts, end = [], [], time.monotonic() + self.settings.timeout_s

        def alike(i, j):
            if preds[i] == preds[j] or correct[i] and correct[j]:
                return True
            if kind != "math" or correct[i] or correct[j]:
                return False
            verdict = same(preds[i], preds[j])
            left = end - time.monotonic()
            if verdict is None:
                return left > 0 and self.worker().equal(preds[i], preds[j], left) is True
            return verdict
        for i, pred in enumerate(preds):
            number = -1 if pred is None else next((c for c, first in enumerate(firsts) if alike(first, i)), len(firsts))
            if number == len(firsts):
                firsts.append(i)
            votes.append(number)
        return votes

    def close(self):
        for helper in self.helpers:
            helper.process.kill()
        self.nursery.close()


SELF_TEST = {"math": ("so \\boxed{\\frac{1}{2}}", "so \\boxed{\\frac{1}{3}}"),
             "code": ("```python\nprint(int(input()) + 1)\n```", "```python\nimport sys\nsys.exit(0)\n```"),
             "grid": ("[[1, 2], [3, 4]]", "[[1, 2], [3, 5]]")}
SELF_TEST_ROWS = {"math": {"kind": "math", "gold": "0.5"}, "grid": {"kind": "grid", "gold": [[1, 2], [3, 4]]},
                  "code": {"kind": "code", "tests": {"type": "stdin", "inputs": ["1", "2"], "outputs": ["2", "3\n"]}}}


def read_ahead(stream, arrived):
    """Reader thread: (number, row) into the bounded queue `arrived`; at the end None, or the exception that ended it."""
    end = None
    try:
        for number, row in read_rows(stream, "reward"):
            if row["kind"] not in GRADERS:
                raise at_row(number, row, f"kind: expected one of {', '.join(GRADERS)}, found {row['kind']!r}")
            arrived.put((number, row))
    except BaseException as error:  # whatever it is, the main thread ends with it
        end = error
    arrived.put((None, end))


def run(settings, out):
    """The filter itself. At a row that cannot be graded, those before it are still written; then BadRow."""
    start, counts, samples, written = time.monotonic(), collections.Counter(), 0, 0
    grader = Grader(settings)
    arrived, pending = queue.Queue(maxsize=8), collections.deque()
    threading.Thread(target=read_ahead, args=(sys.stdin.buffer, arrived), daemon=True).start()
    gone = select.poll()
    gone.register(out, select.POLLERR)
    ended = failure = None
    try:
        while not (ended and not pending):
            # take in what has arrived (a bounded number of rows ahead), give out what is ready, in order
            while not ended and len(pending) < 4 * settings.workers + 4:
                try:
                    number, row = arrived.get(timeout=0 if pending else 0.25)
                except queue.Empty:
                    break
                if number is None:
                    ended, failure = True, row
                    break
                try:
                    pending.append((number, row, grader.submit(row)))
                except BadRow as error:
                    ended, failure = True, at_row(number, row, error)
            if pending:
                number, row, futures = pending[0]
                unfinished = concurrent.futures.wait(futures, timeout=0.02 if not ended else 0.25).not_done
                if not unfinished:
                    try:
                        rewarded = grader.finish(row, futures)
                    except BadRow as error:
                        raise at_row(number, row, error) from None
                    out.write(json.dumps(rewarded).encode() + b"\n")
                    out.flush()
                    pending.popleft()
                    counts.update(rewarded["verdicts"])
                    samples += len(futures)
                    written += 1
            if gone.poll(0):
                raise BrokenPipeError
        if failure:
            raise failure
        if not written:
            nothing_came()
    finally:
        grader.close()
        seconds = time.monotonic() - start
        print(f"reward.py: {written} rows, {samples} samples in {seconds:.1f} s ({samples / seconds:.0f}/s), "
              f"{grader.reused} seen before" + "".join(f", {v} {c}" for v, c in counts.most_common()), file=sys.stderr)


def benchmark(settings):
    """Speeds side by side in one run: programs against a fresh interpreter for each and against an empty fork; math rows
    from standard input (one solution each) against math-verify alone, on their own answers and on the next row's."""
    def per_second(run, count):
        start = time.perf_counter()
        for i in range(count):
            run(i)
        return count / (time.perf_counter() - start)

    def fork_and_wait(count):
        source = ("import os, sys, time\nstart = time.perf_counter()\nfor _ in range(int(sys.argv[1])):\n    pid = os.fork()\n"
                  "    if pid == 0: os._exit(0)\n    os.waitpid(pid, 0)\nprint(int(sys.argv[1]) / (time.perf_counter() - start))")
        command = [sys.executable, "-I", "-S", "-c", source, str(count)]
        return float(subprocess.run(command, capture_output=True, check=True).stdout)

    program = "a, b = map(int, input().split())\nprint(a + b)\n"
    tests = {"type": "stdin", "inputs": ["3 4\n"], "outputs": ["7\n"]}
    sandbox = Sandbox()
    print("sandbox:", ", ".join(sandbox.level))

    def fresh(i):
        done = subprocess.run([sys.executable, "-I", "-S", "-c", program], input=b"3 4\n", capture_output=True)
        assert done.stdout == b"7\n"

    def ours(i):
        assert run_program([sandbox], program, tests, 5.0, 1024, False) == ["7\n"]
    def usual(i):
        done = subprocess.run([sys.executable, "-c", program], input=b"3 4\n", capture_output=True)
        assert done.stdout == b"7\n"
    rates = {"a fresh interpreter": [], "the same without -I -S": [], "this sandbox": [], "an empty fork": []}
    for _ in range(5):
        rates["a fresh interpreter"].append(per_second(fresh, 30))
        rates["the same without -I -S"].append(per_second(usual, 15))
        rates["this sandbox"].append(per_second(ours, 300))
        rates["an empty fork"].append(fork_and_wait(300))
    medians = {name: sorted(values)[2] for name, values in rates.items()}
    for name, rate in medians.items():
        print(f"programs a second, {name}: {rate:.0f} ({rate / medians['a fresh interpreter']:.1f}x)")
    sandbox.close()
    rows = [(row["gold"], row["completions"][0]) for _, row in read_rows(sys.stdin.buffer, "reward")
            if row["kind"] == "math"] if not sys.stdin.isatty() else []
    if not rows:
        print("math: no rows on standard input")
        return
    import logging
    from math_verify import parse, verify
    logging.disable(logging.CRITICAL)
    nursery = Nursery()
    worker = MathWorker(nursery)
    worker.equal("x", "x", 120)  # math-verify is loaded
    for what, shift in ("their own", 0), ("the next row's", 1):
        pairs = [(gold, rows[(i + shift) % len(rows)][1]) for i, (gold, _) in enumerate(rows)]
        verdicts = [[], []]

        def alone(i):
            verdicts[0].append(verify(parse(f"${pairs[i][0]}$"), parse(pairs[i][1])))

        def mine(i):
            verdicts[1].append(grade_math(pairs[i][1], {"gold": pairs[i][0]}, settings, worker)[1])
        same.cache_clear(), normalize.cache_clear()
        slow, fast = per_second(alone, len(pairs)), per_second(mine, len(pairs))
        print(f"math answers a second, {what}: math-verify alone {slow:.0f}, here {fast:.0f} ({fast / slow:.1f}x); accepted "
              f"{sum(verdicts[0])} and {sum(verdicts[1])} of {len(pairs)}")
        for (gold, text), one, other in zip(pairs, *verdicts):
            if one is not other:
                print(f"  differ: reference {gold!r}, answer {extract_answer(text)!r}: math-verify {one}, here {other}")
    nursery.close()


def arguments(argv=None):
    parser = argparse.ArgumentParser(usage="%(prog)s [flags] < completions.jsonl > rewarded.jsonl", allow_abbrev=False,
                                     description=__doc__.split("\n")[0],
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--reward", choices=list(REWARDS), default="fraction", help="what `rewards` holds")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="samples graded at the same time")
    parser.add_argument("--timeout-s", type=float, default=5.0,
                        help="seconds per test (code whose row has no time_limit_s) and per answer (math)")
    parser.add_argument("--memory-mb", type=int, default=1024, help="address space of a program whose row has no limit")
    parser.add_argument("--max-tests", type=int, default=0, help="use the first so many tests of a program; 0: all")
    parser.add_argument("--stop-early", action="store_true", help="stdin tests: stop a program at its first failed test; "
                        "for --reward binary or signed. Votes of such programs compare what was run")
    parser.add_argument("--unsafe", action="store_true", help="run code even where the sandbox is below the floor")
    parser.add_argument("--benchmark", action="store_true", help="measure speeds instead; math rows from standard input")
    settings = parser.parse_args(argv)
    if settings.workers < 1 or settings.timeout_s <= 0 or settings.memory_mb < 16 or settings.max_tests < 0:
        parser.error("expected --workers >= 1, --timeout-s > 0, --memory-mb >= 16, --max-tests >= 0")
    return settings


def main():
    settings = arguments()
    status = 0
    try:
        if settings.benchmark:
            return benchmark(settings)
        out = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)
        run(settings, out)
    except (BadRow, GraderError) as error:
        print(f"reward.py: {error}", file=sys.stderr)
        status = 2
    except BrokenPipeError:
        print("reward.py: the reader of standard output is gone", file=sys.stderr)
        status = 1
    except KeyboardInterrupt:
        status = 130
    except Exception:  # a bug of ours: say all there is to say, and end
        traceback.print_exc()
        status = 1
    sys.stderr.flush()
    os._exit(status)  # the reader thread may be blocked in standard input


if __name__ == "__main__":
    main()
