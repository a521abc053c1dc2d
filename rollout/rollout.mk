# Load-testing a rolling update: docs/rollout.md.
.PHONY: rollout rollout-compare rollout-scale-up proof libraries proxies rollout-real e2e release-binaries

ROLLOUT = cargo build --quiet --release --package $(NAME) --package rollout && target/release/rollout
BINARY = --binary target/release/$(NAME)

rollout: ## replace real processes under load, with production's timings
	$(ROLLOUT) local $(BINARY) --overlay k8s/overlays/production $(ROLLOUT_ARGS)
rollout-compare: ## the same beside what people usually write
	$(ROLLOUT) local $(BINARY) --compare $(ROLLOUT_ARGS)
SCALE_UP = local $(BINARY) --replicas 2 --scale-up 4 --clients busy=60@100ms-300ms,h2=12@100ms-300ms --pause 10s
rollout-scale-up: ## which pods get the requests after a scale-up, without connections that age and with; docs/connections.md
	$(ROLLOUT) $(SCALE_UP) $(ROLLOUT_ARGS)
	$(ROLLOUT) $(SCALE_UP) --env APP_CONNECTION_MAX_AGE=10s $(ROLLOUT_ARGS)
# Interrupted, it writes what it has, and fails.
proof: tools ## 50 replacements and a million requests under chaos, into docs/proof.html; twenty minutes
	$(ROLLOUT) local $(BINARY) --compare --modes none,flag --rollouts 5 --scale 0.1 $(ROLLOUT_ARGS) \
	  --json target/naive.json || test $$? -eq 1
	$(WITH_TOOLS) timeout --signal INT 27m target/release/rollout local $(BINARY) --overlay k8s/overlays/production \
	  --chaos --rollouts 11 --requests 1000000 $(ROLLOUT_ARGS) \
	  --beside target/naive.json --report docs/proof.html --json target/proof.json
libraries: ## the clients of rollout --library; rollout/libraries/README.md
	rollout/libraries/setup.sh
proxies: ## the proxies of rollout local --through
	rollout/proxies.sh
rollout-real: libraries proxies ## nothing is lost by real client libraries, nor through real proxies
	cargo test --package rollout --locked --test real -- --ignored --test-threads 1
e2e: ## a rolling update under load on a cluster; rollout/e2e.sh says what it needs
	OVERLAY=$(OVERLAY) DOCKER=$(DOCKER) ROLLOUT_ARGS="$(ROLLOUT_ARGS)" INGRESS_ARGS="$(INGRESS_ARGS)" rollout/e2e.sh
release-binaries: ## `rollout` for this architecture, in target/dist
	RUSTFLAGS="-C target-feature=+crt-static" \
	  cargo build --release --locked --package rollout --target $(HOST)
	mkdir -p target/dist
	tar -C target/$(HOST)/release -czf target/dist/rollout-$(HOST).tar.gz rollout

HOST = $(shell rustc -vV | sed -n 's/^host: //p')
