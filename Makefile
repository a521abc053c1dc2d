NAME := $(shell scripts/name.sh)
OVERLAY ?= local
IMAGE ?= $(NAME):local
DOCKER ?= docker
ROLLOUT_ARGS ?=

NAMESPACE = $(shell sed -n 's/^namespace: //p' k8s/overlays/$(OVERLAY)/kustomization.yaml)
WITH_TOOLS = PATH="$(CURDIR)/.tools/bin:$$PATH"

.DEFAULT_GOAL := help
.PHONY: help run test tools lint check examples rename update-engine api bench rollout rollout-compare proof libraries proxies e2e \
	image image-run image-test deploy diff undeploy rollback promote canary check-placeholders

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
run: ## serve on this machine; Ctrl-C ends it
	cargo run
test: tools ## every test, on real processes
	$(WITH_TOOLS) cargo test --workspace --locked
tools:
	@scripts/tools.sh
lint: ## format, clippy, docs, dependencies
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet
	cargo deny --workspace check bans licenses sources
check: lint test ## all that has to hold before a commit
examples: ## compile and test the recipes; fetches PostgreSQL where there is none
	cd examples && cargo fmt --all --check
	cd examples && cargo clippy --workspace --all-targets --locked --target-dir ../target/examples -- -D warnings
	cd examples && PATH="$$(../scripts/postgresql.sh):$$PATH" && \
	  cargo test --workspace --locked --target-dir ../target/examples
rename: ## give the service its name, everywhere: NAME=orders
	cargo run --quiet --package xtask -- rename "$(NAME)"
update-engine: ## take a newer engine: FROM=../landfall; docs/upgrading.md
	$(if $(FROM),,$(error FROM is missing: make update-engine FROM=../landfall))
	cargo run --quiet --locked --manifest-path "$(FROM)/xtask/Cargo.toml" --target-dir target -- update-engine "$(FROM)"
api: ## the engine's public API against api.txt; ACCEPT=1 writes it anew
	cargo run --quiet --locked --package xtask --features api -- api $(if $(ACCEPT),--accept)
bench: ## what the service costs against bare axum
	cargo bench --package landfall --bench against_axum

ROLLOUT = cargo build --quiet --release --package $(NAME) --package rollout && target/release/rollout
BINARY = --binary target/release/$(NAME)

rollout: ## replace real processes under load, with production's timings
	$(ROLLOUT) local $(BINARY) --overlay k8s/overlays/production $(ROLLOUT_ARGS)
rollout-compare: ## the same beside what people usually write
	$(ROLLOUT) local $(BINARY) --compare $(ROLLOUT_ARGS)
# Interrupted, it writes what it has, and fails.
proof: tools ## 50 replacements and a million requests under chaos, into docs/proof.html; half an hour at most
	$(ROLLOUT) local $(BINARY) --compare --modes none,flag --rollouts 5 --scale 0.1 $(ROLLOUT_ARGS) \
	  --json target/naive.json || test $$? -eq 1
	$(WITH_TOOLS) timeout --signal INT 27m target/release/rollout local $(BINARY) --overlay k8s/overlays/production \
	  --chaos --rollouts 17 --requests 1000000 $(ROLLOUT_ARGS) \
	  --beside target/naive.json --report docs/proof.html --json target/proof.json
libraries: ## the clients of rollout --library; rollout/libraries/README.md
	rollout/libraries/setup.sh
proxies: ## the proxies of rollout local --through
	rollout/proxies.sh
e2e: ## a rolling update under load on a cluster; rollout/e2e.sh says what it needs
	OVERLAY=$(OVERLAY) DOCKER=$(DOCKER) ROLLOUT_ARGS="$(ROLLOUT_ARGS)" rollout/e2e.sh

image: ## build the image
	DOCKER_BUILDKIT=1 $(DOCKER) build --tag $(IMAGE) --build-arg NAME=$(NAME) \
	  --build-arg VERSION=$$(sed -n 's/^version = "\(.*\)"/\1/p' service/Cargo.toml) \
	  --build-arg REVISION=$$(git rev-parse --short=12 HEAD) .
image-run: ## run it on 8080 and 9090 of this machine
	$(DOCKER) run --rm --interactive --tty --read-only --cap-drop ALL --security-opt no-new-privileges \
	  --publish 127.0.0.1:8080:8080 --publish 127.0.0.1:9090:9090 $(IMAGE)
image-test: ## test it as people run it
	DOCKER=$(DOCKER) IMAGE=$(IMAGE) python3 image/test.py

deploy: ## apply an overlay and wait until its pods are replaced: OVERLAY=local
	k8s/deploy.sh $(OVERLAY)
diff: ## what a deploy would change
	kubectl diff -k k8s/overlays/$(OVERLAY) || test $$? -eq 1
undeploy: ## remove an overlay with its namespace
	kubectl delete -k k8s/overlays/$(OVERLAY) --ignore-not-found
rollback: ## go back to the revision before
	kubectl -n $(NAMESPACE) rollout undo deployment/$(NAME)
	kubectl -n $(NAMESPACE) rollout status deployment/$(NAME) --timeout=15m
promote: ## blue-green: switch to the other colour
	k8s/promote.sh $(OVERLAY)
canary: ## give the canary a share of the traffic: WEIGHT=0..100
	k8s/canary.sh $(OVERLAY) "$(WEIGHT)"
check-placeholders: ## names in k8s that are still to be changed
	k8s/check-placeholders.sh

# What the service wants to be made too.
-include service/service.mk
