# Few verbs, each a script; nothing clever here. `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help setup demo test lint e2e bench chaos images push clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "  make %-6s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what development needs into .venv of this checkout
	scripts/setup.sh all

demo: ## see it work: three courses, a killed download, no cluster, about a minute
	scripts/demo.sh

test: ## everything: services, lint, types, all tests, the cluster's among them
	scripts/test.sh

lint: ## format, lint, types, shape of the imports
	scripts/lint.sh

e2e: ## only the tests on a real Kubernetes, which is built and started first
	scripts/e2e.sh

bench: ## the measurements of benchmarks/, about half an hour
	scripts/bench.sh

chaos: ## the long chaos: seeds printed, nothing lost, nothing twice
	scripts/chaos.sh

images: ## both images, by docker or buildah, with their size and bill of materials
	scripts/images.sh

push: ## the images to REGISTRY=…
	REGISTRY=$(REGISTRY) scripts/images.sh push

clean: ## remove what the verbs made in this checkout, downloads of packages too
	scripts/clean.sh
