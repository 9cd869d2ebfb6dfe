# The commands of this project. `make test` is the whole of it; each step also works alone.

STEPS = install fmt clippy unit loom docs features fuzz demo

.PHONY: test $(STEPS) bench faults

# Everything, step by step, and a table of how long each took.
test:
	@.ci/steps $(STEPS)

# Puts missing servers on the machine from Debian's packages, or says how.
install:
	@.ci/install

fmt:
	cargo fmt --all -- --check

# The peers of the benches compile for minutes and stay out.
clippy:
	cargo clippy --workspace --exclude benches --all-targets --all-features -- -D warnings
	cargo clippy -p benches --all-targets -- -D warnings

# All tests of all packages, real servers and doc tests included.
unit:
	cargo test --workspace --exclude benches --all-features

# Every interleaving of what threads share. In a target directory of its own: the flag rebuilds all.
loom: export RUSTFLAGS = --cfg lb_loom
loom: export CARGO_TARGET_DIR = target/loom
loom:
	cargo test -p lb-core --no-default-features --features rate-limit --release --lib loom_tests
	cargo test -p lb-gpu --no-default-features --release --test loom_fair

docs:
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --exclude benches --all-features --no-deps

# Each crate without features, and with each feature alone.
features:
	@.ci/features

# Every fuzz target for 20 s, the same way every time, on stable Rust, with a target directory and a lock file of its own.
fuzz:
	fuzz/run

# Real simulations behind the real gateway through a crash, a scale-up and a scale-in; and a control
# run with the drain off, in which the same judge must report losses.
demo:
	cargo run --release -p gateway -- --once

# What each part costs, next to its peers in the same run. Not part of `make test`.
bench:
	cargo bench -p benches --features peers

# Real processes that die, stall, lie and flood, an open-loop client, and a judge that reads ledgers. Each
# scenario has a control run without its mechanism, which the judge must reject. Not part of `make test`.
# FAULTS="--quick --only 3,5" shortens the load (all of it in ten minutes) and picks scenarios.
FAULTS =
faults:
	cargo run --release -p faults -- run $(FAULTS)
