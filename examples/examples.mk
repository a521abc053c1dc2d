.PHONY: examples
examples: ## compile and test the recipes; fetches PostgreSQL where there is none
	cd examples && cargo fmt --all --check
	cd examples && cargo clippy --workspace --all-targets --locked --target-dir ../target/examples -- -D warnings
	cd examples && PATH="$$(../scripts/postgresql.sh):$$PATH" && \
	  cargo test --workspace --locked --target-dir ../target/examples
