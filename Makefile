# make stage1 up: a stage, then what to do with it. `make` alone prints what there is.
# The comments after ## are the help. Works with GNU make 3.81, which macOS ships.

PYTHON := .venv/bin/python
# STAGES="3 4" is typed for transitions; what all others are about stands among the goals.
ONLY := $(STAGES)
override STAGES := $(filter stage%,$(MAKECMDGOALS))
RUN = $(PYTHON) -m infra.stage
# For seed and import: REPLACE=1 gives up what was written on top of a dataset.
REPLACED = $(if $(filter-out 0,$(REPLACE)),--replace)
TYPED := data infra loadtests services/conduit services/mail tests
UNITS := services/conduit/tests/unit services/mail/tests data loadtests tests/stages tests/test_docs.py

# Targets run in the order given: make -j must not start a stage before its setup.
.NOTPARALLEL:
.DEFAULT_GOAL := help

##@ Once
setup:  ## Install what is missing: Docker, Compose, base image, .venv, secrets
	@bash infra/setup/setup.sh
doctor: venv  ## Check this machine (Docker, memory, disk, ports) and name remedies
	@$(RUN) doctor
box: venv  ## Show the size of the boxes, or set it for all stages: CPU=0.125, PERIOD=10 (ms), CORES=2
	@$(RUN) box $(if $(CPU),--cpu '$(CPU)') $(if $(PERIOD),--period '$(PERIOD)') $(if $(CORES),--cores '$(CORES)')

##@ A stage: make stage1 VERB, make stage2 VERB
up: venv  ## Build, start, wait until healthy, print the URLs: APPS=4, WORKERS=3 for more boxes
	@$(RUN) up $(STAGES)$(if $(APPS), --apps '$(APPS)')
down: venv  ## Stop; the data stays, unless VOLUMES=1
	@$(RUN) down $(STAGES) $(if $(filter-out 0,$(VOLUMES)),--volumes)
status: venv  ## Boxes, their health, CPU and memory
	@$(RUN) status $(STAGES)
logs: venv  ## Follow the logs
	@$(RUN) logs $(STAGES)
seed: venv  ## Load the dataset: SIZE=small, medium or large
	@$(RUN) seed $(STAGES) $(if $(SIZE),--size '$(SIZE)') $(REPLACED)
load: venv  ## Open Locust's web UI: MIX=browse, pages and others
	@$(RUN) load $(STAGES) $(if $(MIX),--mix '$(MIX)')
ceiling: venv  ## Find the highest rate that holds the SLO: MIX=browse, QUICK=1, STRANGERS=1
	@$(RUN) ceiling $(STAGES) $(if $(MIX),--mix '$(MIX)') $(if $(filter-out 0,$(QUICK)),--quick) $(if $(filter-out 0,$(STRANGERS)),--strangers)
shares: venv  ## The CPU shares of static files, covers and background tasks: MIX=pages or publish
	@$(RUN) shares $(STAGES) $(if $(MIX),--mix '$(MIX)') $(if $(RATE),--rate '$(RATE)') $(if $(filter-out 0,$(QUICK)),--quick)
experiment: venv  ## Break something under load: WHAT=stampede, kill, restart, cache, queue or publishing, QUICK=1
	@$(RUN) experiment $(STAGES) --what '$(WHAT)' $(if $(RATE),--rate '$(RATE)') $(if $(filter-out 0,$(QUICK)),--quick)
check: venv  ## Faults under writers and readers: what was lost, doubled, stale: FAULT=kill-app, QUICK=1
	@$(RUN) check $(STAGES) $(if $(FAULT),--fault '$(FAULT)') $(if $(filter-out 0,$(QUICK)),--quick)
import: venv  ## Copy another stage's data: FROM=stage1
	@$(RUN) import $(STAGES) $(if $(FROM),--from '$(FROM)') $(REPLACED)
nginx: venv  ## Show the configuration of its load balancer and its other NGINX boxes
	@$(RUN) nginx $(STAGES)
rolling-restart: venv  ## Restart its apps one by one, without a failed request
	@$(RUN) rolling-restart $(STAGES)
queue: venv  ## Show its waiting and dead tasks; RETRY=all or RETRY=<key> requeues dead ones
	@$(RUN) queue $(STAGES) $(if $(RETRY),--retry '$(RETRY)')
failover: venv  ## Kill a shard's primary, and have its replica take over: SHARD=shard1
	@$(RUN) failover $(STAGES) $(if $(SHARD),--shard '$(SHARD)')
switchover: venv  ## Have a shard's replica take over in good order: SHARD=shard1
	@$(RUN) switchover $(STAGES) $(if $(SHARD),--shard '$(SHARD)')
diff: venv  ## Show what changed since the stage before
	@$(RUN) diff $(STAGES)

##@ Figures
compare: venv  ## Compare two ceilings: A=stage1 B=stage2, MIX=pages; MEASURE=1 measures them now, in turn
	@$(RUN) compare $(if $(A),--a '$(A)') $(if $(B),--b '$(B)') $(if $(filter-out 0,$(MEASURE)),--measure \
	  $(if $(MIX),--mix '$(MIX)') $(if $(filter-out 0,$(QUICK)),--quick))
transitions: venv  ## Measure all stages in turn, 1 2 3 4 5 5 4 3 2 1, and what each step gives: MIX=pages, STAGES="3 4", QUICK=1
	@$(RUN) transitions $(if $(ONLY),--only '$(ONLY)',$(STAGES)) $(if $(MIX),--mix '$(MIX)') $(if $(filter-out 0,$(QUICK)),--quick)
bench: venv  ## Measure CPU per request: the app, an earlier commit (BEFORE=), FastAPI alone, a floor
	@$(PYTHON) -m loadtests.bench
bench-sizes: venv  ## Measure the database time of every route, SIZE=large against SIZE=small
	@PYTHONPATH=services/conduit $(PYTHON) -m loadtests.bench.sizes
bench-checks: venv  ## Measure the CPU that a stage's health checks take: make stage4 bench-checks
	@PYTHONPATH=services/conduit $(PYTHON) -m loadtests.bench.checks $(STAGES)
bench-reads: venv  ## Measure what primaries answer, alone and with their replicas: make stage5 bench-reads
	@$(PYTHON) -m loadtests.bench.reads $(STAGES)
bench-writes: venv  ## Measure what one primary writes, and two, alone and with replicas: make stage5 bench-writes
	@$(PYTHON) -m loadtests.bench.writes $(STAGES)
bench-failover: venv  ## Measure for how long a shard takes no writes while its primary changes: make stage5 bench-failover
	@$(PYTHON) -m loadtests.bench.failover $(STAGES)
bench-box: venv  ## Measure boxes of other sizes, periods and cores beside a whole core, for this machine: QUICK=1, CPU=0.1875
	@$(PYTHON) -m loadtests.bench.box $(if $(filter-out 0,$(QUICK)),--quick) $(if $(CPU),--cpu '$(CPU)')

##@ Development
test: lint  ## What CI runs: lint, types, all tests except the long ones
	@$(PYTHON) -m pytest -m 'not long' --durations=40 --durations-min=1
test-unit: venv  ## Quick tests without Docker
	@$(PYTHON) -m pytest -q -m 'not docker and not stage and not realtime and not long and not slow' $(UNITS)
test-long: venv  ## Tests that take minutes
	@$(PYTHON) -m pytest -m long
mutants: venv  ## Put faults into the app, one at a time, and see whether tests find them: MODULE=ids
	@PYTHONPATH=services/conduit $(PYTHON) -m tests.mutants $(MODULE)
lint: venv  ## Run ruff and mypy
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m mypy $(TYPED)
clean:  ## Remove caches and .venv; never data, secrets or runs
	@rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
help:  ## Show this help
	@awk -f infra/stage/help.awk Makefile

# An incomplete or outdated environment would fail later with an import error.
venv:
	@$(PYTHON) -c '' 2>/dev/null || { echo 'There is no Python environment yet. Run: make setup' >&2; exit 1; }
	@[ '$(PYTHON)' != .venv/bin/python ] || cmp -s requirements/dev.txt .venv/installed-from.txt || \
	  { echo 'The Python environment does not match requirements/dev.txt. Run: make setup' >&2; exit 1; }

# A stage is the object of the verbs, so as a goal it does nothing; alone, it says what can be done with it.
stage%: always
	@$(if $(filter-out stage%,$(MAKECMDGOALS)),:,$(MAKE) --no-print-directory venv && $(RUN) verbs $@)
always:

.DEFAULT:
	@echo "There is no '$@'. What there is:" >&2; awk -f infra/stage/help.awk Makefile >&2; exit 2

.PHONY: always venv setup doctor box up down status logs seed load ceiling shares experiment check import nginx \
  rolling-restart queue failover switchover diff compare transitions bench bench-sizes bench-checks bench-reads bench-writes bench-failover bench-box test test-unit test-long \
  mutants lint clean help
