# make help lists the targets. Needs Python 3.11 to 3.13 and make; everything else goes into .venv.
PROJECT := {{*
VENV := $(CURDIR)/.venv
BUILD := $(CURDIR)/.build
STAMP := $(shell cat requirements/template.txt $(PROJECT)/requirements/*.txt $(PROJECT)/requirements/install.sh | cksum | cut -d' ' -f1)
BAKER := .venv/.baker-$(STAMP)
READY := .venv/.ready-$(STAMP)
COMPILE := "$(VENV)/bin/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command 'make requirements'
# The project as it lies here: the design rendered with the default answers, caches outside the template.
IN_PLACE := MLSD_DESIGN="$(BUILD)/design.yaml" MLSD_HOME="$(BUILD)/mlsd" PYTHONPATH=src PYTHONPYCACHEPREFIX="$(BUILD)/pycache" \
  MYPY_CACHE_DIR="$(BUILD)/mypy" RUFF_CACHE_DIR="$(BUILD)/ruff" HYPOTHESIS_STORAGE_DIRECTORY="$(BUILD)/hypothesis"
HERE := PYTHONPYCACHEPREFIX="$(BUILD)/pycache" HYPOTHESIS_STORAGE_DIRECTORY="$(BUILD)/hypothesis"
.PHONY: help demo bake test lint test-template test-in-place bench requirements down clean
export DATA

help:
	@echo 'make demo               bake the default project into .demo, install it, run its whole loop'
	@echo 'make demo DATA=folder   the same on real data, for example the MovieLens CSV files'
	@echo 'make bake               only bake it'
	@echo 'make test               lint, quick tests of the project in place, the template tests, a baked project end to end'
	@echo 'make lint               ruff and mypy, template and project'
	@echo 'make bench              serving side by side, floor to quick starts, into bench/RESULTS.md (15 min); a bake'
	@echo 'make requirements       resolve and pin every dependency again'
	@echo 'make down               stop what a demo left running'
	@echo 'make clean              stop, then delete .demo, .build and .venv'

demo: bake
	@case "$$DATA" in ''|/*) ;; *) DATA="$$PWD/$$DATA";; esac; $(MAKE) --no-print-directory -C .demo/feed-ranker demo DATA="$$DATA"

bake: $(BAKER)
	@rm -rf .demo/feed-ranker/src
	@"$(VENV)/bin/cookiecutter" . --no-input --default-config --output-dir .demo --overwrite-if-exists >/dev/null

test: lint test-in-place test-template

lint: $(READY) $(BUILD)/design.yaml
	@$(IN_PLACE) "$(VENV)/bin/ruff" check --quiet hooks tests bench
	@$(IN_PLACE) "$(VENV)/bin/ruff" format --check --quiet hooks tests bench
	@$(IN_PLACE) "$(VENV)/bin/mypy"
	@cd $(PROJECT) && $(IN_PLACE) "$(VENV)/bin/ruff" check --quiet src tests loadtests
	@cd $(PROJECT) && $(IN_PLACE) "$(VENV)/bin/ruff" format --check --quiet src tests loadtests
	@cd $(PROJECT) && $(IN_PLACE) "$(VENV)/bin/mypy"

test-in-place: $(READY) $(BUILD)/design.yaml
	@cd $(PROJECT) && $(IN_PLACE) "$(VENV)/bin/python" -m pytest -m 'not slow' -n 2 --dist loadfile -o cache_dir="$(BUILD)/pytest-project"

test-template: $(READY)
	@$(HERE) "$(VENV)/bin/python" -m pytest -n 2 --dist loadfile --ignore tests/test_end_to_end.py
	@$(HERE) "$(VENV)/bin/python" -m pytest tests/test_end_to_end.py

bench: $(READY) $(BUILD)/design.yaml
	@cd $(PROJECT) && $(IN_PLACE) PYTHONPATH="$(CURDIR)/bench:src" "$(VENV)/bin/python" "$(CURDIR)/bench/serving.py"
	@"$(VENV)/bin/python" bench/bake.py

requirements: $(BAKER)
	@cd $(PROJECT)/requirements && $(COMPILE) --upgrade bootstrap.in -o bootstrap.txt
	@cd $(PROJECT)/requirements && $(COMPILE) --upgrade dev.in -o dev.txt
	@cd $(PROJECT)/requirements && $(COMPILE) serving.in -c dev.txt -o serving.txt
	@cd $(PROJECT)/requirements && $(COMPILE) pipeline.in -c dev.txt -o pipeline.txt
	@cd $(PROJECT)/requirements && $(COMPILE) ../../requirements/template.in -c dev.txt -o ../../requirements/template.txt

down:
	@if [ -d .demo/feed-ranker ]; then $(MAKE) --no-print-directory -C .demo/feed-ranker down; fi

clean: down
	@rm -rf .demo .build .venv

$(BUILD)/design.yaml: cookiecutter.json tests/render_defaults.py $(BAKER) FORCE
	@"$(VENV)/bin/python" tests/render_defaults.py "$@"

$(BAKER):
	@sh $(PROJECT)/requirements/install.sh .venv requirements/template.txt
	@touch $@

$(READY): $(BAKER)
	@sh $(PROJECT)/requirements/install.sh .venv $(PROJECT)/requirements/dev.txt
	@touch $@

FORCE:
