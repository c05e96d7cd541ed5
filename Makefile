# Everything a newcomer needs: `make demo` and `make test` do all their own set-up.
.DEFAULT_GOAL := help
.PHONY: help env demo test check packages deb deb-check sbom format lock bench-footprint bench-verbs bench-relay bench-weights clean
export AWS_EC2_METADATA_DISABLED := true

RUN := .venv/bin

help: ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

env: ## .venv with everything in it
	@sh packaging/environment.sh

demo: env ## store, coordinator and agent on this machine: load, chat, refuse, swap, drain
	@$(RUN)/poolhand dev demo

test: env ## the whole test suite
	@$(RUN)/pytest -n logical --maxprocesses=4 --dist=loadfile || { \
	echo "What failed beside other tests is tried once more, alone; this run decides."; \
	$(RUN)/pytest --last-failed; }

check: env ## lint, types, import contracts, wheel, smoke run
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/basedpyright
	$(RUN)/lint-imports
	sh packaging/scripts.sh
	sh packaging/smoke.sh

format: env ## put every file into the house's form
	$(RUN)/ruff check --fix .
	$(RUN)/ruff format .

packages: env ## wheel, source archive, bill of materials and formula in dist/
	@sh packaging/wheel.sh
	@$(RUN)/python packaging/sbom.py
	@sh packaging/homebrew/render.sh

sbom: env ## what is in it, as CycloneDX, in dist/
	@$(RUN)/python packaging/sbom.py

deb: env ## a package for this Debian in dist/, with all it needs
	@sh packaging/deb/build.sh

deb-check: env ## the same installed, crashed, upgraded and purged under a systemd of its own
	@sh packaging/deb/check.sh

lock: ## resolve the lock file anew; needs uv
	sh packaging/lock.sh

bench-relay: env ## tokens and chunks through the agent, against the same engine driven directly
	@$(RUN)/python bench/relay.py

bench-footprint: env ## memory and start-up time of the idle agent
	$(RUN)/python bench/footprint.py

bench-verbs: env ## how long the verbs take that only look
	@$(RUN)/python bench/verbs.py

bench-weights: env ## how fast weights come here, against what else is installed; needs nginx
	@$(RUN)/python bench/weights.py
	@$(RUN)/python bench/weights_lan.py

clean: ## drop what was made
	rm -rf .venv .demo dist build bench/results .pytest_cache .ruff_cache .hypothesis
