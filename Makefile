NAME := $(shell scripts/name.sh)
OVERLAY ?= local
IMAGE ?= $(NAME):local
DOCKER ?= docker
ROLLOUT_ARGS ?=

WITH_TOOLS = PATH="$(CURDIR)/.tools/bin:$$PATH"

.DEFAULT_GOAL := help
.PHONY: tools $(shell sed -n 's/^\([a-z0-9-]*\):.* ## .*/\1/p' Makefile)

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
run: ## serve on this machine; Ctrl-C ends it
	cargo run
test: tools ## every test, on real processes
	$(WITH_TOOLS) cargo test --workspace --exclude landfall-otlp --locked
traces: ## test the spans that go to a collector; apart, because it compiles for long
	cargo clippy --package $(NAME) --features otlp --all-targets --locked -- -D warnings
	cargo test --package landfall-otlp --package $(NAME) --features otlp --locked
# The engine, and what it has in crates of its own.
ENGINE = --package landfall --package landfall-frames --package landfall-telemetry --package landfall-variables
fuzz: ## random bytes and random connections, for TIME=1m each; docs/testing.md
	FUZZ_TIME=$(or $(TIME),1m) cargo test --locked $(ENGINE) --lib --test engine ::any_ -- --nocapture
fuzz-coverage: ## random bytes that libFuzzer chooses by the code they reach, TIME=60 seconds for each test; docs/testing.md
	scripts/fuzz-coverage.sh $(or $(TIME),60) $(TEST)
loom: ## what threads share, in every order in which they can run; docs/testing.md
	cargo test --locked --manifest-path tests/loom/Cargo.toml --target-dir target/loom
admin-page: ## the admin port's page in headless Chromium, from start to end
	cargo build --locked --package landfall --bin testbed
	tests/admin_page.py target/debug/testbed
MUTANTS = cargo mutants --in-place --no-shuffle --output target/mutants $(if $(FILE),--file $(FILE)) $(if $(SHARD),--shard $(SHARD))
mutants: tools ## what no test notices when it is changed, in hours; FILE=src/trace.rs takes one file, SHARD=0/8 an eighth; docs/testing.md
	$(WITH_TOOLS) $(MUTANTS) $(ENGINE) -- $(ENGINE) --lib --test engine
	$(if $(FILE),,$(WITH_TOOLS) $(MUTANTS) --package rollout --package manifests)
tools:
	@scripts/tools.sh
lint: ## format, clippy, docs, dependencies
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet
	cargo deny --workspace check bans licenses sources
	[ ! -d rollout ] || cargo deny --manifest-path rollout/libraries/rust/Cargo.toml --workspace --config deny.toml \
	  check bans licenses sources
check: lint test ## all that has to hold before a commit
docs: tools ## every command of the docs that can be run here, and its output
	$(WITH_TOOLS) cargo test --locked --package xtask --test docs_run -- --ignored --nocapture
rename: ## give the service its name, everywhere: NAME=orders
	cargo run --quiet --package xtask -- rename "$(NAME)"
update-engine: ## take a newer engine: FROM=../landfall; docs/upgrading.md
	$(if $(FROM),,$(error FROM is missing: make update-engine FROM=../landfall))
	cargo run --quiet --locked --manifest-path "$(FROM)/xtask/Cargo.toml" --target-dir target -- update-engine "$(FROM)"
remove: ## take a part away for good, such as WHAT=rollout; docs/upgrading.md lists them
	cargo run --quiet --package xtask -- remove $(WHAT)
api: ## the engine's public API against api.txt; ACCEPT=1 writes it anew
	cargo run --quiet --locked --package xtask --features api -- api $(if $(ACCEPT),--accept)
bench: ## what the service costs against bare axum
	cargo bench --package landfall --bench against_axum
bench-overload: ## what is answered in time when too much is asked, beside bare axum
	cargo bench --package landfall --bench overload --no-run && \
	  taskset --cpu-list 1 cargo bench --package landfall --bench overload

IMAGE_ARGS = --tag $(IMAGE) --build-arg NAME=$(NAME) --build-arg SOURCE=$(SOURCE) \
	--build-arg VERSION=$$(sed -n 's/^version = "\(.*\)"/\1/p' service/Cargo.toml) \
	--build-arg REVISION=$$(git rev-parse --short=12 HEAD)

image: ## build the image
	DOCKER_BUILDKIT=1 $(DOCKER) build $(IMAGE_ARGS) .
image-run: ## run it on 8080 and 9090 of this machine
	$(DOCKER) run --rm --interactive --tty --read-only --cap-drop ALL --security-opt no-new-privileges \
	  --publish 127.0.0.1:8080:8080 --publish 127.0.0.1:9090:9090 $(IMAGE)
image-test: ## test it as people run it
	DOCKER=$(DOCKER) IMAGE=$(IMAGE) python3 image/test.py

deploy: ## apply an overlay and wait until its pods are replaced: OVERLAY=local, CONTEXT=kubectl's current one
	k8s/deploy.sh $(OVERLAY)
diff: ## what a deploy would change
	k8s/diff.sh $(OVERLAY)
status: ## pods by phase, drain reports, HPA, budgets and events on one screen
	k8s/status.sh $(OVERLAY)
undeploy: ## remove an overlay with its namespace; any but local wants CONFIRM=NAMESPACE
	k8s/undeploy.sh $(OVERLAY) "$(CONFIRM)"
rollback: ## go back to the revision before
	k8s/rollback.sh $(OVERLAY)
promote: ## blue-green: switch to the other colour
	k8s/promote.sh $(OVERLAY)
canary: ## give the canary a share of the traffic: WEIGHT=0..100
	k8s/canary.sh $(OVERLAY) "$(WEIGHT)"
clean-config: ## remove ConfigMaps that no revision needs any more
	k8s/clean-config.sh $(OVERLAY)
check-placeholders: ## names in k8s that are still to be changed, everywhere or in one OVERLAY
	k8s/check-placeholders.sh $(if $(filter-out file,$(origin OVERLAY)),$(OVERLAY))

include scripts/ci.mk
-include rollout/rollout.mk
-include examples/examples.mk
.PHONY: rules
rules: ## write the PrometheusRule from k8s/components/monitoring/rules.yaml
	cd k8s/components/monitoring && { sed '/^spec:/q' prometheusrule.yaml; sed -n '/^groups:/,$$s/^/  /p' rules.yaml; } \
	  > rules.tmp && mv rules.tmp prometheusrule.yaml

# What the service wants to be made too.
-include service/service.mk
