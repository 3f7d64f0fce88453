"""README.md and the pages under results/ that it points to: their commands run, their examples work as pasted, their
links lead somewhere, and their numbers are those of the runs."""

import ast
import functools
import json
import math
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from transformers import Gemma2Config, LlamaConfig, Qwen2Config

import train

ROOT = Path(__file__).resolve().parent.parent
WRITTEN_BY_RUNS = ("table.md", "answers.md", "claims.md")
PAGES = {path.relative_to(ROOT).as_posix(): path.read_text() for path in [
    ROOT / "README.md", *sorted(path for path in (ROOT / "results").rglob("*.md") if path.name not in WRITTEN_BY_RUNS)]}
README, HARDWARE = PAGES["README.md"], PAGES["results/hardware.md"]
TEXT = " ".join(" ".join(PAGES.values()).split())  # of all pages; a line may end anywhere in a number with its interval
BLOCKS = [block.replace("\\\n", "").strip()
          for page in PAGES.values() for block in re.findall(r"```bash\n(.*?)```", page, re.S)]
COMMANDS = [line for block in BLOCKS for line in block.splitlines()]
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.S)
PRESETS = re.findall(r"^\| `bash run.sh (\S+)` \|", HARDWARE, re.M)
SHARED = ROOT.parent / "shared" / "data"


def test_the_readme_names_what_run_sh_knows():
    script = (ROOT / "run.sh").read_text()
    assert PRESETS == " ".join(re.findall(r'^PRESETS\+?="(.*)"', script, re.M)).split()
    assert not [preset for preset in PRESETS if not re.search(rf"`(bash run.sh )?{preset}`", README)]
    assert COMMANDS[:2] == ["bash run.sh", "bash run.sh test"]
    assert "bash run.sh test" in (ROOT / ".ci" / "run").read_text()
    unknown = subprocess.run(["bash", "run.sh", "nonsense"], cwd=ROOT, capture_output=True, text=True)
    assert unknown.returncode == 2 and unknown.stderr.count("\n") == 1 and "tang-table1" in unknown.stderr
    old = subprocess.run(["bash", "run.sh"], cwd=ROOT, capture_output=True, text=True,
                         env={"PATH": "/usr/bin:/bin", "PYTHON": "nopython"})
    assert old.returncode == 2 and "nopython" in old.stderr
    blank = subprocess.run(["bash", "run.sh"], cwd=ROOT, capture_output=True, text=True,
                           env={"PATH": "/usr/bin:/bin", "RUNS": "my runs"})
    assert blank.returncode == 2 and "blanks" in blank.stderr


def result(name):
    return (ROOT / "results" / name).read_text()


def test_the_numbers_are_those_of_the_results():
    """Every mean or difference with its interval stands in a table that a command wrote, every claim in claims.md."""
    tables = result("mini-tuned/answers.md") + "".join(result(f"{table}/table.md") for table in (
        "mini", "mini-tang", "mini-pkpo", "mini-maxk", "mini-vote", "questions/a", "questions/b", "questions/c"))
    cells = re.findall(r"(?<![±\d.])[-+]?[\d.]+ \[[-+]?[\d.]+, [-+]?[\d.]+\](?: ±[\d.]+)?", TEXT)
    assert len(cells) > 230 and not [cell for cell in cells if cell not in tables]
    claims = re.findall(r"^- .*standard errors$", result("mini/claims.md"), re.M)
    assert len(claims) == 6 and not [claim for claim in claims if claim not in TEXT]


@pytest.mark.parametrize("page, start, end", [
    ("README.md", "- Measured on one NVIDIA H200", "\n- "),
    ("results/benchmarks/README.md", "## On a GPU", "Not verified")])
def test_the_numbers_of_a_gpu_are_those_of_its_check(page, start, end):
    said = PAGES[page].split(start)[1].split(end)[0].replace("Qwen2.5", "")
    numbers = [number.rstrip(".") for number in re.findall(r"\d+[.,][\d.]+", said)]
    measured = result("benchmarks/check-nvidia-h200.txt")
    assert len(numbers) >= 9 and not [number for number in numbers if number not in measured]


def test_the_readme_is_short_and_no_line_is_long():
    assert len((ROOT / "README.md").read_bytes()) < 25_000
    for name, page in PAGES.items():
        prose = re.sub(r"^```.*?^```", "", page, flags=re.S | re.M).splitlines()
        assert not [line for line in prose if len(line) > 120 and not line.startswith("|")], name
    for script in [*ROOT.glob("*.py"), *ROOT.glob("tests/*.py"), ROOT / "run.sh"]:
        assert not [line for line in script.read_text().splitlines() if len(line) > 120], script


def anchor(heading):
    """The address of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_links_lead_somewhere():
    links = [(name, link) for name, page in PAGES.items() for link in re.findall(r"\]\(([^)\s]+)\)", page)]
    for name, link in links:
        if link.startswith("https://"):
            continue
        file, _, part = link.partition("#")
        target = ((ROOT / name).parent / file).resolve() if file else ROOT / name
        assert target.exists(), f"{name}: {link}"
        if part:
            assert part in map(anchor, re.findall(r"^#+ (.*)$", target.read_text(), re.M)), f"{name}: {link}"
    reached = {((ROOT / name).parent / link.partition("#")[0]).resolve() for name, link in links}
    assert not [name for name in PAGES if name != "README.md" and (ROOT / name).resolve() not in reached]


def shape(kind, hidden, intermediate, layers, heads, keys, vocabulary, **more):
    return kind(hidden_size=hidden, intermediate_size=intermediate, num_hidden_layers=layers, num_attention_heads=heads,
                num_key_value_heads=keys, vocab_size=vocabulary, **more)


MODELS = {
    "Qwen2.5 0.5B": shape(Qwen2Config, 896, 4864, 24, 14, 2, 151936, tie_word_embeddings=True),
    "Qwen2.5 1.5B": shape(Qwen2Config, 1536, 8960, 28, 12, 2, 151936, tie_word_embeddings=True),
    "Gemma 2 2B": shape(Gemma2Config, 2304, 9216, 26, 8, 4, 256000, head_dim=256),
    "Qwen2.5 3B": shape(Qwen2Config, 2048, 11008, 36, 16, 2, 151936, tie_word_embeddings=True),
    "Qwen2.5 7B": shape(Qwen2Config, 3584, 18944, 28, 28, 4, 152064),
    "Llama 3.1 8B": shape(LlamaConfig, 4096, 14336, 32, 32, 8, 128256),
    "Gemma 2 9B": shape(Gemma2Config, 3584, 14336, 42, 16, 8, 256000, head_dim=256),
    "Llama 3.1 70B": shape(LlamaConfig, 8192, 28672, 80, 64, 8, 128256)}


def memory_arguments(*flags):
    return train.parse_arguments(["--model", "x", "--run", "x", "--dtype", "bfloat16", "--microbatch-tokens", "16384",
                                  "--activation-checkpointing", *flags])


@functools.cache
def parameters(model):
    return train.held(MODELS[model], memory_arguments(), 1)["weights, float32"] / 4


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_the_memory_is_what_train_py_computes(model):
    plain, small, spare = memory_arguments(), memory_arguments("--adam-bits", "8"), memory_arguments(
        "--adam-bits", "8", "--reference-model", "none")
    alone, sharded = (train.activations(MODELS[model], plain, ranks) for ranks in (1, 2))
    found = [sum(train.memory(MODELS[model], args, ranks, alone if ranks == 1 else sharded).values())
             for args, ranks in [(plain, 1), (spare, 1), (plain, 4), (plain, 8), (small, 8), (small, 16)]]
    found.append(2 * parameters(model))  # the sampler's weights
    [stated] = re.findall(rf"^\| {re.escape(model)} \|(.*) \|$", HARDWARE, re.M)
    assert [cell.strip() for cell in stated.split("|")] == [f"{size / 1e9:,.0f} GB" for size in found]


def step_seconds(model, gpus, samples, prompt, completion, flop, value=0, prompts=0):
    """Seconds of sampling, training, publishing and reloading of one step on `gpus` GPUs each, as results/hardware.md
    says."""
    size = parameters(model)
    decode = math.ceil(samples / (128 * gpus)) * completion * 2 * 2 * size / 3.35e12
    update = size * (samples * (prompt + completion) * flop / gpus + prompts * prompt * value) / (0.4 * 989e12)
    return decode, update, 2 * size / (2e9 * gpus), 2 * size / 4e9


PLAIN = 6 + 2 + 2  # FLOP a parameter and token: forward and backward, the forward pass again, the reference
# the latter reads the current ratios before every update
THREE_EPOCHS, THREE_OFF_POLICY = 3 * (6 + 2) + 2, 3 * (2 + 6 + 2) + 2
STEPS = {  # preset: (step, sampled beside the update before?), number of steps of it
    "tang-table1": [(("Llama 3.1 8B", 4, 16, 4096, 4096, PLAIN), True, 3 * 6400),
                    (("Llama 3.1 8B", 4, 16, 4096, 4096, PLAIN, 2 + 6 + 2, 2), True, 3 * 6400)],
    "tang-math": [(("Llama 3.1 8B", 4, 256, 1024, 1024, PLAIN), True, 5 * 1000)],
    "tang-harp": [(("Llama 3.1 8B", 4, 256, 1024, 1024, PLAIN), True, 5 * 1000)],
    "pkpo-math": [(("Gemma 2 2B", 1, 256, 1024, 1024, PLAIN), False, 10 * 750)],
    "pkpo-code": [(("Gemma 2 2B", 1, 256, 1024, 1024, PLAIN), False, 10 * 750)],
    "pkpo-anneal": [(("Gemma 2 2B", 1, 256, 1024, 1024, PLAIN), False, 3 * 2250)],
    "pkpo-arc": [(("Llama 3.1 8B", 4, 256, 6144, 1024, PLAIN), False, 10 * 10000)],
    "maxk-table1": [(("Qwen2.5 7B", 4, 128, 512, 256, PLAIN), False, 2 * 156)],
    "maxk-table2": [(("Qwen2.5 7B", 4, 128, 512, 256, PLAIN), False, 4 * 156),
                    (("Qwen2.5 7B", 4, 128, 512, 256, THREE_OFF_POLICY), False, 3 * 156)],
    "maxk-table4": [(("Qwen2.5 7B", 4, 128, 512, 256, PLAIN), False, 5 * 156),
                    (("Qwen2.5 7B", 4, 128, 512, 256, THREE_EPOCHS), False, 5 * 156)]}


def test_the_hours_are_computed_as_it_says():
    expected = {}
    for preset, kinds in STEPS.items():
        seconds = without = 0
        for step, beside, count in kinds:
            decode, update, publish, reload = step_seconds(*step)
            together = max if beside else lambda *parts: sum(parts)
            seconds += count * together(reload + decode, update + publish)
            without += count * together(decode, update)
        expected[preset] = float(f"{seconds / 3600:.2g}"), round(100 * (1 - without / seconds))
    stated = dict(re.findall(r"^\| `bash run.sh (\S+)` \|.* ([\d.]+ \| \d+ %) \|$", HARDWARE, re.M))
    gsm8k = sum(step_seconds("Qwen2.5 0.5B", 1, 512, 512, 256, PLAIN)) * 4 * 200 / 3600
    assert 1.1 < gsm8k < 1.4 and all("1.4 hours" in page for page in (README, HARDWARE, (ROOT / "run.sh").read_text()))
    assert {name: (float(text.split()[0]), int(text.split()[2])) for name, text in stated.items()} == expected


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """One directory for runs/ and results/ of all commands: tables of the same runs share them, as they do for a
    user."""
    return tmp_path_factory.mktemp("readme")


@pytest.fixture
def miniature(place, shell):
    """Runs a command of these pages in miniature; none may write a page, results/ is where they are. run.sh's `python`
    is the tests' (warm_python.py), for it starts a stage after another: half of the time would be imports."""
    def run(command):
        done = shell(f"export SMOKE=1 RUNS={place}/runs RESULTS={place}/results BASH_ENV={place}/python; "
                     f"""echo 'python() {{ '"$(command -v python)"' "$@"; }}' > $BASH_ENV; """
                     + command.replace("runs/", f"{place}/runs/"), timeout=1500)
        assert done.returncode == 0, done.stderr[-3000:]
        assert not [file for file in (place / "results").rglob("*.md") if file.name not in WRITTEN_BY_RUNS]
        return done.stdout
    return run


def needs_installed_environment():
    if not (ROOT / ".venv" / "installed").exists():
        pytest.skip("run by `bash run.sh test`, which has made .venv")


@pytest.mark.slow
def test_first_command_and_the_stages_one_shot(miniature, place):
    needs_installed_environment()
    printed = miniature("bash run.sh")
    assert "pkpo_k8" in printed and "best possible list" in printed
    results = json.loads((place / "results" / "mini" / "results.json").read_text())
    assert {"base", "rloo", "max_loo", "pkpo_k8", "maj_centred"} <= set(results["methods"])
    for figure in ("metric_at_k", "along_step", "along_kl"):
        assert (place / "results" / "mini" / f"{figure}.png").stat().st_size > 10_000
    again = miniature("bash run.sh")  # complete: nothing is trained again, the table is the same
    assert again == printed
    stages = [c for c in COMMANDS if re.match(r"python (generate|reward|advantages|train|evaluate)\.py", c)][:5]
    for command in stages:
        for name in ("c", "r", "a"):
            command = re.sub(rf"\b{name}\.jsonl", f"{place}/{name}.jsonl", command)
        miniature(command)


@pytest.mark.slow
def test_open_questions(miniature, place):
    """The one that screens its prompts; the others are the small tables' machinery with other names."""
    needs_installed_environment()
    assert all(f"bash run.sh questions-{letter}" in PAGES["results/questions/README.md"] for letter in "abc")
    miniature("SEEDS=0 bash run.sh questions-b")
    assert (place / "results" / "questions" / "b" / "table.md").exists()


@pytest.mark.slow
@pytest.mark.parametrize("table", ["mini-maxk", "mini-vote"])
def test_small_tables(miniature, place, table):
    """Those with epochs and lag, and with votes; the other two are the same function with other names."""
    needs_installed_environment()
    assert {f"bash run.sh mini-{name}" for name in ("tang", "pkpo", "maxk", "vote")} <= set(COMMANDS)
    miniature(f"SEEDS=0 bash run.sh {table}")
    assert (place / "results" / table / "table.md").exists()


@pytest.mark.slow
def test_every_method_tuned_alike(miniature, place):
    needs_installed_environment()
    answers = miniature('SEEDS="0 1" TUNED="rloo pkpo_k8" RATES="1e-3 3e-3" bash run.sh mini-tuned')
    assert "Does mean RL, stopped where its pass@8 is best, reach pass@k RL?" in answers
    assert "not evaluated" not in answers
    assert (place / "results" / "mini-tuned" / "answers.md").read_text() in answers


# Of presets with many methods those of different kinds: the others are the same commands with another k or another
# bonus
SOME = {"tang-table1": "pg-pass@k ppo-biased", "tang-table2": "pg-pass@k ppo-biased",
        "tang-math": "base mean majority-biased", "tang-harp": "base pass@k",
        "pkpo-math": "base k1 k8 entropy:0.001 entropy:0.01", "pkpo-code": "base k2 tang", "pkpo-arc": "base k4",
        "pkpo-anneal": "k8 annealed", "maxk-table2": "base bon-mean off-policy off-policy-exact",
        "maxk-table3": "base bon-mean off-policy off-policy-exact",
        "maxk-table6": "base bon-mean off-policy off-policy-exact", "maxk-table4": "base ppo3-1-epoch 4-epochs"}


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_presets_in_miniature(miniature, place, preset):
    needs_installed_environment()
    if not SHARED.exists():
        pytest.skip(f"no local rows of the datasets at {SHARED}")
    miniature(f"ONLY='{SOME.get(preset, '')}' bash run.sh {preset}")
    tables = list((place / "results" / preset).rglob("table.md"))
    assert tables and all("|" in table.read_text() for table in tables)


def pasted(tmp_path, script, name, example):
    """A copy of the scripts with an example pasted after the statement that defines `name`."""
    for file in ROOT.glob("*.py"):
        shutil.copy(file, tmp_path)
    lines = (ROOT / script).read_text().splitlines()
    [end] = [node.end_lineno for node in ast.parse("\n".join(lines)).body
             if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == name]
    (tmp_path / script).write_text("\n".join([*lines[:end], "", "", example, *lines[end:]]))
    return tmp_path


def test_examples_are_short():
    assert len(EXAMPLES) == 4 and all(example.count("\n") < 20 for example in EXAMPLES)


def test_new_estimator_example(tmp_path, shell):
    where = pasted(tmp_path, "advantages.py", "ESTIMATORS", EXAMPLES[0])
    row = json.dumps({"task_id": "x", "rewards": [1, 0, 1, 1]})
    done = shell(f"cd {where} && echo '{row}' | python advantages.py --estimator min_centred --k 3")
    assert done.returncode == 0, done.stderr
    # min@3 is 1/4 with the one wrong sample in the group and 1 without it: A is -3/4 for it, +1/4 for the others
    assert json.loads(done.stdout)["advantages"] == pytest.approx([0.25, -0.75, 0.25, 0.25])


def test_new_dataset_example(tmp_path, shell, tiny):
    where = pasted(tmp_path, "generate.py", "DATASETS", EXAMPLES[1])
    (where / "sums.jsonl").write_text('{"a": 3, "b": 4}\n{"a": 10, "b": -2}\n')
    done = shell(f"cd {where} && python generate.py --model {tiny} --dataset sums --data-files sums.jsonl "
                 "--reference | python reward.py")
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["correct"] for line in done.stdout.splitlines()] == [[True], [True]]


def test_new_kind_of_reward_example(tmp_path, shell):
    where = pasted(tmp_path, "reward.py", "GRADERS", EXAMPLES[2])
    row = json.dumps({"task_id": "k", "kind": "keyword", "gold": "cat", "completions": ["a cat", "a dog", "", "a cat"]})
    (where / "row.jsonl").write_text(row)
    done = shell(f"cd {where} && python reward.py < row.jsonl")
    assert done.returncode == 0, done.stderr
    rewarded = json.loads(done.stdout)
    assert rewarded["rewards"] == [1.0, 0.0, 0.0, 1.0] and rewarded["votes"] == [0, 1, -1, 0]


def test_what_is_optimised_example(tmp_path, shell):
    where = pasted(tmp_path, "reward.py", "REWARDS", EXAMPLES[3])
    row = json.dumps({"task_id": "g", "kind": "grid", "gold": [[1, 2], [3, 4]],
                      "completions": ["1 2\n3 4", "1 2\n3 5"]})
    (where / "row.jsonl").write_text(row)
    done = shell(f"cd {where} && python reward.py --reward half < row.jsonl")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rewards"] == [1.0, 0.375]


@pytest.mark.slow
def test_a_model_and_data_of_ones_own(tiny, tmp_path, shell):
    """The loop and the evaluation along training: as pasted but for the model and the sizes."""
    loop, along = (next(block for block in BLOCKS if block.startswith(f"python generate.py --{how} runs/mine"))
                   for how in ("run", "along"))
    for name in "train", "test":
        sums = ({"question": f"What is {a} + 1 ({name})?", "answer": f"It is {a + 1}.\n#### {a + 1}"} for a in range(4))
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in sums))
    small = {"MODEL": str(tiny),
             "jsonl --steps 100 --prompts-per-step 64": "jsonl --steps 2 --prompts-per-step 2",
             "mine --steps 100": "mine --steps 2", "--keep-every 20": "--keep-every 1",
             "--max-tokens 512": "--max-tokens 4", "python ": f"python {ROOT}/"}
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    commands = f"{loop}\n{along}"
    for text, smaller in small.items():
        assert text in commands
        commands = commands.replace(text, smaller)
    done = shell(f"cd {tmp_path}; set -e; {commands}")
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "runs" / "mine" / "metrics.jsonl").read_text().splitlines()) == 2
    rows = [json.loads(line) for line in (tmp_path / "runs" / "mine" / "along.jsonl").read_text().splitlines()]
    assert sorted({row["policy_step"] for row in rows}) == [0, 1, 2] and len(rows) == 3 * 4
    assert "pass@k" in done.stdout and (tmp_path / "results" / "mine" / "along_step.png").exists()


def test_the_row_is_a_row():
    [row] = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGES["results/rows.md"], re.S)]
    n = len(row["completions"])
    of_samples = ("token_ids", "logprobs", "finish_reasons", "scores", "correct", "preds", "votes", "rewards",
                  "verdicts", "advantages")
    assert all(len(row[key]) == n for key in of_samples)
