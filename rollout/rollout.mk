# Load-testing a rolling update: docs/rollout.md.
.PHONY: rollout rollout-compare libraries proxies rollout-real e2e release-binaries

ROLLOUT = cargo build --quiet --release --package $(NAME) --package rollout && target/release/rollout
BINARY = --binary target/release/$(NAME)

rollout: ## replace real processes under load, with production's timings
	$(ROLLOUT) local $(BINARY) --overlay k8s/overlays/production $(ROLLOUT_ARGS)
rollout-compare: ## the same beside what people usually write
	$(ROLLOUT) local $(BINARY) --compare $(ROLLOUT_ARGS)
libraries: ## the clients of rollout --library; rollout/libraries/README.md
	rollout/libraries/setup.sh
proxies: ## the proxies of rollout local --through
	rollout/proxies.sh
rollout-real: libraries proxies ## nothing is lost by real client libraries, nor through real proxies
	cargo test --package rollout --locked --test real -- --ignored --test-threads 1
e2e: ## a rolling update under load on a cluster; rollout/e2e.sh says what it needs
	OVERLAY=$(OVERLAY) DOCKER=$(DOCKER) ROLLOUT_ARGS="$(ROLLOUT_ARGS)" rollout/e2e.sh
release-binaries: ## `rollout` for this architecture, in target/dist
	RUSTFLAGS="-C target-feature=+crt-static" \
	  cargo build --release --locked --package rollout --target $(HOST)
	mkdir -p target/dist
	tar -C target/$(HOST)/release -czf target/dist/rollout-$(HOST).tar.gz rollout

HOST = $(shell rustc -vV | sed -n 's/^host: //p')
