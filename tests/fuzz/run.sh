#!/bin/sh
# Runs each fuzz target for so many seconds: `tests/fuzz/run.sh [SECONDS [TARGET…]]`, 600 seconds by default.
#
# Needs `cargo install cargo-fuzz` and a C++ compiler; a stable toolchain will do. What it finds on its way stays below
# `$CARGO_TARGET_DIR/fuzz-corpus`; a crash is left in `tests/fuzz/artifacts`, and ends the run.
set -eu
cd "$(dirname "$0")/../.."
seconds=${1:-600}
[ $# -gt 0 ] && shift
targets=${*:-answer retry_after settings journal import own_profile cookies}
target_dir=${CARGO_TARGET_DIR:-target/fuzz}
# libFuzzer needs the compiler's coverage counters only, and those are all that a stable toolchain has to be let have.
export RUSTC_BOOTSTRAP=1
# Journals are files: in memory, where there is such a place.
[ -d /dev/shm ] && export TMPDIR=/dev/shm
for target in $targets; do
  grown=$target_dir/fuzz-corpus/$target
  mkdir -p "$grown"
  cargo fuzz run --fuzz-dir tests/fuzz --target-dir "$target_dir" --sanitizer none --release "$target" \
    "$grown" "tests/fuzz/corpus/$target" -- \
    -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=65536 -print_final_stats=1
done
