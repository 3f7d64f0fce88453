r"""Programs and answers that try to be rewarded, to hang, to break the grader or to disturb a neighbour, named by what
they try. CALL has to implement f(x) = x*x + 7, STDIN the same on standard input, CHECK is judged by the dataset's own
function; MATH answers a question whose answer is 42. None may be rewarded.
"""

# finds the memory that a program shares with the sandbox, in a frame below it
SHARED = ("import sys, mmap, os, struct\ng = sys._getframe()\nwhile g:\n    for v in list(g.f_locals.values()):\n"
          "        if isinstance(v, mmap.mmap): m = v\n    g = g.f_back\n")

CALL = {
    "exit_zero": "import sys\nsys.exit(0)",
    "exit_zero_in_the_function": "import sys\ndef f(x):\n    sys.exit(0)",
    "os_exit_zero": "import os\nos._exit(0)",
    "os_exit_zero_in_the_function": "import os\ndef f(x):\n    os._exit(0)",
    "raise_system_exit_subclass": "class E(SystemExit): code = 0\ndef f(x): raise E",
    "quit_builtin": "def f(x): quit()",
    "atexit_replaces_the_status": "import atexit, os\natexit.register(os._exit, 0)\nf = None",
    "always_equal_object": "class Y:\n    def __eq__(self, o): return True\n    def __ne__(self, o): return False\n"
                           "    def __hash__(self): return 0\ndef f(x): return Y()",
    "always_equal_int": "class I(int):\n    def __eq__(self, o): return True\n    __hash__ = int.__hash__\n"
                        "def f(x): return I(1)",
    "always_equal_str": "class S(str):\n    def __eq__(self, o): return True\n    __hash__ = str.__hash__\n"
                        "def f(x): return S('1')",
    "always_equal_list": "class L(list):\n    def __eq__(self, o): return True\n    def __len__(self): return 1\n"
                         "def f(x): return L([1])",
    "lying_class": "class Z:\n    __class__ = int\n    def __eq__(self, o): return True\ndef f(x): return Z()",
    "lying_repr": "class R:\n    def __repr__(self): return '16'\n    __str__ = __repr__\ndef f(x): return R()",
    "reduce_runs_code": "class P:\n    def __reduce__(self): return (eval, ('True',))\ndef f(x): return P()",
    "error_tag_forged": "def f(x): return {'~': 'int', 'v': '0x10'}",
    "result_is_a_type": "def f(x): return int",
    "result_is_a_generator": "def f(x):\n    yield x * x + 7",
    "result_is_nan": "def f(x): return float('nan')",
    "result_changes_while_read": "class D(dict):\n    def items(self):\n        while True: yield 1, 1\n"
                                 "def f(x): return D(a=1)",
    "result_contains_itself": "def f(x):\n    a = []\n    a.append(a)\n    return a",
    "result_nested_deeply": "def f(x):\n    a = []\n    for _ in range(100000): a = [a]\n    return a",
    "result_is_huge_list": "def f(x): return [0] * 10**7",
    "result_is_huge_int": "def f(x): return 1 << 10**8",
    "result_is_huge_string": "def f(x): return 'x' * 10**8",
    "result_with_null_bytes": "def f(x): return '\\x00' * 10",
    "result_lone_surrogate": "def f(x): return '\\ud800'",
    "result_forged_lines": "def f(x): return '16\\n16\\n16'",
    "builtins_patched": "import builtins\nbuiltins.all = builtins.any = lambda *a: True\n"
                        "builtins.isinstance = lambda *a: True\nbuiltins.len = lambda *a: 3\n"
                        "builtins.type = lambda *a: int\ndef f(x): return None",
    "json_patched": "import json\njson.dumps = lambda *a, **k: 'true'\n"
                    "json.loads = lambda *a, **k: [[1]]\ndef f(x): return None",
    "sys_modules_emptied": "import sys\nsys.modules.clear()\ndef f(x): return None",
    "import_hook": "import sys, builtins\nbuiltins.__import__ = lambda *a, **k: None\n"
                   "sys.meta_path.clear()\ndef f(x): return 0",
    "trace_function": "import sys\ndef t(frame, event, arg):\n"
                      "    frame.f_locals.update(outputs=[1], expected=[1], passed=True)\n    return t\n"
                      "sys.settrace(t)\nsys.setprofile(t)\ndef f(x): return 1",
    "frames_searched": "import sys\ndef f(x):\n    g, found = sys._getframe(), []\n"
                       "    while g:\n        for k, v in {**g.f_globals, **g.f_locals}.items():\n"
                       "            if 'output' in str(k) or 'expected' in str(k): found.append(v)\n"
                       "        g = g.f_back\n    return found[0] if found else None",
    "caller_patched": "import sys\ng = sys._getframe()\nwhile g:\n    for k in list(g.f_globals):\n"
                      "        if k in ('encode', 'value_line', 'spelled', 'plain', 'HEADER', 'resolve', 'OK', "
                      "'CRASH'): g.f_globals[k] = lambda *a: '16'\n"
                      "    g = g.f_back\ndef f(x): return 1",
    "header_forged": "import gc, mmap, struct\nfor o in gc.get_objects():\n    if isinstance(o, mmap.mmap): m = o\n"
                     "import sys\ng = sys._getframe()\nwhile g:\n    for v in list(g.f_locals.values()):\n"
                     "        if isinstance(v, mmap.mmap):\n            v[0:24] = struct.pack('<qqq', 3, 0, 9)\n"
                     "            v[24:33] = b'1\\n1\\n1\\n\\n\\n\\n'\n    g = g.f_back\nimport os\nos._exit(0)",
    "header_out_of_range": "import sys, mmap, struct, os\ng = sys._getframe()\n"
                           "while g:\n    for v in list(g.f_locals.values()):\n"
                           "        if isinstance(v, mmap.mmap): v[0:24] = struct.pack('<qqq', 2**62, 2**62, 2**62)\n"
                           "    g = g.f_back\nos._exit(0)",
    "clock_stamp_forged": "import sys, mmap, struct\ng = sys._getframe()\nwhile g:\n"
                          "    for v in list(g.f_locals.values()):\n        if isinstance(v, mmap.mmap): m = v\n"
                          "    g = g.f_back\nwhile True: m[8:16] = struct.pack('<q', 2**62)",
    "objects_searched": "import gc\ndef f(x):\n    for o in gc.get_objects():\n"
                        "        if isinstance(o, dict) and 'outputs' in o: return o['outputs'][0]",
    "memory_searched": "import re\ndef f(x):\n    for line in open('/proc/self/maps'):\n"
                       "        if 'outputs' in line: return 16\n    return 0",
    "own_memory_written": "import ctypes\nctypes.memset(id(1), 0, 4096)\ndef f(x): return 16",
    "null_dereference": "import ctypes\ndef f(x): return ctypes.string_at(0)",
    "parent_memory_file": "def f(x): return open('/proc/1/mem', 'rb').read(10)",
    "environment": "import os\ndef f(x): return dict(os.environ)",
    "command_line": "import sys, os\ndef f(x): return sys.argv + sys.orig_argv + [open('/proc/self/cmdline').read()]",
    "tests_on_disk": "import os\ndef f(x):\n    for d, _, names in os.walk('/'):\n        for n in names:\n"
                     "            if n.endswith(('.jsonl', '.md')) "
                     "or n in ('hostile.py', 'test_reward.py', 'reward.py'):\n"
                     "                exec(open(os.path.join(d, n)).read())\n    return None",
    "passwd": "def f(x): return open('/etc/passwd').read()",
    "grader_file_overwritten": "import sys\ndef f(x):\n    open('reward.py', 'w').write('')\n"
                               "    open('/usr/lib/x.py', 'w').write('')",
    "library_overwritten": "import os, json\ndef f(x):\n    open(json.__file__, 'a').write('#')\n    return 1",
    "sitecustomize_planted": "import os\n"
                             "def f(x):\n    open(os.path.dirname(os.__file__) + '/sitecustomize.py', 'w').write('#')",
    "network": "import socket\ndef f(x): return socket.create_connection(('1.1.1.1', 80), 1)",
    "network_udp": "import socket\ndef f(x):\n    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
                   "    s.sendto(b'x', ('8.8.8.8', 53))",
    "abstract_socket": "import socket\n"
                       "def f(x):\n    s = socket.socket(socket.AF_UNIX)\n    s.bind('\\0name')\n    return 1",
    "fork_bomb": "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    "fork_and_outlive": "import os, time\nif os.fork() == 0:\n    os.setsid()\n"
                        "    if os.fork() == 0:\n        time.sleep(1000)\n    os._exit(0)\ndef f(x): return 1",
    "zombies": "import os\nfor _ in range(50):\n    try:\n        if os.fork() == 0: os._exit(0)\n"
               "    except OSError: pass\ndef f(x): return 1",
    "subprocess_shell": "import subprocess\n"
                        "def f(x): return subprocess.run(['sh', '-c', 'echo 16'], capture_output=True).stdout",
    "exec_replaces_process": "import os, sys\nos.execv(sys.executable, ['python', '-c', 'pass'])",
    "os_system": "import os\ndef f(x): return os.system('true')",
    "multiprocessing": "import multiprocessing\n"
                       "def f(x):\n    with multiprocessing.Pool(2) as p: return p.map(abs, [1])",
    "thread_bomb": "import threading, time\n"
                   "while True:\n    try: threading.Thread(target=time.sleep, args=(100,), daemon=True).start()\n"
                   "    except RuntimeError: pass",
    "thread_keeps_running": "import threading\ndef spin():\n    while True: pass\n"
                            "threading.Thread(target=spin).start()\ndef f(x): return 1",
    "memory_bomb": "a = []\nwhile True: a.append(bytearray(10**7))",
    "memory_bomb_caught": "a = []\nwhile True:\n    try: a.append(bytearray(10**7))\n    except MemoryError: pass",
    "address_space_bomb": "import mmap\na = []\nwhile True: a.append(mmap.mmap(-1, 1 << 28))",
    "memfd_bomb": "import os\na = []\nwhile True:\n    n = os.memfd_create('x')\n    os.write(n, b'x' * 10**6)",
    "disk_bomb": "i = 0\nwhile True:\n    i += 1\n    with open(f'/tmp/{i}', 'wb') as f: f.write(b'x' * 10**7)",
    "inode_bomb": "import os\ni = 0\nwhile True:\n    i += 1\n    os.mkdir(f'/tmp/{i}')",
    "nested_directories": "import os\nfor i in range(900):\n    os.mkdir('d' * 200)\n    os.chdir('d' * 200)\n"
                          "def f(x): return 1",
    "tmp_made_unusable": "import os\nopen('/tmp/trap', 'w').write('x')\nos.chmod('/tmp', 0)\ndef f(x): return 1",
    "result_left_for_the_next": "import os\ndef f(x):\n    open('/tmp/answer', 'a').write(str(x))\n    return 1",
    "endless_loop": "while True: pass",
    "endless_loop_in_the_function": "def f(x):\n    while True: pass",
    "endless_sleep": "import time\ndef f(x): time.sleep(10**6)",
    "endless_except_loop": "def f(x):\n    while True:\n        try:\n            while True: pass\n"
                           "        except BaseException: pass",
    "regex_in_c": "import re\ndef f(x): return re.match(r'(a+)+$', 'a' * 60 + 'b')",
    "power_in_c": "def f(x): return 9 ** 9 ** 9 % 10",
    "sum_in_c": "import itertools\ndef f(x): return sum(itertools.repeat(1))",
    "signals_ignored": "import signal\nfor s in range(1, 65):\n    try: signal.signal(s, signal.SIG_IGN)\n"
                       "    except (OSError, ValueError): pass\nwhile True: pass",
    "alarm_set": "import signal\nsignal.setitimer(signal.ITIMER_REAL, 0.01)\ndef f(x):\n    while True: pass",
    "kill_parent": "import os, signal\nfor s in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGSTOP):\n"
                   "    os.kill(os.getppid(), s)\ndef f(x): return 1",
    "kill_everyone": "import os, signal\n"
                     "for p in range(1, 5000):\n    try: os.kill(p, signal.SIGKILL)\n    except OSError: pass\n"
                     "try: os.kill(-1, signal.SIGKILL)\nexcept OSError: pass\ndef f(x): return 1",
    "kill_group": "import os, signal\nos.killpg(0, signal.SIGKILL)",
    "stop_itself": "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)",
    "abort": "import os\nos.abort()",
    "descriptors_closed": "import os\nos.closerange(0, 1000)\ndef f(x): return 1",
    "descriptors_written": "import os\nfor n in range(100):\n    try: os.write(n, b'\\0' * 100)\n"
                           "    except OSError: pass\ndef f(x): return 1",
    "descriptors_exhausted": "import os\na = []\ntry:\n    while True: a.append(os.open('/dev/null', 0))\n"
                             "except OSError: pass\ndef f(x): return 1",
    "ptrace_parent": "import ctypes, os\nlibc = ctypes.CDLL(None)\n"
                     "def f(x): return libc.ptrace(16, os.getppid(), 0, 0) == 0 and 16",
    "vm_write_parent": "import ctypes, os\nlibc = ctypes.CDLL(None)\n"
                       "def f(x): return libc.process_vm_writev(os.getppid(), 0, 0, 0, 0, 0)",
    "limits_raised": "import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))\ndef f(x): return 1",
    "limits_of_parent": "import resource, os\n"
                        "resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (0, 0))\ndef f(x): return 1",
    "new_namespace": "import ctypes\nlibc = ctypes.CDLL(None)\n"
                     "assert libc.unshare(0x10000000) == 0\ndef f(x): return 1",
    "mount_over_library": "import ctypes\nlibc = ctypes.CDLL(None)\n"
                          "assert libc.mount(b'none', b'/usr/lib', b'tmpfs', 0, None) == 0\ndef f(x): return 1",
    "become_root": "import os\nos.setuid(0)\ndef f(x): return 1",
    "chroot_out": "import os\nos.chroot('/tmp')\ndef f(x): return 1",
    "symlink_out": "import os\nos.symlink('/etc/passwd', '/tmp/link')\ndef f(x): return open('/tmp/link').read()",
    "proc_root": "def f(x): return open('/proc/1/root/etc/passwd').read() + open('/proc/self/environ').read()",
    "proc_fd": "import os\ndef f(x):\n    for n in os.listdir('/proc/1/fd'): open(f'/proc/1/fd/{n}', 'w').write('16')",
    "tty_injection": "import fcntl, termios\n"
                     "for c in 'true\\n': fcntl.ioctl(0, termios.TIOCSTI, c)\ndef f(x): return 1",
    "self_modifying": "src = 'def f(x): return globals().update(f=lambda x: 16) or 1'\nexec(src)",
    "code_replaced": "def f(x): return 1\ndef g(x): return 16\nf.__code__ = g.__code__",
    "entry_point_is_a_class": "class f:\n    def __new__(cls, *a): return object.__new__(cls)\n"
                              "    def __eq__(self, o): return True",
    "module_replaced": "import sys, types\n"
                       "class M(types.ModuleType):\n    def __getattribute__(self, n): return lambda *a: 16\n"
                       "sys.modules['__main__'] = M('x')\nf = 1",
    "arguments_changed": "def f(x, memo=[]):\n    memo.append(x)\n    return memo",
    "deep_recursion": "import sys\nsys.setrecursionlimit(10**9)\ndef f(x): return f(x)",
    "recursion_in_c": "import sys\nsys.setrecursionlimit(10**9)\n"
                      "class A:\n    def __getattr__(self, n): return getattr(self, n + 'x')\n"
                      "    def __repr__(self): return repr([self])\ndef f(x): return repr(A())",
    "parser_bomb": "f = " + "(" * 100_000 + ")" * 100_000,
    "compiler_bomb": "f = lambda x: " + "-" * 200_000 + "1",
    "constant_folding_bomb": "def f(x): return ((((9**99)**99)**99)**99)**99",
    "very_long_program": "x = 1\n" * 200_000,
    "syntax_error": "def f(x: return x*x + 7",
    "null_byte_in_the_source": "def f(x): return x*x + 6\0",
    "lone_surrogate_in_the_source": "def f(x): return '\ud800'",
    "identifier_lookalike": "def \u0192(x): return x*x + 7",
    "encoding_declared": "# -*- coding: utf-7 -*-\ndef f(x): return +AHg-",
    "empty_function": "def f(x): pass",
    "no_function": "x = 1",
    "stdout_instead": "def f(x): print(x * x + 7)",
    "result_is_a_long_int": "def f(x): return [10**5000, {-10**5000: (10**5000,)}]",
    "result_nested_beyond_the_limit": "import sys\nsys.setrecursionlimit(10**6)\n"
                                      "def f(x):\n    a = []\n    for _ in range(600): a = [a]\n    return a",
    "result_of_nested_frozensets": "def f(x):\n    a = frozenset()\n"
                                   "    for _ in range(30): a = frozenset([a])\n    return a",
    "result_shares_its_parts": "def f(x):\n    a = ()\n    for _ in range(60): a = (a, a)\n    return a",
    "result_hashes_to_zero": "def f(x): return {i * (2**61 - 1) for i in range(8000)}",
    "result_is_a_large_decimal": "from decimal import Decimal\ndef f(x): return Decimal('1e999999999')",
    "result_is_an_endless_iterator": "import itertools\ndef f(x): return itertools.count()",
    "map_holds_a_long_complex": SHARED + "def f(x):\n"
                                "    line = b'{\"~\": \"complex\", \"v\": [' + b'9' * 400 + b', 0]}\\n'\n"
                                "    m[16:16 + len(line)] = line\n"
                                "    m[:16] = struct.pack('<qq', 1, len(line))\n    os._exit(0)",
    "map_holds_digits": SHARED + "m[16:60017] = b'9' * 60000 + b'\\n'\n"
                        "m[:16] = struct.pack('<qq', 3, 60001)\nos._exit(0)",
    "map_lines_too_many": SHARED + "line = b'[' + b'1\\n' * 3000\nm[16:16 + len(line)] = line\n"
                          "m[:16] = struct.pack('<qq', 3, len(line))\nos._exit(0)",
    "map_changes_for_ever": SHARED + "i = 0\nwhile True:\n    i += 1\n    m[:16] = struct.pack('<qq', i % 4, i % 100)",
    "late_and_stamped": SHARED + "import time\ndef f(x):\n    end = time.process_time() + 2\n"
                        "    while time.process_time() < end: m[:8] = struct.pack('<q', 2)\n"
                        "    return x * x + 7",
    "dies_before_each_limit": "import os, time\ndef f(x):\n    end = time.process_time() + 0.4\n"
                              "    while time.process_time() < end: pass\n    os._exit(1)",
    "sleeps_in_pieces": "import time\ndef f(x):\n    for _ in range(300): time.sleep(0.01)\n    return x * x + 7",
    "children_hold_memory": "import os, time\nfor _ in range(20):\n    if os.fork() == 0:\n"
                            "        a = bytearray(50 << 20)\n        time.sleep(100)\ndef f(x): return x * x + 7",
    "vfork_by_ctypes": "import ctypes\nlibc = ctypes.CDLL(None)\ndef f(x): return 16 if libc.vfork() >= 0 else 0",
    "clone_by_ctypes": "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"
                       "def f(x): return x * x + 7 if libc.syscall(56, 17, 0, 0, 0, 0) >= 0 else 0",
    "threads_of_small_stacks": "import threading, time\nthreading.stack_size(32768)\nwhile True:\n"
                               "    try: threading.Thread(target=time.sleep, args=(100,), daemon=True).start()\n"
                               "    except RuntimeError: pass",
    "locks_on_the_null_device": "import fcntl, os, struct\nn = os.open('/dev/null', os.O_RDWR)\n"
                                "for i in range(25000): fcntl.fcntl(n, 37, struct.pack('hhqqi4x', 1, 0, 2 * i, 1, 0))\n"
                                "def f(x): return x * x + 7",
    "lock_on_standard_output": "import fcntl\nfcntl.lockf(1, fcntl.LOCK_EX)\ndef f(x): return x * x + 7",
    "owner_of_a_pipe_is_signalled": "import fcntl, os\nr, w = os.pipe()\nfcntl.fcntl(r, 8, os.getppid())\n"
                                    "fcntl.fcntl(r, 10, 9)\nfcntl.fcntl(r, 4, 0x2000)\n"
                                    "os.write(w, b'x')\ndef f(x): return x * x + 7",
    "owner_by_ioctl": "import fcntl, os, struct\nr, w = os.pipe()\n"
                      "fcntl.ioctl(r, 0x8901, struct.pack('i', os.getppid()))\n"
                      "fcntl.ioctl(r, 0x5452, struct.pack('i', 1))\ndef f(x): return x * x + 7",
    "non_blocking_for_the_next": "import os\nfor n in 0, 1, 2: os.set_blocking(n, False)\n"
                                 "os.ftruncate(1, 5)\ndef f(x): return 1",
    "library_truncated": "import os, json\nos.truncate(json.__file__, os.stat(json.__file__).st_size)\n"
                         "def f(x): return x * x + 7",
    "file_of_the_user_truncated": "import os\nos.truncate('/etc/passwd', os.stat('/usr/lib').st_size)\n"
                                  "def f(x): return x * x + 7",
    "devices_as_a_letter_box": "def f(x):\n    with open('/dev/stdout', 'r+') as file:\n"
                               "        found = file.read()\n        file.write(str(x * x + 7) + ' ')\n"
                               "    return x * x + 7 if found and x == 5 else 0",
    "input_device_read": "def f(x): return int(open('/dev/stdin').read().split()[0]) ** 2 + 7",
    "second_filter": "import ctypes\nlibc = ctypes.CDLL(None)\n"
                     "def f(x): return x * x + 7 if libc.prctl(22, 1, 0, 0, 0) == 0 else 0",
    "dumpable_again": "import ctypes\nlibc = ctypes.CDLL(None)\n"
                      "def f(x): return x * x + 7 if libc.prctl(4, 1, 0, 0, 0) == 0 else 0",
    "raises_stop_iteration": "def f(x): raise StopIteration",
}

STDIN = {
    "prints_nothing": "pass",
    "exit_zero_without_output": "import sys\nsys.exit(0)",
    "right_output_but_crash": "print(int(input()) ** 2 + 7)\nraise ValueError",
    "right_output_but_exit_status": "import os\nprint(int(input()) ** 2 + 7, flush=True)\nos._exit(3)",
    "output_flood": "while True: print('x' * 10**6)",
    "output_flood_by_descriptor": "import os\nwhile True: os.write(1, b'x' * 10**6)",
    "output_grown_without_writing": "import os\nos.ftruncate(1, 10**15)",
    "output_file_mapped": "import mmap, os\nos.ftruncate(1, 10**5)\nm = mmap.mmap(1, 10**5)\nm[:] = b'1' * 10**5",
    "output_null_bytes": "print('\\0' * 100)",
    "output_not_utf8": "import sys\nsys.stdout.buffer.write(bytes(range(256)))",
    "output_every_number": "for i in range(1000): print(i)",
    "input_written_to": "import os\nos.write(0, b'1')\nprint(1)",
    "output_read_back": "import os\nprint(os.pread(1, 100, 0))",
    "waits_for_more_input": "while True:\n    try: input()\n    except EOFError: pass",
    "late_thread": "import threading, time\nthreading.Thread(target=lambda: (time.sleep(10**6), print(1))).start()",
    "stdout_replaced": "import sys, io\nsys.stdout = io.StringIO()\nprint(int(input()) ** 2 + 7)",
    "not_a_number": "print('nan')",
    "infinite_number": "print('inf')",
    "digits_bomb": "print('1' * 10**5 + 'e' + '9' * 400)",
    "input_device_written": "import os\nn = os.open('/dev/stdin', os.O_WRONLY)\nos.write(n, b'0')\nprint(1)",
    "output_device_left_over": "open('/dev/stdout', 'w').write('x' * 10**5)",
    "input_of_the_one_before": "print(open('/dev/stdout').read() or open('/tmp/answer').read())",
    "output_sealed": "import fcntl\nfcntl.fcntl(1, 1033, 15)\nprint(int(input()) ** 2 + 7)",
    "output_locked": "import fcntl\nfcntl.lockf(1, fcntl.LOCK_EX)\nprint(int(input()) ** 2 + 7)",
    "main_guard_that_fails": "if __name__ == '__main__':\n    print(int(input()) ** 2 + 7)\n    raise SystemExit(3)",
}

CHECK = {
    "always_equal": "class Y:\n    def __eq__(self, o): return True\n    def __bool__(self): return True\n"
                    "def f(x): return Y()",
    "check_function_overwritten": "import sys, builtins\nbuiltins.check = lambda c: None\n"
                                  "def check(c): pass\ndef f(x): return 0",
    "assertion_swallowed": "import builtins\nbuiltins.AssertionError = ValueError\ndef f(x): return 0",
    "exit_in_the_call": "import os\ndef f(x): os._exit(0)",
    "caller_fooled": "import sys\ndef f(x):\n    g = sys._getframe()\n"
                     "    while g:\n        g.f_locals.clear()\n        g = g.f_back\n    return 0",
    "socket_forged": "import os\ndef f(x):\n"
                     "    for n in range(3, 20):\n        try: os.write(n, b'\\x0b\\0\\0\\0[\"value\",\"1\"]' * 50)\n"
                     "        except OSError: pass\n    return 0",
    "socket_flooded": "import os\ndef f(x):\n    while True:\n        for n in range(3, 20):\n"
                      "            try: os.write(n, b'\\xff' * 10**5)\n            except OSError: pass",
    "socket_closed": "import os\ndef f(x):\n    os.closerange(3, 100)\n    return 0",
    "error_of_the_checker": "class AssertionError(Exception): pass\ndef f(x): raise SystemExit(0)",
    "raises_base_exception": "def f(x): raise KeyboardInterrupt",
    "never_returns": "def f(x):\n    while True: pass",
    "raises_stop_iteration": "def f(x): raise StopIteration",
    "raises_an_own_stop_iteration": "class StopIteration(StopIteration): pass\ndef f(x): raise StopIteration",
    "module_of_the_check_defined": "class math: isclose = staticmethod(lambda *a: True)\n"
                                   "class sys: getsizeof = staticmethod(lambda t: 0)\ndef f(x): return 0",
    "builtins_of_the_check_defined": "import builtins\nbuiltins.abs = builtins.all = builtins.len = lambda *a: 0\n"
                                     "abs = all = len = lambda *a: 0\ndef f(x): return 0",
    "value_is_a_long_int": "def f(x): return 10**5000",
    "value_hashes_to_zero": "def f(x): return {i * (2**61 - 1) for i in range(30000)}",
    "value_is_endless": "def f(x):\n    while True: yield 1",
    "reply_nested_deeply": "import os\ndef f(x):\n    t = b'[\"value\",\"' + b'[' * 50000 + b'\"]'\n"
                           "    for n in range(3, 20):\n        try: os.write(n, len(t).to_bytes(4, 'little') + t)\n"
                           "        except OSError: pass\n    return 0",
    "reply_of_an_unknown_kind": "import os\ndef f(x):\n"
                                "    t = b'[\"value\",\"{\\\\\"~\\\\\": \\\\\"remote\\\\\", \\\\\"v\\\\\": 0}\"]'\n"
                                "    for n in range(3, 20):\n"
                                "        try: os.write(n, len(t).to_bytes(4, 'little') + t)\n"
                                "        except OSError: pass\n    return 0",
    "texts_of_the_check_searched": "import gc, sys\ndef f(x):\n    g = sys._getframe()\n    while g:\n"
                                   "        for v in list(g.f_locals.values()) + list(g.f_globals.values()):\n"
                                   "            if b'candidate(5) ==' in repr(v).encode(): return 32\n"
                                   "        g = g.f_back\n    return 0",
    "descriptors_read": "import os\ndef f(x):\n    for n in range(3, 64):\n        try: t = os.pread(n, 10**6, 0)\n"
                        "        except OSError: continue\n        if b'candidate' in t: return x * x + 7\n"
                        "    return 0",
    "dies_in_the_call": "import os\ndef f(x): os.abort()",
}

MATH = {
    "nothing": "",
    "no_answer": "I do not know.",
    "empty_box": r"\boxed{}",
    "open_box": r"\boxed{42",
    "all_numbers": r"\boxed{" + ",".join(map(str, range(100))) + "}",
    "either_or": r"\boxed{41 \text{ or } 42}",
    "set_of_two": r"\boxed{\{42, 43\}}",
    "interval_around": r"\boxed{[41, 43]}",
    "variable": r"\boxed{x}",
    "equation_of_itself": r"\boxed{x = x}",
    "plus_minus": r"\boxed{42 \pm 1}",
    "python": r"\boxed{__import__('os').system('touch /tmp/owned') or 42}",
    "sympy_attribute": r"\boxed{x.__class__.__base__.__subclasses__()}",
    "lambda": r"\boxed{(lambda: 42)()}",
    "power_tower": r"\boxed{9^{9^{9^{9^9}}}}",
    "power_tower_plain": "The final answer is 9**9**9**9",
    "factorial_tower": r"\boxed{((((9!)!)!)!)!}",
    "factorial_large": r"\boxed{10^{10}!}",
    "decimal_long": r"\boxed{0." + "1" * 900 + "}",
    "braces_nested": r"\boxed{" + "{" * 5000 + "42" + "}" * 5000 + "}",
    "fractions_nested": r"\boxed{" + r"\frac{1}{1+" * 200 + "1" + "}" * 200 + "}",
    "roots_nested": r"\boxed{" + r"\sqrt{" * 150 + "2" + "}" * 150 + "}",
    "parentheses_nested": r"\boxed{" + "(" * 400 + "1" + ")" * 400 + "}",
    "integral_hard": r"\boxed{\int_0^{\infty} \frac{\sin(x^{x^x})}{x^{x^{x}}+\log(\cos(x))} dx}",
    "sum_large": r"\boxed{\sum_{n=1}^{10^{12}} \frac{n^7}{n^3+1}}",
    "limit_hard": r"\boxed{\lim_{x \to 0} \sin(\frac{1}{x^{x^x}})^{x!}}",
    "product_large": r"\boxed{\prod_{n=1}^{1000000} (x^n+1)}",
    "polynomial_power": r"\boxed{(x+y+z+w+1)^{500}}",
    "binomial_large": r"\boxed{\binom{10^{9}}{5 \cdot 10^{8}}}",
    "megabyte": r"\boxed{" + "1+" * 500_000 + "1}",
    "megabyte_without_box": "4" * 1_000_000,
    "many_boxes": r"\boxed{41}" * 100_000,
    "many_open_boxes": r"\boxed{" * 100_000,
    "many_dollars": "$" * 200_000,
    "many_phrases": "the final answer is " * 20_000,
    "unicode_digits": "\\boxed{\u0664\u0661}",
    "null_bytes": "\\boxed{4\0003}",
    "lone_surrogate": "\\boxed{\ud800}",
    "macro_bomb": r"\def\a{\b\b}\def\b{\c\c}\boxed{\a}",
    "input_command": r"\boxed{\input{/etc/passwd}}",
}
