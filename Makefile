# make help lists the targets. Needs Python 3.11 to 3.13 and make; everything else goes into .venv.
PROJECT := {{cookiecutter.__project_slug.0}}
VENV := $(CURDIR)/.venv
BUILD := $(CURDIR)/.build
PINS := $(PROJECT)/requirements
STAMP := $(shell cat requirements/template.txt "$(PINS)"/*.txt "$(PINS)"/install.sh | cksum | cut -d' ' -f1)
BAKER := .venv/.baker-$(STAMP)
READY := .venv/.ready-$(STAMP)
COMPILE := "$(VENV)/bin/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command 'make requirements'
# Caches outside the sources; runtime and project as they lie here, with the design rendered from the default answers.
HERE := PYTHONPYCACHEPREFIX="$(BUILD)/pycache" MYPY_CACHE_DIR="$(BUILD)/mypy" RUFF_CACHE_DIR="$(BUILD)/ruff" HYPOTHESIS_STORAGE_DIRECTORY="$(BUILD)/hypothesis"
IN_PLACE := $(HERE) MLSD_DESIGN="$(BUILD)/design.yaml" MLSD_HOME="$(BUILD)/mlsd" PYTHONPATH="$(CURDIR)/runtime/src:$(CURDIR)/$(PROJECT)/src"
PYTEST := "$(VENV)/bin/python" -m pytest -n 2 --dist loadfile
.PHONY: help demo bake test lint test-runtime test-project test-template gameday bench bench-demo wheel requirements down clean
export DATA
unexport PYTHONDONTWRITEBYTECODE  # bytecode lies in .build; without any, each process of a test compiles all it imports

help:
	@echo 'make demo               bake the default project into .demo, install it, run its whole loop'
	@echo 'make demo DATA=folder   the same on real data, for example the MovieLens CSV files'
	@echo 'make bake               only bake it'
	@echo 'make test               lint, the tests of the runtime, the tests of the template with a baked project end to end'
	@echo 'make lint               ruff, mypy, the order of the rooms, the field'\''s words; runtime, project and template'
	@echo 'make test-runtime       only the tests of the runtime'
	@echo 'make test-project       only the tests that a project ships, in place'
	@echo 'make test-template      only the tests of the template'
	@echo 'make gameday            plant every fault on real processes; a table of fault, expected, seen'
	@echo 'make bench              serving side by side, floor to quick starts, into bench/RESULTS.md (15 min); a bake'
	@echo 'make bench-demo RUNS=10 the whole loop so many times beside one busy loop per core; a table of verdicts (1 h)'
	@echo 'make wheel              build the runtime as a wheel into .build/dist'
	@echo 'make requirements       pin every dependency again; UPGRADE=1 takes the newest versions'
	@echo 'make down               stop what a demo left running'
	@echo 'make clean              stop, then delete .demo, .build and .venv'

demo: bake
	@case "$$DATA" in ''|/*) ;; *) DATA="$$PWD/$$DATA";; esac; $(MAKE) --no-print-directory -C .demo/feed-ranker demo DATA="$$DATA"

bake: $(BAKER)
	@rm -rf .demo/feed-ranker/src .demo/feed-ranker/vendor
	@"$(VENV)/bin/cookiecutter" . --no-input --default-config --output-dir .demo --overwrite-if-exists >/dev/null

test: lint test-runtime test-template

lint: $(READY) $(BUILD)/design.yaml
	@$(HERE) "$(VENV)/bin/ruff" check --quiet hooks tests bench
	@$(HERE) "$(VENV)/bin/ruff" format --check --quiet hooks tests bench
	@$(HERE) "$(VENV)/bin/mypy"
	@cd runtime && $(IN_PLACE) "$(VENV)/bin/ruff" check --quiet src tests
	@cd runtime && $(IN_PLACE) "$(VENV)/bin/ruff" format --check --quiet src tests
	@cd runtime && $(IN_PLACE) "$(VENV)/bin/mypy"
	@cd runtime && $(IN_PLACE) "$(VENV)/bin/lint-imports" --no-cache --no-logo >"$(BUILD)/rooms.txt" || { cat "$(BUILD)/rooms.txt"; exit 1; }
	@cd runtime && $(HERE) PYTHONPATH=src:tests "$(VENV)/bin/python" -m support.words src
	@cd "$(PROJECT)" && $(IN_PLACE) "$(VENV)/bin/ruff" check --quiet src tests loadtests
	@cd "$(PROJECT)" && $(IN_PLACE) "$(VENV)/bin/ruff" format --check --quiet src tests loadtests
	@cd "$(PROJECT)" && $(IN_PLACE) "$(VENV)/bin/mypy"

test-runtime: $(READY) $(BUILD)/design.yaml
	@cd runtime && $(IN_PLACE) $(PYTEST) -o cache_dir="$(BUILD)/pytest-runtime"

test-project: $(READY) $(BUILD)/design.yaml
	@cd "$(PROJECT)" && $(IN_PLACE) $(PYTEST) -o cache_dir="$(BUILD)/pytest-project"

test-template: $(READY)
	@$(HERE) $(PYTEST) --ignore tests/test_end_to_end.py
	@$(HERE) "$(VENV)/bin/python" -m pytest tests/test_end_to_end.py

gameday: $(READY) $(BUILD)/design.yaml
	@cd runtime && $(IN_PLACE) "$(VENV)/bin/python" -m pytest -m fault --gameday -o cache_dir="$(BUILD)/pytest-runtime"

bench: $(READY) $(BUILD)/design.yaml
	@cd runtime && $(IN_PLACE) PYTHONPATH="$(CURDIR)/bench:$(CURDIR)/runtime/src:$(CURDIR)/$(PROJECT)/src" "$(VENV)/bin/python" "$(CURDIR)/bench/serving.py"
	@"$(VENV)/bin/python" bench/bake.py

bench-demo: $(READY)
	@"$(VENV)/bin/python" bench/demo_busy.py --runs $(or $(RUNS),10)

wheel: $(READY)
	@"$(VENV)/bin/uv" build --quiet --wheel --no-build-isolation --python "$(VENV)/bin/python" --out-dir "$(BUILD)/dist" runtime
	@ls "$(BUILD)"/dist/*.whl

requirements: $(BAKER)
	@cd "$(PINS)" && $(COMPILE) $(if $(UPGRADE),--upgrade) bootstrap.in -o bootstrap.txt
	@cd "$(PINS)" && $(COMPILE) $(if $(UPGRADE),--upgrade) ../vendor/mlsd/pyproject.toml --extra local dev.in -o dev.txt
	@cd "$(PINS)" && $(COMPILE) ../vendor/mlsd/pyproject.toml --extra serving -c dev.txt -o serving.txt
	@cd "$(PINS)" && $(COMPILE) ../vendor/mlsd/pyproject.toml --extra pipeline -c dev.txt -o pipeline.txt
	@cd "$(PINS)" && $(COMPILE) $(if $(UPGRADE),--upgrade) ../../requirements/template.in -c dev.txt -o ../../requirements/template.txt

down:
	@if [ -d .demo/feed-ranker ]; then $(MAKE) --no-print-directory -C .demo/feed-ranker down; fi

clean: down
	@rm -rf .demo .build .venv

$(BUILD)/design.yaml: cookiecutter.json tests/render_defaults.py $(BAKER) FORCE
	@"$(VENV)/bin/python" tests/render_defaults.py "$@"

$(BAKER):
	@sh "$(PINS)/install.sh" .venv requirements/template.txt
	@touch $@

$(READY): $(BAKER)
	@sh "$(PINS)/install.sh" .venv "$(PINS)/dev.txt"
	@touch $@

FORCE:
