PYTHON ?= python3
BIN := .venv/bin
UNTRAINED := models/untrained/model.safetensors
TOOLKIT ?= https://github.com/huggingface/huggingface-inference-toolkit
KUBERAY ?= https://github.com/ray-project/kuberay
PROMETHEUS_OPERATOR ?= https://github.com/prometheus-operator/prometheus-operator
CLONE := git clone --quiet --depth 1 --filter=blob:none --sparse

.PHONY: demo test test-fast test-more style chaos bench bench-host bench-size bench-serving image image-here clean

demo: .venv/installed ## The main job on the sample corpus: real rows in, answers out
	$(BIN)/python -m pipelines.cli.commands.demo

test: style ## Everything that CI runs: style, and every test but those of test-more
	$(BIN)/python -m pytest -n 2

test-fast: .venv/installed ## The tests that start no Ray cluster: about six minutes
	$(BIN)/python -m pytest -n 2 -m 'not ray and not more'

test-more: .venv/installed-more build/azurite/installed build/tensorflow/installed build/toolkit/installed build/crds/installed ## Tests that need more packages or many minutes; about an hour
	$(BIN)/python -m pytest -m more

style: .venv/installed ## Format, lint, types, and the order of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --num-workers 2
	$(BIN)/lint-imports --no-cache

chaos: $(UNTRAINED) ## Eight kinds of faults, each at least twenty times at random moments; about an hour
	$(BIN)/python -m tests.chaos

bench: .venv/installed ## The engine and the job against the floor, loops by hand and whatever else is installed
	$(BIN)/spanmill bench

bench-host: .venv/installed ## What the engine does beside the passes: CPU time a row by function
	$(BIN)/python -m benchmarks.host

bench-size: .venv/installed ## The whole job without a model against the tokenizer alone; memory; 100,000 shards
	$(BIN)/python -m benchmarks.size
	$(BIN)/python -m benchmarks.shards

bench-serving: .venv/installed ## The service: idle, beside a job, overloaded, killed, updated
	$(BIN)/python -m benchmarks.serving

image: ## The container image and its SBOM (build/image), with docker, podman or buildah; IMAGE='--build-arg NAME=VALUE ...'
	$(PYTHON) -m infra.build_image $(IMAGE)

image-here: ## The same without a registry of images: on a Debian from this machine's apt, by mmdebstrap and buildah; wants root
	$(PYTHON) -m infra.build_image --debian --storage build/image/storage $(IMAGE)

.venv/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

.venv/installed-more: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[more]'
	touch $@

# A server that speaks Azure's protocol. Without npm, its tests say so and are skipped.
build/azurite/installed:
	mkdir -p build/azurite
	! command -v npm || npm install --silent --prefix build/azurite azurite@3.35.0
	touch $@

# TensorFlow, whose packages do not go with ours. Its version is the last one for which tests were run.
build/tensorflow/installed:
	test -x build/tensorflow/bin/python || $(PYTHON) -m venv build/tensorflow
	build/tensorflow/bin/python -m pip install --quiet --disable-pip-version-check tensorflow-cpu==2.21.0 safetensors==0.8.0
	touch $@

# What Inference Endpoints run. It is not on PyPI; where its repository cannot be cloned, its tests say so and are skipped.
# Of its packages only those that text needs.
build/toolkit/installed:
	mkdir -p build
	test -d build/toolkit-source || git clone --quiet $(TOOLKIT) build/toolkit-source || true
	! test -d build/toolkit-source || ( set -e; \
		git -C build/toolkit-source checkout --quiet 833b5a2; \
		test -x build/toolkit/bin/python || $(PYTHON) -m venv build/toolkit; \
		pip="build/toolkit/bin/python -m pip install --quiet --disable-pip-version-check"; \
		$$pip torch==2.13.0 transformers==4.51.3 huggingface_hub==0.30.2 'numpy<2' 'starlette<1' uvicorn orjson Pillow \
			'pyarrow>=18,<26' 'pydantic>=2.10,<3' safetensors; \
		$$pip --no-deps ./build/toolkit-source; \
		touch $@ )

# Schemas of what the operators add to Kubernetes. Where they cannot be cloned, the tests say so and are skipped.
build/crds/installed:
	mkdir -p build/crds
	test -d build/crds/kuberay || $(CLONE) --branch v1.7.0 $(KUBERAY) build/crds/kuberay || true
	! test -d build/crds/kuberay || git -C build/crds/kuberay sparse-checkout set ray-operator/config/crd/bases
	test -d build/crds/operator || $(CLONE) --branch v0.93.0 $(PROMETHEUS_OPERATOR) build/crds/operator || true
	! test -d build/crds/operator || git -C build/crds/operator sparse-checkout set example/prometheus-operator-crd
	! test -d build/crds/kuberay || ! test -d build/crds/operator || touch $@

$(UNTRAINED): models/make_untrained.py samples/corpus.jsonl | .venv/installed
	$(BIN)/python models/make_untrained.py

clean: ## Removes what the other targets made
	rm -rf .venv build models/untrained
