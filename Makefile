# Every command for developers and CI. `make` without a target lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-builtin-rules
.SUFFIXES:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
PY := .venv/bin/python
PIP_INSTALL := -m pip --quiet --disable-pip-version-check --no-input install
HASHED := $(PIP_INSTALL) --require-hashes

# `make lock UPGRADE=1` moves to the newest versions; without it, only what a changed pin requires moves.
UPGRADE ?=
# `make faults SEED=...`, `make soak SEED=...` and `make proof SEED=...` repeat the run that printed the seed.
SEED ?=
# End-to-end and fault tests that run in parallel: they mostly wait, so there may be more than cores.
JOBS ?= 3
MINUTES ?= 10
# `make bench ROWS="caught-up replay"` measures only these; WORKER: events of the whole worker.
ROWS ?=
WORKER ?= 60000
JSON ?=
WRITE ?=
RUNS ?= 3
EVENTS ?= 1000000
ENTRIES ?= 100000
COMPILE := .venv-lock/bin/uv pip compile --quiet --no-config --system-certs --python .venv-lock/bin/python \
	--universal --python-version 3.11 --generate-hashes --no-header --annotation-style line \
	$(if $(UPGRADE),--upgrade)

define require_python
@command -v "$(PYTHON)" >/dev/null || { \
	echo "$(PYTHON) not found: install Python 3.11 or newer, or name it: make PYTHON=python3.11" >&2; exit 1; }
@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	echo "$(PYTHON) is older than 3.11: name a newer one, for example make PYTHON=python3.11" >&2; exit 1; }
@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	echo "$(PYTHON) cannot create virtual environments: install its venv module (Debian: python3-venv)" >&2; exit 1; }
endef

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "%-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: env
env: .venv/.aot-cache .venv-ministack/.locked ## create .venv and .venv-ministack, from the locks

.PHONY: demo
demo: env ## run the service on this machine and show the result
	@$(PY) -m examples.demo

.PHONY: playground
playground: env ## run the service on this machine with a producer, until Ctrl-C, and show what to try
	@$(PY) -m examples.playground

.PHONY: screenshots
screenshots: env ## write docs/images/demo.svg, status.svg and page-*.png, from real runs (needs chromium)
	@command -v chromium >/dev/null || { echo "make $@ needs chromium on the PATH (Debian: chromium)" >&2; exit 1; }
	@$(PY) -m examples.demo_picture docs/images/demo.svg
	@$(PY) -m examples.status_picture docs/images/status.svg
	@$(PY) -m examples.page_pictures docs/images

.PHONY: fmt
fmt: env ## fix lint errors and format
	$(PY) -m ruff check --fix
	$(PY) -m ruff format

.PHONY: check
check: env .venv-deploy/.locked ## lint, format, types, architecture, deployment
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy --strict
	$(PY) -m pytest tests/unit/test_architecture.py
	.venv-deploy/bin/cfn-lint deploy/cloudformation/*.yaml
	$(PY) -m deploy.kubernetes_roles | .venv-deploy/bin/cfn-lint
	.venv-deploy/bin/hadolint Dockerfile
	.venv-deploy/bin/check-jsonschema --builtin-schema vendor.compose-spec deploy/compose.yaml
	.venv-deploy/bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yaml

.PHONY: alerts
alerts: ## check and test the Prometheus rules (needs promtool)
	@command -v promtool >/dev/null || { \
		echo "make alerts needs promtool on the PATH (Debian: prometheus)" >&2; exit 1; }
	promtool check rules deploy/prometheus/alerts.yaml
	promtool test rules deploy/prometheus/alerts_test.yaml
	promtool check config deploy/prometheus/prometheus.yaml

.PHONY: deploy-test
deploy-test: env .venv-deploy-test/.locked deploy/cdk/typescript/node_modules/.locked ## test Terraform, CDK and Helm (needs npm)
	@# cloudcoil brings a plugin of pytest that needs more packages.
	PYTHONPATH="$$(echo .venv-deploy-test/lib/python3*/site-packages)" $(PY) -m pytest -p no:cloudcoil tests/deploy

.PHONY: test
test: env ## run the tests of the parts: what to run after a change
	$(PY) -m pytest -n auto --dist worksteal tests/unit tests/property tests/contract examples

.PHONY: e2e
e2e: env ## test the real service from end to end, with what only `make env` installs
	$(PY) -m pytest -n $(JOBS) --dist worksteal tests/e2e

.PHONY: tools
tools: env ## download DynamoDB Local and kinesis-mock (needs mvn, npm, node, java)
	@for tool in mvn npm node java; do command -v "$$tool" >/dev/null || { \
		echo "make $@ needs $$tool on the PATH (Debian: maven, npm, nodejs, default-jre-headless)" >&2; exit 1; }; done
	@$(PY) tests/conformance/fetch.py dynamodb-local kinesis-mock

.PHONY: conformance
conformance: tools ## test against DynamoDB Local, kinesis-mock and Prometheus
	@for tool in prometheus promtool; do command -v "$$tool" >/dev/null || { \
		echo "make conformance needs $$tool on the PATH (Debian: prometheus)" >&2; exit 1; }; done
	$(PY) -m pytest -m conformance -n auto --dist loadfile --ignore tests/faults --ignore tests/deploy tests

.PHONY: localstack
localstack: env $(if $(AWS_ENDPOINT_URL),,.venv-localstack/.locked) ## test the service on LocalStack, started or named by AWS_ENDPOINT_URL (needs mvn, npm)
	@$(PY) tests/conformance/fetch.py dynamodb-local $(if $(AWS_ENDPOINT_URL),,localstack)
	CONSUMER_TEST_AWS=localstack $(PY) -m pytest -m localstack tests/e2e

.PHONY: page-test
page-test: env ## test the pages in a real browser (needs chromium, npm)
	@for tool in chromium npm; do command -v "$$tool" >/dev/null || { \
		echo "make $@ needs $$tool on the PATH (Debian: chromium, npm)" >&2; exit 1; }; done
	@$(PY) tests/conformance/fetch.py axe-core
	$(PY) -m pytest tests/browser

.PHONY: faults
faults: tools ## test every row of the fault table on the real daemon (SEED=... repeats a run)
	CONSUMER_TEST_SEED="$(SEED)" $(PY) -m pytest -m "conformance or not conformance" -n $(JOBS) \
		--dist loadfile --no-loadscope-reorder tests/faults

.PHONY: soak
soak: env ## run the service under load and random faults (MINUTES=10, SEED=... repeats a run)
	$(PY) -m tests.support.driven.soak --minutes "$(MINUTES)" $(if $(SEED),--seed "$(SEED)")

.PHONY: proof
proof: EVENTS := 200000
proof: tools ## show with kills, disorder and poison that verify and rebuild hold what they promise (EVENTS=200000, SEED=...)
	$(PY) -m tests.support.driven.proof --events "$(EVENTS)" $(if $(SEED),--seed "$(SEED)")

.PHONY: quarantine-load
quarantine-load: env ## measure the commands of the quarantine with many entries in S3 (ENTRIES=100000)
	$(PY) -m tests.support.driven.quarantine_load --entries "$(ENTRIES)"

.PHONY: takeovers
takeovers: env ## measure how long shards stand still after a death (RUNS=3)
	$(PY) -m tests.support.driven.takeovers --runs "$(RUNS)"

.PHONY: bench
bench: env .venv-bench/.locked ## measure the cost of an event beside what users would write (WRITE=1: write the page)
	@$(PY) -m bench $(ROWS) --worker "$(WORKER)" $(if $(JSON),--json "$(JSON)") $(if $(WRITE),--write)

.PHONY: api-load
api-load: env ## measure how many requests the HTTP API bears, beside a bare route (needs mvn; JSON=file)
	@command -v mvn >/dev/null || { echo "make $@ needs mvn on the PATH (Debian: maven)" >&2; exit 1; }
	@$(PY) tests/conformance/fetch.py dynamodb-local
	@$(PY) -m bench.api_load $(if $(JSON),--json "$(JSON)")

.PHONY: decoders
decoders: env ## compare the two decoders of events on mutated records (EVENTS=1000000, SEED=... repeats a run)
	$(PY) -m tests.support.generators.mutated --events "$(EVENTS)" $(if $(SEED),--seed "$(SEED)")

.PHONY: schema
schema: env ## write the JSON Schema of the events
	@$(PY) -m consumer.limits.schema docs/schema

.PHONY: docs
docs: env ## write the generated pages, pictures and the Grafana dashboard
	@$(PY) -m docs_generator

.PHONY: docs-site
docs-site: env .venv-docs/.locked ## build the documentation site into dist/site and check it
	.venv-docs/bin/zensical build --strict
	$(PY) -m pytest tests/site

.PHONY: package
package: env .venv-package/.locked ## write the source distribution and the wheel to dist/, check and install them
	@rm -f dist/limits_consumer-*
	SOURCE_DATE_EPOCH=315532800 .venv-package/bin/python -m build --no-isolation
	.venv-package/bin/python -m twine check --strict dist/limits_consumer-*
	$(PY) -m pytest tests/package

.PHONY: lambda-zip
lambda-zip: env ## write dist/lambda.zip (ARCH=aarch64: for arm64; RUNTIME=3.13: for another Python; ADD=folder of packages)
	@$(PY) -m deploy.lambda_zip $(if $(ARCH),--arch $(ARCH)) $(if $(RUNTIME),--python $(RUNTIME)) $(if $(ADD),--add $(ADD))

.PHONY: lambda-api-zip
lambda-api-zip: env ## write dist/limits-api.zip, the HTTP API (ARCH=aarch64, RUNTIME=3.13 as above)
	@$(PY) -m deploy.lambda_zip --api $(if $(ARCH),--arch $(ARCH)) $(if $(RUNTIME),--python $(RUNTIME))

.PHONY: image
image: env ## build the images consumer and lambda, as root (needs buildah, debootstrap; BASE=... another base image)
	@$(PY) -m deploy.image $(if $(BASE),--base $(BASE))

.PHONY: image-test
image-test: image .venv-deploy/.locked ## run the built images, as root (needs crun)
	$(PY) -m pytest tests/image

.PHONY: image-archives
image-archives: env ## export the built images to dist/, for docker load
	@$(PY) -m deploy.image --export dist

.PHONY: lock
lock: .venv-lock/.locked ## write requirements/*.txt (UPGRADE=1: newest versions)
	@echo "Locking requirements/*.txt"
	@$(COMPILE) requirements/lock.in -o requirements/lock.txt >/dev/null
	@$(COMPILE) requirements/build.in -o requirements/build.txt >/dev/null
	@$(COMPILE) requirements/ministack.in -o requirements/ministack.txt >/dev/null
	@$(COMPILE) requirements/bench.in -o requirements/bench.txt >/dev/null
	@$(COMPILE) requirements/deploy.in -o requirements/deploy.txt >/dev/null
	@$(COMPILE) requirements/deploy-test.in -c requirements/dev.txt -o requirements/deploy-test.txt >/dev/null
	@$(COMPILE) requirements/docs.in -o requirements/docs.txt >/dev/null
	@$(COMPILE) requirements/package.in -o requirements/package.txt >/dev/null
	@$(COMPILE) --emit-build-options requirements/localstack.in -o requirements/localstack.txt >/dev/null
	@$(COMPILE) pyproject.toml --extra api -o requirements/run.txt >/dev/null
	@$(COMPILE) pyproject.toml --extra api --extra dev --extra testing -c requirements/run.txt -o requirements/dev.txt >/dev/null
	@$(COMPILE) requirements/lambda.in -c requirements/run.txt -o requirements/lambda.txt >/dev/null
	@$(COMPILE) requirements/lambda-api.in -c requirements/run.txt -o requirements/lambda-api.txt >/dev/null
	@$(COMPILE) requirements/awslambdaric.in -c requirements/dev.txt -o requirements/awslambdaric.txt >/dev/null
	@$(COMPILE) requirements/examples.in -c requirements/dev.txt -o requirements/examples.txt >/dev/null

.PHONY: jars-lock
jars-lock: .venv/.project ## write the hashes of the jars of KCL and DynamoDB Local
	@$(PY) -m consumer.daemon.jars lock
	@$(PY) tests/conformance/fetch.py --lock

.PHONY: class-list
class-list: env ## write the list of the classes for the AOT cache, from a run of the service
	@$(PY) -m tests.support.driven.class_list

.PHONY: clean
clean: ## remove everything that make created
	@! grep -o "$(CURDIR)/.image/[^ ]*" /proc/mounts || \
		grep -o "$(CURDIR)/.image/[^ ]*" /proc/mounts | sort -r | xargs umount
	@rm -rf .venv .venv-* .tools .image build dist *.egg-info
	@rm -rf .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@rm -rf deploy/cdk/typescript/node_modules deploy/cdk/typescript/dist
	@find . -name __pycache__ -prune -exec rm -rf {} +

# A recipe starts from scratch and creates its stamp last, so an interrupted recipe runs again.
.venv/.locked: requirements/build.txt requirements/dev.txt
	$(require_python)
	@echo "Creating .venv: the locked Python packages and the KCL's jars (takes up to a minute)"
	@rm -rf .venv
	@"$(PYTHON)" -m venv .venv
	@$(PY) $(HASHED) --only-binary :all: -r requirements/build.txt
	@$(PY) $(HASHED) --no-build-isolation -r requirements/dev.txt
	@touch $@

.venv/.project: .venv/.locked pyproject.toml
	@PYTHONWARNINGS=ignore $(PY) $(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

# The build of amazon-kclpy downloads its jars without checking them, and pip caches the wheel it builds. If a jar does
# not match, drop the cached wheel, or the next environment would contain it again.
.venv/.verified: .venv/.project $(wildcard consumer/daemon/jars.lock)
	@$(PY) -m consumer.daemon.jars verify || { \
		$(PY) -m pip --quiet cache remove amazon_kclpy; rm -f .venv/.locked; \
		echo "The KCL's jars could not be verified. Run make env to install them again." >&2; exit 1; }
	@touch $@

.venv/.aot-cache: .venv/.verified $(addprefix consumer/daemon/,aggregator_shim.py class_files.py kcl_constants.py shim_jar.py stream_arn_shim.py aot_cache.py class_list.txt)
	@echo "Creating the AOT cache, with which the JVM starts faster (takes up to half a minute)"
	@$(PY) -m consumer.daemon.aot_cache
	@touch $@

# The other environments: one for each lock of the same name.
FOR_ministack := the AWS emulator for tests and the demo
FOR_deploy := tools that check and describe the deployment
FOR_deploy-test := Helm, the CDK and schemas, which test what wraps the templates
FOR_bench := the peers of the benchmark and its pictures
FOR_docs := the generator of the documentation site
FOR_package := the builder of the package and its check
FOR_localstack := LocalStack, without a container (takes some minutes)
FOR_lock := uv, which writes the locks
# Installed first: some of LocalStack's packages are available as sources only.
FIRST_localstack := -r requirements/build.txt
.venv-%/.locked: requirements/%.txt
	$(require_python)
	@echo "Creating .venv-$*: $(FOR_$*)"
	@rm -rf .venv-$*
	@"$(PYTHON)" -m venv .venv-$*
	@$(if $(FIRST_$*),.venv-$*/bin/python $(HASHED) --only-binary :all: $(FIRST_$*))
	@.venv-$*/bin/python $(HASHED) --only-binary :all: --no-build-isolation -r requirements/$*.txt
	@touch $@

deploy/cdk/typescript/node_modules/.locked: deploy/cdk/typescript/package-lock.json
	@command -v npm >/dev/null || { echo "make deploy-test needs npm on the PATH (Debian: npm)" >&2; exit 1; }
	@npm ci --prefix $(<D) --ignore-scripts --no-audit --no-fund --loglevel error
	@touch $@
