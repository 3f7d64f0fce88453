"""A `python` for the pipes of the tests: a stage is a fork of a process that has loaded its libraries, which would
otherwise take five seconds of every start of train.py. It is a process of its own with the caller's descriptors,
directory and environment, and runs the script from its first line; what it lacks of `python train.py` is the start of
the interpreter and a hash seed of its own. Tests of signals, of deaths and of vLLM start the stages themselves.

As a program: python tests/warm_python.py SOCKET, which serves until its standard input ends."""

import atexit
import contextlib
import gc
import json
import os
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = ("generate.py", "train.py", "evaluate.py")  # the other two load little

CLIENT = """
import os, sys
python, script = {python!r}, os.path.basename(sys.argv[1]) if sys.argv[1:] else ""
closed = None in (sys.stdin, sys.stdout, sys.stderr)  # a descriptor that is closed cannot be passed on
if closed or script not in {scripts!r} or any("vllm" in word for word in sys.argv):
    os.execv(python, [python, *sys.argv[1:]])
import json, signal, socket
with socket.socket(socket.AF_UNIX) as server:
    server.connect({path!r})
    request = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(server, [len(request).to_bytes(8, "big")], [0, 1, 2])
    server.sendall(request)
    os.close(0), os.close(1)  # the stage's now: whoever is at their other ends sees when it is gone
    status = server.recv(8)
status = int.from_bytes(status, "big", signed=True) if status else 70
if status < 0:
    signal.signal(-status, signal.SIG_DFL)
    os.kill(os.getpid(), -status)
sys.exit(status)
"""


@contextlib.contextmanager
def warm_python():
    """A directory, for the front of PATH, with such a `python`; without one where the system is not Linux."""
    with tempfile.TemporaryDirectory() as place:  # short: the path of a socket has at most 108 bytes
        path, client, python = f"{place}/socket", Path(place, "client.py"), Path(place, "bin", "python")
        python.parent.mkdir()
        if not sys.platform.startswith("linux"):
            yield python.parent
            return
        client.write_text(CLIENT.format(python=sys.executable, scripts=SCRIPTS, path=path))
        python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -IS {client} "$@"\n')
        python.chmod(0o755)
        with subprocess.Popen([sys.executable, __file__, path], cwd=ROOT, stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, start_new_session=True) as server:
            assert server.stdout.read(1) == b"."  # it listens
            yield python.parent
            server.stdin.close()
            try:
                server.wait(60)
            except subprocess.TimeoutExpired:  # a stage hangs
                os.killpg(server.pid, signal.SIGKILL)


def serve(path):
    """Returns in the fork that is to be a stage."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    os.write(1, b".")
    load_libraries()
    gc.collect(), gc.freeze()  # what a stage does not touch it does not copy
    while True:
        ready, _, _ = select.select([listener, 0], [], [])
        with contextlib.suppress(ChildProcessError):  # none is left
            while os.waitpid(-1, 0 if 0 in ready else os.WNOHANG)[0]:
                pass
        if 0 in ready:
            os._exit(0)
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            if wait_for_stage(connection):
                return
        connection.close()


def load_libraries():
    """Those of the scripts, whose own modules are then forgotten: a stage imports them itself, from where it stands."""
    sys.path.insert(0, str(ROOT))
    import evaluate  # noqa: F401
    import generate  # noqa: F401
    import train  # noqa: F401
    from transformers.models.qwen2 import modeling_qwen2  # noqa: F401
    sys.path.remove(str(ROOT))
    for name in [name for name, module in sys.modules.items()
                 if str(getattr(module, "__file__", None)).startswith(f"{ROOT}/")
                 and Path(module.__file__).parent == ROOT]:
        del sys.modules[name]


def wait_for_stage(connection):
    """Starts what `connection` asks for, and tells it the exit status; ends it if the caller is gone. True in the
    stage."""
    size, descriptors, _, _ = socket.recv_fds(connection, 8, 3)
    request = b""
    while len(request) < int.from_bytes(size, "big"):
        request += connection.recv(1 << 16)
    stage = os.fork()
    if stage == 0:
        connection.close()
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
            os.close(descriptor)
        become(*json.loads(request))
        return True
    for descriptor in (0, 1, 2, *descriptors):
        os.close(descriptor)
    ended = os.pidfd_open(stage)
    if ended not in select.select([connection, ended], [], [])[0]:
        os.kill(stage, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(stage, 0)[1])
    with contextlib.suppress(OSError):
        connection.sendall(status.to_bytes(8, "big", signed=True))
    os._exit(0)


def become(argv, directory, environment):
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[:] = argv
    sys.path[0] = str(Path(argv[0]).resolve().parent)


def run(path):
    """The script as `python` runs and ends it, without the end of the interpreter, which would take it a second to
    forget all that is loaded."""
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    main.__file__, status = path, 0
    try:
        exec(compile(Path(path).read_bytes(), path, "exec"), main.__dict__)
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
        if status and status is not stop.code:
            print(stop.code, file=sys.stderr)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush(), sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    serve(sys.argv[1])
    run(os.path.abspath(sys.argv[0]))
