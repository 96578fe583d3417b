#!/usr/bin/env bash
# Tests of many processes: bits, errors, a killed process, a run that resumes. Needs `mpirun`. Stops at the first failure.
set -euo pipefail
cd "$(dirname "$0")"
# OpenMPI refuses to run as root, and more processes than cores, unless told to.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export RAYON_NUM_THREADS=1
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/../target/distributed}

cargo build --locked --release --examples
job=$(cargo test --locked --release --no-run --test job 2>&1 | sed -n 's/.*(\(.*\))$/\1/p' | tail -n 1)
charseq=$CARGO_TARGET_DIR/release/examples/charseq
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

fail() {
    echo "FAILED: $*"
    exit 1
}

on() {
    local processes=$1
    shift
    timeout 120 mpirun -np "$processes" "$@"
}

"$job"
on 2 "$job" refused
on 4 "$job" refused
on 2 "$job" broadcast
on 4 "$job" broadcast

# n shards: the same bits on any number of processes, whether the backward pass keeps all steps or every third.
for shards in 4 7; do
    expected=$(on 1 "$job" bits "$shards" 0)
    [[ $expected = checksum\ * ]] || fail "no checksum: $expected"
    for processes in 1 2 3 4; do
        for every in 0 3; do
            found=$(on "$processes" "$job" bits "$shards" "$every")
            echo "$shards shards, $processes processes, checkpoints $every: $found"
            # Checkpoints add up gradients window by window, which rounds apart.
            [ "$every" = 0 ] || expected_every=${expected_every:-$found}
            [ "$found" = "$([ "$every" = 0 ] && echo "$expected" || echo "$expected_every")" ] || fail "$found"
        done
    done
    unset expected_every
done
[ "$(on 1 "$job" bits 4 0)" != "$(on 1 "$job" bits 7 0)" ] || fail "the checksum does not depend on the rounding"

# A process that panics or fails ends the job at once, with a failure.
for case in panic error; do
    start=$SECONDS
    ! on 3 "$job" "$case" > "$folder/log" 2>&1 || fail "a job whose process ends with a $case succeeds"
    [ $((SECONDS - start)) -lt 10 ] || fail "a job whose process ends with a $case hangs"
    grep -q "rank 2: " "$folder/log" || fail "no message: $(cat "$folder/log")"
done

# A process is killed. The job ends, the file is whole, and the run that resumes from it ends with the same bits.
whole=$(on 1 "$charseq" --steps 120 | tail -n 1)
[[ $whole = checksum\ * ]] || fail "no checksum: $whole"
mpirun -np 2 "$charseq" --steps 120 --save "$folder/run.safetensors" > "$folder/log" 2>&1 &
job_id=$!
until grep -q "^step  *20 " "$folder/log"; do
    kill -0 "$job_id" || fail "the job ended early: $(cat "$folder/log")"
    sleep 0.01
done
start=$SECONDS
kill -9 "$(pgrep -P "$job_id" | tail -n 1)"
! wait "$job_id" || fail "a job whose process is killed succeeds"
[ $((SECONDS - start)) -lt 10 ] || fail "a job whose process is killed hangs"
! grep -q "^checksum" "$folder/log" || fail "the job was done before it was killed"
echo "killed at: $(grep "^step" "$folder/log" | tail -n 1)"
resumed=$(on 4 "$charseq" --steps 120 --save "$folder/run.safetensors")
! grep -q "^step  *10 " <<< "$resumed" || fail "it began anew"
[ "$(tail -n 1 <<< "$resumed")" = "$whole" ] || fail "resumed: $resumed, unbroken: $whole"
echo "resumed: $whole"
echo "all passed"
