# What the workflows and .ci/run make, beside the targets of the Makefile.
.PHONY: toolchain cargo-deny advisories dashboard lint-files check-renamed check-by-version check-removed kind \
	image-push image-index release-version changelog bump

toolchain: ## the Rust toolchain of `rust-version`, by rustup
	rustup toolchain install --profile minimal --component clippy,rustfmt $(RUST)
	rustup default $(RUST)
cargo-deny: ## install it where it is missing
	command -v cargo-deny > /dev/null || cargo install cargo-deny --version 0.20.2 --locked --debug --quiet
advisories: ## known vulnerabilities among the dependencies; fetches the list of them
	cargo deny --workspace check advisories
	[ ! -d examples ] || cargo deny --manifest-path examples/Cargo.toml --workspace --config examples/deny.toml check advisories
	[ ! -d rollout ] || cargo deny --manifest-path rollout/libraries/rust/Cargo.toml --workspace --config deny.toml check advisories
dashboard: tools ## draw docs/images/dashboard.svg anew, from a minute in which two pods are replaced
	$(WITH_TOOLS) cargo test --locked --package landfall --test prometheus -- --ignored
lint-files: tools ## scripts, manifests and workflows; fetches their linters by pip
	scripts/lint-files.sh
check-renamed: tools ## a copy of the last commit under another name passes its checks
	scripts/check-renamed.sh
check-by-version: ## a service that has the engine by version takes a newer one
	cargo fetch --locked --quiet
	cargo test --locked --package xtask --test by_version -- --ignored
check-removed: tools ## what is left when all that can be removed is removed
	cargo fetch --locked --quiet
	$(WITH_TOOLS) cargo test --locked --package xtask --test remove -- --ignored
kind: ## a cluster by kind, and `make e2e` on it; k8s/kind.sh says what it needs
	DOCKER=$(DOCKER) ROLLOUT_ARGS="$(ROLLOUT_ARGS)" INGRESS_ARGS="$(INGRESS_ARGS)" k8s/kind.sh

image-push: ## build the image for this architecture, with a bill of materials and provenance, and push it: IMAGE=
	$(DOCKER) buildx inspect release > /dev/null 2>&1 || $(DOCKER) buildx create --name release --driver docker-container
	$(DOCKER) buildx build --builder release --push --sbom=true --provenance=mode=max $(IMAGE_ARGS) .
image-index: ## one image of IMAGE-amd64 and IMAGE-arm64; prints its digest
	@$(DOCKER) buildx imagetools create --tag $(IMAGE) $(IMAGE)-amd64 $(IMAGE)-arm64 >&2
	@$(DOCKER) buildx imagetools inspect --format '{{.Manifest.Digest}}' $(IMAGE)
release-version: ## the version, if TAG=v1.2.3 is that of service/Cargo.toml
	@scripts/release.sh version "$(TAG)"
changelog: ## what CHANGELOG.md says of a version: VERSION=1.2.3
	@scripts/release.sh changelog "$(VERSION)"
bump: ## set the tag of every overlay but local: TAG=1.2.3@sha256:…
	@scripts/release.sh bump "$(TAG)"

RUST = $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
