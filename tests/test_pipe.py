"""The four stages together: the loop, its end when a stage dies, one-shot use on files, real rows."""

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"


def loop(run, model, steps=3, staleness=0, estimator="rloo --k 4", generate="", train=""):
    return (f"python generate.py --run {run} --steps {steps} --prompts-per-step 4 --num-samples 4 "
            f"--max-staleness {staleness} {generate} | python reward.py --reward binary | "
            f"python advantages.py --estimator {estimator} | "
            f"python train.py --model {model} --run {run} --steps {steps} {train}")


def metrics(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def rollout(run, step):
    with gzip.open(run / "rollouts" / f"step-{step:06d}.jsonl.gz", "rt") as file:
        return [json.loads(line) for line in file]


@pytest.fixture(scope="session")
def warm(tiny, tmp_path_factory, shell):
    """A model after a little SFT, so that some of its rules are right."""
    run = tmp_path_factory.mktemp("warm")
    done = shell(f"python generate.py --model {tiny} --reference --split sft --steps 60 --prompts-per-step 64 | "
                 f"python train.py --loss sft --model {tiny} --run {run} --steps 60 --lr 6e-3 --save-every 100")
    assert done.returncode == 0, done.stderr
    return run / "policy"


STAND_IN = """
import os, signal, sys
print(sys.argv, os.getcwd(), os.environ["WORD"], sys.stdin.read(), __name__, __file__, sys.path[0], flush=True)
import neighbour
print(neighbour.NAME, "torch" in sys.modules and sys.modules.get("advantages"), file=sys.stderr)
%s
"""


@pytest.mark.parametrize("end", [
    "", "sys.exit(3)", "sys.exit('a message')", "1 / 0", "os.kill(os.getpid(), signal.SIGTERM)", "os._exit(5)"])
def test_what_starts_the_stages_of_these_tests_is_a_python(tmp_path, shell, end):
    """warm_python.py beside the interpreter itself: descriptors, directory, environment, modules, and every kind of
    end."""
    (tmp_path / "train.py").write_text(STAND_IN % end)
    (tmp_path / "neighbour.py").write_text("NAME = 'from where the script stands'")
    command = f"cd {tmp_path} && echo read | WORD=set %s train.py --flag 'two words' | cat"
    warm, cold = (shell(command % python) for python in ("python", sys.executable))
    assert (warm.returncode, warm.stdout) == (cold.returncode, cold.stdout) and "read" in warm.stdout
    last = [done.stderr.replace("None", "False").splitlines() for done in (warm, cold)]
    assert (last[0][0], last[0][-1]) == (last[1][0], last[1][-1]) and last[0][0] == "from where the script stands False"


def test_a_stage_ends_with_whoever_asked_for_it(tmp_path, shell):
    (tmp_path / "train.py").write_text("import os, time\nopen('pid', 'w').write(str(os.getpid()))\ntime.sleep(100)")
    shell(f"cd {tmp_path} && (python train.py & until [ -s pid ]; do sleep 0.05; done; kill -KILL $!)")
    wait_for(lambda: not Path(f"/proc/{(tmp_path / 'pid').read_text()}").exists(), 20)


@pytest.mark.parametrize("staleness", [0, 1])
def test_three_steps_of_the_loop(warm, tmp_path, shell, staleness):
    done = shell(loop(tmp_path, warm, staleness=staleness, train="--lr 0.01"))
    assert done.returncode == 0, done.stderr
    assert os.readlink(tmp_path / "policy") == "policy-000003"
    flags = json.loads((tmp_path / "args.json").read_text())
    assert flags["lr"] == 0.01 and flags["loss"] == "ppo" and flags["run"] == str(tmp_path)
    log = metrics(tmp_path)
    assert [line["step"] for line in log] == [0, 1, 2]
    assert all(0 <= line["lag"] <= staleness for line in log)
    assert any(line["updates"] for line in log), "no group had both right and wrong samples: nothing was tested"
    for line in log:
        if line["lag"] == 0 and line["updates"]:  # on-policy: sampler and trainer agree, also after a reload
            assert line["mismatch_max"] < 1e-4 and abs(line["ratio_max"] - 1) < 1e-3
        rows = rollout(tmp_path, line["step"])
        assert len(rows) == 4 and all(row["step"] == line["step"] for row in rows)
        for row in rows:  # each stage added its keys for every sample, and dropped none
            for key in ("completions", "token_ids", "logprobs", "finish_reasons", "scores", "correct", "preds", "votes",
                        "rewards", "verdicts", "advantages"):
                assert len(row[key]) == 4, key
            assert row["estimator"] == "rloo" and abs(sum(row["advantages"])) < 1e-12


def test_off_policy_majority_with_epochs_and_lag(warm, tmp_path, shell):
    done = shell(loop(tmp_path, warm, staleness=1, estimator="maj_off_policy_loo_minus_one --k 2",
                      train="--lr 0.01 --ppo-epochs 2"))
    assert done.returncode == 0, done.stderr
    log = metrics(tmp_path)
    assert [line["step"] for line in log] == [0, 1, 2] and max(line["lag"] for line in log) == 1
    assert max(line["updates"] for line in log) == 2, "no vote of two was changed by a voter: nothing was tested"


@pytest.mark.parametrize("victim", [
    "train.py", *(pytest.param(f"{x}.py", marks=pytest.mark.slow) for x in ("generate", "reward", "advantages"))])
def test_a_stage_that_dies_takes_the_run_down(warm, tmp_path, victim):
    with subprocess.Popen(["bash", "-c", f"set -o pipefail; {loop(tmp_path, warm, steps=10_000)}"], cwd=ROOT,
                          stderr=subprocess.PIPE, text=True, start_new_session=True) as pipe:
        wait_for(lambda: (tmp_path / "metrics.jsonl").exists() and len(metrics(tmp_path)) > 1)
        [pid] = [pid for pid, words in group_members(pipe.pid) if victim in words[1:2]]
        os.kill(pid, signal.SIGKILL)
        assert pipe.wait(timeout=20) != 0
        assert not group_members(pipe.pid)


def test_interrupt_leaves_no_process(warm, tmp_path):
    with subprocess.Popen(["bash", "-c", f"set -o pipefail; {loop(tmp_path, warm, steps=10_000)}"], cwd=ROOT,
                          stderr=subprocess.PIPE, text=True, start_new_session=True,
                          # tests may run in the background
                          preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)) as pipe:
        wait_for(lambda: (tmp_path / "metrics.jsonl").exists() and len(metrics(tmp_path)) > 1)
        os.killpg(pipe.pid, signal.SIGINT)
        assert pipe.wait(timeout=20) != 0
        wait_for(lambda: not group_members(pipe.pid), 5)
        assert "Traceback" not in pipe.stderr.read()


def group_members(group):
    """(pid, command line words) of the live processes of a process group."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.getpgid(int(entry.name)) == group:
                words = (entry / "cmdline").read_text().split("\0")
                if words[0]:  # a zombie has none
                    found.append((int(entry.name), words))
        except OSError:
            pass
    return found


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def test_the_trainer_fails_when_the_input_ends_early(warm, tmp_path, shell):
    shell(f"python generate.py --model {warm} --steps 2 --prompts-per-step 4 --num-samples 4 | python reward.py | "
          f"python advantages.py --estimator rloo --k 4 > {tmp_path}/rows.jsonl")
    rows = (tmp_path / "rows.jsonl").read_text().splitlines(keepends=True)
    for count, message in ((8, "ended after 2 of 3 steps"), (6, "ended in step 1: 2 of 4 rows")):
        (tmp_path / "part.jsonl").write_text("".join(rows[:count]))
        done = shell(f"python train.py --model {warm} --run {tmp_path}/run{count} --steps 3 < {tmp_path}/part.jsonl")
        assert done.returncode == 2 and message in done.stderr


def test_the_trainer_does_not_leave_before_those_that_write_to_it(warm, tmp_path, shell):
    """A sampler that takes its time to end (an engine on a GPU, a program of one's own) makes no stage fail."""
    done = shell(f"python generate.py --model {warm} --steps 1 --prompts-per-step 4 --num-samples 4 "
                 f"> {tmp_path}/rows && "
                 f"(cat {tmp_path}/rows; sleep 4) | python reward.py | python advantages.py --estimator rloo --k 4 | "
                 f"python train.py --model {warm} --run {tmp_path}/run --steps 1")
    assert done.returncode == 0, done.stderr


def test_one_shot_on_files(warm, tmp_path, shell):
    """Each stage alone, file to file; then the table."""
    for command in (f"python generate.py --model {warm} --split test --limit 6 --num-samples 8 > {tmp_path}/c.jsonl",
                    f"python reward.py < {tmp_path}/c.jsonl > {tmp_path}/r.jsonl",
                    "python advantages.py --estimator pkpo_s_loo_minus_one --k 4 "
                    f"< {tmp_path}/r.jsonl > {tmp_path}/a.jsonl",
                    f"python train.py --model {warm} --run {tmp_path}/run < {tmp_path}/a.jsonl",
                    f"python evaluate.py {tmp_path}/r.jsonl --k 1 8 --out {tmp_path}/out"):
        done = shell(command)
        assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "out" / "results.json").read_text())
    rows = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert result["metrics"]["pass@1"]["mean"] == pytest.approx(sum(sum(row["correct"]) for row in rows) / 48)
    assert result["metrics"]["pass@8"]["mean"] == pytest.approx(sum(any(row["correct"]) for row in rows) / 6)
    assert os.readlink(tmp_path / "run" / "policy") == "policy-000001"


@pytest.mark.slow
def test_a_run_ends_when_no_more_prompts_are_solved(warm, tmp_path, shell):
    """Prompts that are never solved. The run stops after 3 steps, does nothing when it is started again, and goes on to
    the same end if it was cut off before it."""
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(json.dumps(row) + "\n" for row in MATH_ROWS))  # that this model never solves
    command = loop(tmp_path / "run", warm, steps=50, generate=f"--dataset math --max-tokens 10 --data-files {prompts}",
                   train="--stall-steps 3 --save-every 2 --keep-every 2")
    command = command.replace("--prompts-per-step 4", "--prompts-per-step 2")
    done = shell(command)
    assert done.returncode == 0 and "complete: 3 steps, in the last 3" in done.stderr, done.stderr
    log = metrics(tmp_path / "run")
    assert [line["step"] for line in log] == [0, 1, 2]
    assert (tmp_path / "run" / "policy-000003" / "trainer.pt").exists()
    again = shell(command)
    assert again.returncode == 0 and metrics(tmp_path / "run") == log, again.stderr
    shutil.rmtree(tmp_path / "run" / "policy-000003")  # as if it had been killed at step 2
    cut = shell(command)
    assert cut.returncode == 0 and [line["step"] for line in metrics(tmp_path / "run")] == [0, 1, 2], cut.stderr


# ------------------------------------------------------------------------------------------ evaluation along training

def along(run, file, flags="--at-steps 0 2 4 5"):
    return (f"python generate.py --along {run} {flags} --split test --limit 6 --num-samples 4 --seed 9 "
            f"--resume {file} | python reward.py >> {file}")


def read(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.fixture(scope="module")
def kept(warm, tmp_path_factory, shell):
    """A run of five steps that has kept its checkpoints 0, 2, 4 and 5; its resumable one is 5."""
    run = tmp_path_factory.mktemp("kept") / "run"
    done = shell(loop(run, warm, steps=5, train="--keep-every 2 --save-every 5"))
    assert done.returncode == 0, done.stderr
    assert "4 checkpoints" in done.stderr and "are free" in done.stderr  # the disk that it takes is said at the start
    return run


def test_kept_checkpoints_are_plain_and_those_of_their_steps(kept, warm, tmp_path, shell):
    from transformers import AutoModelForCausalLM, AutoTokenizer
    names = [path.name for path in sorted((kept / "kept").iterdir())]
    assert names == ["policy-000000", "policy-000002", "policy-000004", "policy-000005"]
    for name in names:
        assert not (kept / "kept" / name / "trainer.pt").exists()
        AutoModelForCausalLM.from_pretrained(kept / "kept" / name), AutoTokenizer.from_pretrained(kept / "kept" / name)
    last = (kept / "policy" / "model.safetensors").read_bytes()
    assert (kept / "kept" / names[-1] / "model.safetensors").read_bytes() == last
    assert (kept / "kept" / names[0] / "model.safetensors").read_bytes() != last


def test_rows_along_training_are_those_of_each_checkpoint_alone(kept, tmp_path, shell):
    """Weights reloaded in place give the rows that a process of their own gives, to the last bit."""
    done = shell(along(kept, tmp_path / "along.jsonl", flags=""))  # all that are kept
    assert done.returncode == 0, done.stderr
    rows = read(tmp_path / "along.jsonl")
    assert [row["policy_step"] for row in rows] == [0] * 6 + [2] * 6 + [4] * 6 + [5] * 6
    for step in (2, 5):
        one = tmp_path / f"{step}.jsonl"
        done = shell(f"python generate.py --model {kept}/kept/policy-{step:06d} --split test --limit 6 "
                     f"--num-samples 4 --seed 9 > {one}")
        assert done.returncode == 0, done.stderr
        mine = {row["task_id"]: (row["completions"], row["logprobs"]) for row in rows if row["policy_step"] == step}
        assert mine == {row["task_id"]: (row["completions"], row["logprobs"]) for row in read(one)}


def test_an_evaluation_that_was_cut_off_goes_on(kept, tmp_path, shell):
    whole, part = tmp_path / "whole.jsonl", tmp_path / "part.jsonl"
    assert shell(along(kept, whole)).returncode == 0
    text = whole.read_bytes()
    cut = text.splitlines(keepends=True)
    part.write_bytes(b"".join(cut[:9]) + cut[9][:50])  # in the second checkpoint, in the middle of a line
    done = shell(along(kept, part))
    assert done.returncode == 0, done.stderr
    for row, same in zip(read(part), read(whole), strict=True):  # of another batch, so not to the last bit
        for mine, theirs in zip(row.pop("logprobs"), same.pop("logprobs"), strict=True):
            assert mine == pytest.approx(theirs, abs=1e-5)
        assert ({key: row[key] for key in row if key != "reload_s"}
                == {key: same[key] for key in same if key != "reload_s"})
    text = part.read_bytes()
    again = shell(along(kept, part))  # nothing to do: nothing is changed
    assert again.returncode == 0 and part.read_bytes() == text
    assert again.stderr.count(f"generate.py: nothing left to do: {part} has the rows of all 6 prompts") == 1
    assert "nothing left to do" not in done.stderr
    other = shell(along(kept, part).replace("--seed 9", "--seed 8"))
    assert other.returncode == 2 and "row 1" in other.stderr and "another command" in other.stderr
    assert part.read_bytes() == text


def test_a_run_is_evaluated_while_it_goes_on(warm, tmp_path, shell):
    """The evaluation starts before the run does, waits for its checkpoints, and ends with the last."""
    run, file = tmp_path / "run", tmp_path / "along.jsonl"
    with ThreadPoolExecutor() as both:
        evaluation = both.submit(shell, along(run, file))
        done = shell(loop(run, warm, steps=5, train="--keep-every 2"))
    assert done.returncode == 0, done.stderr
    assert evaluation.result().returncode == 0, evaluation.result().stderr
    assert [row["policy_step"] for row in read(file)] == [0] * 6 + [2] * 6 + [4] * 6 + [5] * 6


def test_missing_extra_and_damaged_checkpoints_are_named(kept, tmp_path, shell):
    run, file = tmp_path / "run", tmp_path / "along.jsonl"
    shutil.copytree(kept, run, symlinks=True)
    (run / "kept" / "policy-000002 (copy)").mkdir()
    missing = shell(along(run, file, "--at-steps 0 3 5"))
    assert missing.returncode == 2 and "policy-000003" in missing.stderr and "no train.py is at work" in missing.stderr
    assert "policy-000002 (copy)" in missing.stderr
    assert [row["policy_step"] for row in read(file)] == [0] * 6  # what came before it is there
    weights = run / "kept" / "policy-000004" / "model.safetensors"
    data = weights.read_bytes()
    for damaged in (data[:1000], data[:-1000], b""):
        weights.write_bytes(damaged)
        done = shell(along(run, file))
        assert done.returncode == 2 and "policy-000004" in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert [row["policy_step"] for row in read(file)] == [0] * 6 + [2] * 6
    weights.write_bytes(data)
    assert shell(along(run, file)).returncode == 0 and len(read(file)) == 24


def test_a_run_that_stopped_is_not_waited_for(kept, monkeypatch):
    import generate
    monkeypatch.setattr(generate, "PATIENCE", 0.5)
    with open(os.devnull, "w") as rows:
        with pytest.raises(ValueError, match="policy-000007 .*no train.py is at work"):
            list(generate.kept_checkpoints(kept, [0, 5, 7], rows))
        with pytest.raises(ValueError, match="any checkpoint"):
            next(generate.kept_checkpoints(kept / "nowhere", None, rows))


def test_what_a_resumed_run_has_not_reached_is_not_kept(kept, warm, tmp_path, shell):
    """Checkpoints after the one that a run is resumed from were another run's future: they are made again."""
    run = tmp_path / "run"
    done = shell(loop(run, warm, steps=3, train="--keep-every 1 --save-every 2"))
    assert done.returncode == 0, done.stderr
    shutil.rmtree(run / "policy-000003")  # killed before step 3 was complete
    (run / "kept" / "policy-000003" / "old").touch()
    done = shell(loop(run, warm, steps=3, train="--keep-every 1 --save-every 2"))
    assert done.returncode == 0, done.stderr
    assert not (run / "kept" / "policy-000003" / "old").exists()
    assert [path.name[-1] for path in sorted((run / "kept").iterdir())] == list("0123")


MATH_ROWS = [{"problem": f"What is ${a} + {b}$?", "level": "Level 1", "type": "Prealgebra", "answer": str(a + b),
              "solution": f"We get $\\boxed{{{a + b}}}$.", "unique_id": f"train/prealgebra/{a}.json"}
             for a, b in ((1, 2), (3, 4))]
MBPP_ROWS = [{"task_id": 601 + i, "text": f"Write a function to add {i} to a number.",
              "code": f"def add(x):\r\n    return x + {i}", "test_setup_code": "", "challenge_test_list": [],
              "test_list": [f"assert add({x}) == {x + i}" for x in (1, 5, -2)]} for i in range(2)]


@pytest.mark.parametrize("dataset, rows, real", [
    pytest.param("math", MATH_ROWS, "math/train.jsonl", marks=pytest.mark.slow),
    ("mbpp", MBPP_ROWS, "mbpp/train_valid.jsonl")])
@pytest.mark.parametrize("source", ["written here", pytest.param("real", marks=pytest.mark.slow)])
def test_two_steps_and_a_table_on_rows_of_a_real_schema(tiny, tmp_path, shell, dataset, rows, real, source):
    """The tiny model is wrong on all of them: prompts, grading, advantages, update and table work on real rows."""
    files = DATA / real
    if source == "real" and not files.exists():
        pytest.skip(f"no real rows of {dataset} at {files}")
    if source != "real":
        files = tmp_path / "rows.jsonl"
        files.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = f"--dataset {dataset} --data-files {files} --limit 40 --max-prompt-tokens 4000 --max-tokens 12"
    run = tmp_path / "run"
    done = shell(loop(run, tiny, steps=2, generate=data))
    assert done.returncode == 0, done.stderr
    assert [line["all_wrong"] for line in metrics(run)] == [1, 1]
    assert [line["updates"] for line in metrics(run)] == [0, 0]  # no signal, no step
    assert all(row["dataset"] == dataset for row in rollout(run, 0))
    done = shell(f"python generate.py --model {run}/policy {data} --num-samples 4 | "
                 f"python reward.py > {tmp_path}/r.jsonl; "
                 f"python evaluate.py {tmp_path}/r.jsonl --k 1 4 --out {tmp_path}/out")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out" / "results.json").read_text())["metrics"]["pass@4"]["mean"] == 0
    # the same rows' own solutions, through the same pipe, are right
    done = shell(f"python generate.py --model {tiny} {data.replace(' --max-tokens 12', '')} --reference | "
                 "python reward.py --reward binary")
    graded = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0 and len(graded) == min(40, len(files.read_text().splitlines()))
    assert all(row["correct"] == [True] for row in graded)
