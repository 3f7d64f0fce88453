"""run.sh: set-up, the division of GPUs, the server that it starts, and what it refuses, on machines that a script
pretends."""

import fcntl
import json
import math
import os
import re
import subprocess
import sys

import pytest

from conftest import ROOT

SHARED = ROOT.parent / "shared" / "data"


@pytest.fixture
def machine(tmp_path):
    """machine(gpus, driver): the environment of a machine whose nvidia-smi shows these."""
    def of(gpus, driver="580.95.05"):
        listed = "".join(f"GPU {i}: NVIDIA H100 80GB HBM3 (UUID: GPU-{i})\n" for i in range(gpus))
        (tmp_path / "bin").mkdir(exist_ok=True)
        script = tmp_path / "bin" / "nvidia-smi"
        script.write_text(f"#!/bin/sh\ncase $1 in -L) printf '{listed}' ;; *) echo {driver} ;; esac\n")
        script.chmod(0o755)
        return os.environ | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "RUNS": str(tmp_path / "runs")}
    return of


def functions(command, **more):
    """Run `command` after the definitions of run.sh, without its set-up and its end."""
    text = (ROOT / "run.sh").read_text()
    assert text.count("\nCOMMAND=${1:-}\n") == 1
    definitions = text.split("\nCOMMAND=${1:-}\n")[0]
    return subprocess.run(["bash", "-c", definitions + "\n" + command, str(ROOT / "run.sh")], cwd=ROOT,
                          capture_output=True, text=True, **more)


@pytest.mark.parametrize("driver", ["570.133.20", "535.54.03", "450.80.02"])
def test_a_driver_that_torch_cannot_use_is_refused_by_name(machine, driver):
    done = subprocess.run(["bash", "run.sh", "tang-table1"], cwd=ROOT, env=machine(8, driver), capture_output=True,
                          text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert f"NVIDIA driver {driver} found" in done.stderr and "580 or newer" in done.stderr


@pytest.mark.parametrize("gpus, given, message", [
    (8, "", "say which of the 8 GPUs sample and which train, for example SAMPLE_GPUS=0 TRAIN_GPUS=1"),
    (8, "SAMPLE_GPUS=0", "say which of the 8 GPUs"),
    (1, "", "one GPU for both stages needs SHARE_GPU=yes"),
    (8, "SAMPLE_GPUS=0,1 TRAIN_GPUS=1,2", "GPU 1 twice in SAMPLE_GPUS=0,1 TRAIN_GPUS=1,2"),
    (8, "SAMPLE_GPUS=0 TRAIN_GPUS=0", "GPU 0 twice"),
    (8, "SAMPLE_GPUS=0,0 TRAIN_GPUS=1", "GPU 0 twice"),
    (4, "SAMPLE_GPUS=0,1 TRAIN_GPUS=2,4", "no GPU 4: this machine has 4, 0 to 3"),
    (12, "SAMPLE_GPUS=1 TRAIN_GPUS=2,12", "no GPU 12: this machine has 12"),
    (4, "SAMPLE_GPUS=a TRAIN_GPUS=1", "no GPU a"),
    (4, "SHARE_GPU=yes SAMPLE_GPUS=0,1", "SHARE_GPU=yes is for one GPU"),
    (4, "SHARE_GPU=yes SAMPLE_GPUS=0 TRAIN_GPUS=1", "SHARE_GPU=yes is for one GPU"),
    (0, "", "no GPU found"),
    (2, "TRAIN_GPUS=0,2 ENGINE_FLAGS='--servers a'", "no GPU 2"),
])
def test_gpus_that_cannot_be_divided_so_are_refused(gpus, given, message):
    done = functions(f"GPUS={gpus} {given}; check_gpus")
    assert done.returncode == 2 and done.stderr.startswith("run.sh: ") and done.stderr.count("\n") == 1
    assert message in done.stderr


@pytest.mark.parametrize("gpus, given", [
    (8, "SAMPLE_GPUS=0,1,2,3 TRAIN_GPUS=4,5,6,7"), (12, "SAMPLE_GPUS=1,11 TRAIN_GPUS=2"), (1, "SHARE_GPU=yes"),
    (2, "SHARE_GPU=yes SAMPLE_GPUS=1 TRAIN_GPUS=1"), (0, "SMOKE=1"), (0, "GPU=no"),
    (8, "TRAIN_GPUS=0,1,2,3,4,5,6,7 ENGINE_FLAGS='--engine vllm-server --servers node1:8000'")])
def test_gpus_that_can_be_divided_so(gpus, given):
    assert functions(f"GPUS={gpus} {given}; check_gpus").returncode == 0


def test_some_methods_of_a_table():
    methods = "METHODS=('base|||' 'mean|--estimator rloo|x|' 'pass@k|--estimator max_loo|y z|');"
    chosen = functions(methods + "only pass@k base; printf '%s\n' \"${METHODS[@]}\"").stdout
    assert chosen == "pass@k|--estimator max_loo|y z|\nbase|||\n"
    for names in ("mean majority", "majority"):
        done = functions(methods + f"only {names}")
        assert done.returncode == 2 and "ONLY: no method majority; there are base mean pass@k" in done.stderr


@pytest.mark.parametrize("words, message", [
    (["mini", "foo"], "mini takes no more words, found: foo"),
    (["gsm8k", "ONLY=x", "y"], "gsm8k takes no more words, found: ONLY=x y"),
    (["tang-table1", ""], "tang-table1 takes no more words, found: "),
    ([""], "unknown command ''; one of: check test test-all mini "),
    (["minis", "-k"], "unknown command 'minis'; one of: check "),
    (["mini mini-tang"], "unknown command 'mini mini-tang'; one of: check ")])
def test_words_that_are_no_command_or_that_it_does_not_take_are_refused(words, message):
    done = subprocess.run(["bash", "run.sh", *words], cwd=ROOT, capture_output=True, text=True,
                          env={"PATH": "/usr/bin:/bin"})
    assert done.returncode == 2 and done.stderr.startswith(f"run.sh: {message}") and done.stderr.count("\n") == 1


def test_two_run_sh_do_not_make_the_same_runs(tmp_path):
    (tmp_path / "mini").mkdir()
    env = os.environ | {"RUNS": str(tmp_path)}
    with open(tmp_path / "mini" / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = functions("two_lanes 'echo made'", env=env)
    assert done.returncode == 2 and done.stderr == f"run.sh: another run.sh is at work in {tmp_path}/mini\n"
    done = functions("two_lanes 'echo made' 'echo more'; two_lanes 'echo again'", env=env)
    assert done.returncode == 0 and sorted(done.stdout.split()) == ["again", "made", "more"]


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_is_the_head_of_the_script(flag):
    done = subprocess.run(["bash", "run.sh", flag], cwd=ROOT, capture_output=True, text=True,
                          env={"PATH": "/usr/bin:/bin"})
    assert done.returncode == 0 and not done.stderr and "SMOKE=1" in done.stdout.splitlines()[-1]
    for command in "", " check", " test [...]", " mini-tang | ", " questions-a | ", " gsm8k", " tang-table1 | ":
        assert f"bash run.sh{command}" in done.stdout


def test_tables_of_ones_own_do_not_replace_those_that_the_readme_shows():
    for given, runs, results in (("", "runs", "runs/results"), ("SMOKE=1", "runs/smoke", "runs/smoke/results"),
                                 ("RUNS=/a", "/a", "/a/results"), ("RESULTS=results", "runs", "results"),
                                 ("SMOKE=1 RUNS=b", "b", "b/results")):
        env = {"PATH": os.environ["PATH"]} | dict(word.split("=") for word in given.split())
        assert functions("echo $RUNS $RESULTS", env=env).stdout.split() == [runs, results]


def test_every_command_is_a_function_or_stands_in_the_list_of_them():
    commands = functions(r"echo $COMMANDS").stdout.split()
    named = [command for command in commands if command not in ("check", "test", "test-all", "mini")]
    assert len(named) > 20 and functions(f"declare -F {' '.join(named).replace('-', '_')}").returncode == 0


STAND_IN_FOR_PYTEST = """
python() {
    echo "python $*" >> "$CALLS"
    case "$*" in
        *test_pipe.py*) echo "summary of the second"; return $SECOND ;;
        *) echo "summary of the first"; return $FIRST ;;
    esac
}
"""


@pytest.mark.parametrize("first, second", [(0, 0), (1, 0), (0, 1)])
def test_the_fast_tests_run_in_two_processes(tmp_path, first, second):
    """Every file in one of them, neither of them empty; one that fails is a failure of both."""
    env = os.environ | {"CALLS": str(tmp_path / "calls"), "FIRST": str(first), "SECOND": str(second)}
    done = functions(STAND_IN_FOR_PYTEST + "fast_tests", env=env)
    assert done.returncode == first + second, done.stderr
    assert done.stdout == "summary of the first\nsummary of the second\n"
    calls = (tmp_path / "calls").read_text().splitlines()
    assert len(calls) == 2 and all(call.startswith("python -m pytest -q -m not slow tests/test_") for call in calls)
    files = [word for call in calls for word in call.split() if word.startswith("tests/")]
    assert sorted(files) == sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests").glob("test_*.py"))


FAKE_SERVER = """
import http.server, os, sys, time
if sys.argv[1:3] == ["-m", "vllm.entrypoints.openai.api_server"]:
    if os.environ["FAKE"] == "fails":
        sys.exit("ValueError: No available memory for the cache blocks")
    if os.environ["FAKE"] == "hangs":
        time.sleep(1000)
    print(" ".join(sys.argv), "| CUDA_VISIBLE_DEVICES", os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200), self.end_headers()
    http.server.HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Answer).serve_forever()
"""


@pytest.fixture
def stand_in(tmp_path, tiny):
    """stand_in(kind, command): run.sh's functions and `command`, with a `python` that only pretends to be vLLM's
    server."""
    fake, python = tmp_path / "fake.py", tmp_path / "bin" / "python"
    fake.write_text(FAKE_SERVER)
    python.parent.mkdir()
    real = subprocess.run(["bash", "-c", "command -v python"], capture_output=True, text=True).stdout.strip()
    python.write_text('#!/bin/sh\n'
                      f'case "$*" in *api_server*) exec {real} {fake} "$@" ;; *"import vllm"*) ;; '
                      f'*) exec {real} "$@" ;; esac\n')
    python.chmod(0o755)

    def of(kind, command):
        env = os.environ | {"PATH": f"{python.parent}:{os.environ['PATH']}", "FAKE": kind,
                            "SAMPLE_GPUS": "0,1,2,3", "SERVER_TIMEOUT": "3"}
        serve = f'serve {tiny} {tmp_path}/log "--max-tokens 256 --max-prompt-tokens 512" "--max-tokens 512"; '
        return functions(serve + command, env=env, timeout=60)
    return of


def server_processes():
    return subprocess.run(["pgrep", "-f", "fake.py -m vllm.entrypoints"], capture_output=True, text=True).stdout.split()


@pytest.mark.parametrize("end", [pytest.param("exit 3", marks=pytest.mark.slow), "kill -INT $$; sleep 5"])
def test_several_gpus_sample_behind_a_server_that_ends_with_the_run(stand_in, tmp_path, end):
    done = stand_in("answers", f'echo "$ENGINE"; {end}')
    assert done.stdout.startswith("--engine vllm-server --servers http://127.0.0.1:"), done.stderr
    log = (tmp_path / "log").read_text()
    assert "--data-parallel-size 4 --tensor-parallel-size 1" in log and "CUDA_VISIBLE_DEVICES 0,1,2,3" in log
    assert "--max-model-len 1536" in log and "--logprobs-mode processed_logprobs --enable-scale-out" in log
    assert not server_processes()


@pytest.mark.parametrize("kind, message", [
    ("fails", "ended before it answered: ValueError: No available memory"),
    pytest.param("hangs", "did not answer within 3 s", marks=pytest.mark.slow)])
def test_a_server_that_does_not_come_up(stand_in, kind, message):
    done = stand_in(kind, "true")
    assert done.returncode == 2 and message in done.stderr.splitlines()[-1]
    assert not server_processes()


needs_data = pytest.mark.skipif(not SHARED.exists(), reason=f"no local rows of the datasets at {SHARED}")
has_vllm = subprocess.run(["bash", "-c", "python -c 'import vllm'"], capture_output=True).returncode == 0
needs_vllm = pytest.mark.skipif(not has_vllm, reason="vllm is not installed (VLLM_CPU=yes)")


def rehearse(preset, tmp_path, **variables):
    env = os.environ | {"SMOKE": "1", "RUNS": f"{tmp_path}/runs", "RESULTS": f"{tmp_path}/results"} | variables
    done = subprocess.run(["bash", "run.sh", preset], cwd=ROOT, env=env, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr


@pytest.mark.slow
@needs_data
@pytest.mark.parametrize("preset, only, epochs", [
    ("tang-table1", "ppo-pass@k", 1), ("pkpo-arc", "k8", 1), ("maxk-table2", "off-policy", 3)])
def test_a_preset_of_each_paper_on_two_ranks(tmp_path, preset, only, epochs):
    rehearse(preset, tmp_path, ONLY=only, TRAIN_GPUS="0,1")
    run = tmp_path / "runs" / preset / only
    log = [json.loads(line) for line in (run / "metrics.jsonl").open()]
    assert [line["step"] for line in log] == [0, 1, 2] and log[2]["publish_s"] > 0 and log[2]["reload_s"] > 0
    learned = [line for line in log if line["updates"]]  # none where no group had a sample with an advantage
    assert learned and all(line["updates"] == epochs and math.isfinite(line["loss"]) for line in learned)
    assert len(list((run / "policy").glob("model-0000?-of-00002.safetensors"))) == 2
    assert json.loads((run / "policy" / "config.json").read_text())["dtype"] == "bfloat16"


@pytest.mark.slow
@needs_data
@needs_vllm
def test_a_preset_through_a_data_parallel_server(tmp_path):
    said = rehearse("tang-harp", tmp_path, ONLY="mean", SAMPLE_GPUS="0,1")
    assert "2 copies of the model" in said and "the file's, byte for byte" in said
    log = [json.loads(line) for line in (tmp_path / "runs" / "tang-harp" / "mean" / "metrics.jsonl").open()]
    assert [line["step"] for line in log] == [0, 1, 2] and log[2]["reload_s"] > 0
    assert any(line["updates"] for line in log)
    assert not subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True).stdout


@pytest.mark.slow
def test_the_check_of_a_machine_in_miniature(tmp_path):
    """Every check that this machine can run, to its table; and a failure is a failure."""
    command = [sys.executable, "tests/check_machine.py", tmp_path / "check", "--out", tmp_path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stdout
    [table] = tmp_path.glob("check-*.txt")
    verdicts = dict(re.findall(r"^(\S.*?) +(ok|skipped|FAILED) ", table.read_text(), re.M))
    assert len(verdicts) == 10 and "10 checks, 0 failed" in done.stdout
    by_any_machine = "software", "loop, transformers", "loop, several ranks", "weights", "speed"
    assert all(verdicts[name] == "ok" for name in by_any_machine)


def test_a_check_that_fails_is_named_and_the_others_go_on(tmp_path, monkeypatch, capsys):
    import check_machine
    monkeypatch.setattr(check_machine, "CHECKS", {
        "one": lambda machine: machine.shell("one", "echo wrong >&2; false"), "two": lambda machine: "fine"})
    monkeypatch.setattr(sys, "argv", ["check_machine.py", str(tmp_path)])
    with pytest.raises(SystemExit) as stop:
        check_machine.main()
    printed = capsys.readouterr().out
    assert stop.value.code == 1 and "2 checks, 1 failed" in printed
    assert re.search(r"^one +FAILED .*status 1: wrong", printed, re.M) and re.search(r"^two +ok .*fine", printed, re.M)


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.exists(), reason=f"no local rows of the datasets at {SHARED}")
def test_the_shortest_real_run_in_miniature(tmp_path):
    env = os.environ | {"SMOKE": "1", "RUNS": str(tmp_path / "runs"), "RESULTS": str(tmp_path / "results")}
    done = subprocess.run(["bash", "run.sh", "gsm8k"], cwd=ROOT, capture_output=True, text=True, timeout=900,
                          stdin=subprocess.DEVNULL, env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    found = tmp_path / "results" / "gsm8k" / "eval"
    assert "| mean |" in (found / "table.md").read_text() and (found / "along_step.png").exists()
