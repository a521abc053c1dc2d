OVERLAY ?= local
IMAGE ?= landfall:local

NAMESPACE = $(shell sed -n 's/^namespace: //p' k8s/overlays/$(OVERLAY)/kustomization.yaml)
WITH_TOOLS = PATH="$(CURDIR)/.tools/bin:$$PATH"

.DEFAULT_GOAL := help
.PHONY: help run test tools lint bench check deploy diff undeploy rollback promote canary check-placeholders

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
run: ## serve on this machine; Ctrl-C ends it
	cargo run --quiet
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
bench: ## what the service costs against bare axum
	cargo bench --bench against_axum

deploy: ## apply an overlay and wait until its pods are replaced: OVERLAY=local
	k8s/deploy.sh $(OVERLAY)
diff: ## what a deploy would change
	kubectl diff -k k8s/overlays/$(OVERLAY) || test $$? -eq 1
undeploy: ## remove an overlay with its namespace
	kubectl delete -k k8s/overlays/$(OVERLAY) --ignore-not-found
rollback: ## go back to the revision before
	kubectl -n $(NAMESPACE) rollout undo deployment/landfall
	kubectl -n $(NAMESPACE) rollout status deployment/landfall --timeout=15m
promote: ## blue-green: switch to the other colour
	k8s/promote.sh $(OVERLAY)
canary: ## give the canary a share of the traffic: WEIGHT=0..100
	k8s/canary.sh $(OVERLAY) "$(WEIGHT)"
check-placeholders: ## names in k8s that are still to be changed
	k8s/check-placeholders.sh
