# The commands of this project. `make test` is the whole of it; each step also works alone.

.PHONY: test install fmt clippy unit docs features demo control

STEPS = install fmt clippy unit docs features demo control

# Everything, step by step, and a table of how long each took.
test:
	@.ci/steps $(STEPS)

# Puts missing servers on the machine from Debian's packages, or says how.
install:
	@.ci/install

fmt:
	cargo fmt --all -- --check

clippy:
	cargo clippy --workspace --all-targets --all-features -- -D warnings

# All tests of all packages, real servers and doc tests included.
unit:
	cargo test --workspace --all-features

docs:
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --all-features --no-deps

# Each crate without features, and with each feature alone.
features:
	@.ci/features

# Real simulations behind the real gateway through a crash, a scale-up and a scale-in.
demo:
	cargo run --release -p gateway -- --once

# The same with the drain off: passes only if the judge reports losses.
control:
	cargo run --release -p gateway -- --once --control
