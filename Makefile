# `make demo` shows what the project does, `make test` checks it; both set up .venv first.
# PYTHON chooses the interpreter (3.11 to 3.13): make test PYTHON=python3.12

.DEFAULT_GOAL := help
.PHONY: help setup system libero demo test check openpi vla-eval cluster lerobot soak bench peers results settings constraints lerobot-constraints clean

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3 python; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
SYSTEM := libosmesa6 libegl1 libgl1-mesa-dri libgl1 libglib2.0-0

help:  ## This list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 28

demo: setup  ## Learn four Meta-World skills with T2S and with fine-tuning; print the table, write the report
	$(BIN)/skilltokens run demo --methods t2s sequential

# A process a core takes file after file, those with the most slow tests first (tests/conftest.py).
test: check  ## Everything that must hold: ruff, pyright, import-linter, tests
	$(BIN)/pytest -n auto --dist loadfile --no-loadscope-reorder

libero: setup  ## Set up LIBERO beside Meta-World, and prove that it works: files, a step, a frame
	$(BIN)/skilltokens doctor

check: setup  ## ruff, pyright and import-linter alone
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports

# Clients of other packages need environments of their own: openpi's wants NumPy below 2.
openpi: setup .venv-openpi/.installed  ## The real openpi client calls a served library
	$(BIN)/pytest tests/lanes/openpi

vla-eval: setup .venv-vla-eval/.installed  ## The real vla-eval runs episodes with a served library
	$(BIN)/pytest tests/lanes/vla_eval

.venv-openpi/.installed: PACKAGES = openpi-client==0.1.2 typing_extensions "numpy<2"
.venv-vla-eval/.installed: PACKAGES = vla-eval==0.8.0
.venv-openpi/.installed .venv-vla-eval/.installed:
	test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet $(PACKAGES)
	@touch $@

# Ray stands beside what .venv has, which stays as it is.
cluster: setup .venv-cluster/.installed  ## Runs on a real Ray cluster of several nodes on this machine, some of which die
	.venv-cluster/bin/python -m pytest -o filterwarnings=default tests/lanes/cluster

.venv-cluster/.installed: $(BIN)/.installed
	test -x $(@D)/bin/python || $(BIN)/python -m venv $(@D)
	$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
		> "$$($(@D)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/beside.pth"
	$(@D)/bin/python -m pip install --quiet --constraint constraints.txt "ray==2.60.0" psutil
	@touch $@

# LeRobot wants an older torch, NumPy and huggingface_hub than .venv has, and Python 3.12 or 3.13.
lerobot: system .venv-lerobot/.installed .venv-openpi/.installed  ## The real LeRobot trains on what is ours, and evaluates it
	.venv-lerobot/bin/python -m pytest -o filterwarnings=default tests/lanes/lerobot

LEROBOT_PYTHON ?= $(shell for p in python3.12 python3.13 python3 python \
	$(wildcard $(HOME)/.pyenv/versions/3.12.*/bin/python $(HOME)/.pyenv/versions/3.13.*/bin/python); do \
	$$p -c 'import sys; sys.exit(not (3, 12) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)

.venv-lerobot/.installed: pyproject.toml constraints-lerobot.txt plugins/lerobot_policy_skilltokens/pyproject.toml
	@test -n "$(LEROBOT_PYTHON)" \
		|| { echo "No Python 3.12 or 3.13 was found: say make lerobot LEROBOT_PYTHON=/path/to/python"; exit 1; }
	test -x $(@D)/bin/python || $(LEROBOT_PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --constraint constraints-lerobot.txt \
		--editable ".[metaworld,lerobot,serve,hub]" --editable plugins/lerobot_policy_skilltokens \
		"lerobot[training,evaluation,diffusion,smolvla]" pytest hypothesis
	@touch $@

soak: setup  ## The long tests: thousands of damaged files for every reader, kills at every operation, every simulated task
	$(BIN)/python -m tests.soak
	$(BIN)/pytest --all-tasks tests/suites/test_metaworld.py tests/suites/libero/test_environment.py tests/skills/test_older.py tests/methods/test_trunked.py

bench: setup  ## Measure speed against physical limits, keep it in benchmarks/RESULTS.md, name what has become slower
	$(BIN)/python -m benchmarks --keep

# make peers LIBERO_SOURCE=... TOKENFORMER_SOURCE=... clones those two from another URL or folder; the commits stay the
# pinned ones (benchmarks/peers/sources.py). What cannot be had is named and not measured.
peers: export LIBERO_SOURCE := $(LIBERO_SOURCE)
peers: export TOKENFORMER_SOURCE := $(TOKENFORMER_SOURCE)
peers: setup .venv-peers/.installed  ## Measure speed beside LIBERO's code, TokenFormer's layer, PEFT and Stable-Baselines3
	.venv-peers/bin/python -m benchmarks.peers --keep

# Peers stand beside what .venv has, torch and Stable-Baselines3 among it. robomimic comes without what it draws with,
# which would have to be compiled; LIBERO's training needs of it tensors and data sets.
.venv-peers/.installed: $(BIN)/.installed
	test -x $(@D)/bin/python || $(BIN)/python -m venv $(@D)
	$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
		> "$$($(@D)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/beside.pth"
	$(@D)/bin/python -m pip install --quiet --constraint constraints.txt "peft==0.21.2" torchvision "hydra-core==1.3.8" \
		"thop==0.1.1.post2209072238" "einops==0.8.2" "gym==0.25.2" six tensorboardX
	$(@D)/bin/python -m pip install --quiet --no-deps "robomimic==0.2.0"
	@touch $@

results: setup  ## Write RESULTS.md, its pages and pictures and README.md's figures from the runs under results/
	$(BIN)/python -m skilltokens.report.results

settings: setup  ## Write docs/settings.md, every setting, from the code
	$(BIN)/python -m skilltokens.report.reference docs/settings.md

setup: system $(BIN)/.installed  ## Make .venv with everything in it

$(BIN)/.installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "No Python 3.11 to 3.13 was found: install one, or say make PYTHON=/path/to/python"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
		|| { echo "$(PYTHON) is not Python 3.11 to 3.13: say make PYTHON=python3.12"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[metaworld,libero,reward,hub,lerobot,serve,onnx,pictures,fast,plots,dev]"
	@touch $@

# Simulators draw without a screen through these, and opencv, which LIBERO imports, loads the last two. A failure does
# not stop the rest. Newer systems call some of them NAMEt64; apt-get knows them by the old name too.
system:
	@command -v dpkg >/dev/null || exit 0; \
	missing=; for p in $(SYSTEM); do \
		dpkg -s $$p >/dev/null 2>&1 || dpkg -s $${p}t64 >/dev/null 2>&1 || missing="$$missing $$p"; done; \
	test -n "$$missing" || exit 0; \
	if [ "$$(id -u)" = 0 ]; then \
		echo "Installing$$missing"; \
		apt-get update -qq; \
		for p in $$missing; do apt-get install -y -qq --no-install-recommends $$p >/dev/null || echo "Not installed: $$p"; done; \
	else \
		echo "Videos and LIBERO need system packages that are missing here: sudo apt-get install$$missing"; \
	fi

lerobot-constraints: .venv-lerobot/.installed  ## Write constraints-lerobot.txt from .venv-lerobot
	{ sed -n '/^#/p' constraints-lerobot.txt; .venv-lerobot/bin/pip freeze --exclude-editable \
		| sed -E 's/^([^#]*==[^+]*)\+.*/\1/' | grep -vE '^(pip|setuptools)\b'; } > constraints-lerobot.txt.tmp
	mv constraints-lerobot.txt.tmp constraints-lerobot.txt

constraints: setup  ## Write constraints.txt from .venv
	{ sed -n '/^#/p' constraints.txt; { grep '^ray==' constraints.txt; $(BIN)/pip freeze --exclude-editable; } \
		| sed -E 's/^([^#]*==[^+]*)\+.*/\1/' | grep -vE '^(skilltokens|pip|setuptools)\b' | sort -f; } > constraints.txt.tmp
	mv constraints.txt.tmp constraints.txt

clean:  ## Remove .venv and every cache; runs and demonstrations stay
	rm -rf .venv .venv-* .pytest_cache .ruff_cache .import_linter_cache .grimp_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
