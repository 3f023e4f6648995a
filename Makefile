# The two commands of the README are `make demo` and `make test`. Both work from a bare clone: each makes its own virtual
# environment, installs into it (editable, so that the checkout's folders do not shadow the compiled module) and runs.
#
#   PYTHON=python3.12   the interpreter to build environments with; another one makes them anew
#   JAX='jax==0.10.2'   an extra requirement for the installation; another one installs again
#   PYTEST_ARGS='-k relu -x'
#   TEST_JOBS=1         processes for the tests: as many as there are processors, at most 8

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help

PYTHON ?= python3.11
JAX ?=
PYTEST_ARGS ?=
CXX_FUZZ ?= clang++-16
FUZZ_SECONDS ?= 1800
JOBS ?= $(shell nproc)
TEST_JOBS ?= $(shell echo $$(($(JOBS) < 8 ? $(JOBS) : 8)))

TEST_VENV ?= .venv-test
DEMO_VENV ?= .venv-demo
# Environments made here run on CPUs: JAXSPARSE_CUDA=ON builds the CUDA module, too (a minute and more).
export JAXSPARSE_CUDA ?= OFF
# With paths relative to the checkout ccache knows what another build folder compiled: that of a second Python.
export CCACHE_BASEDIR ?= $(CURDIR)
NATIVE := pyproject.toml $(shell find xla_kernels \( -name '*.cc' -o -name '*.cu' -o -name '*.cuh' -o -name '*.h' -o -name 'CMakeLists.txt' -o -name '*.cmake' \))

.PHONY: help
help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

# ---- Environments --------------------------------------------------------------------------------------------------------
# What an environment was made with is written into it. $(call changed,VENV): FORCE where that differs from today's.
SETTINGS = PYTHON=$(PYTHON) JAX=$(JAX)
changed = $(shell [[ ! -e $(1)/.settings || "$$(cat $(1)/.settings)" == "$(SETTINGS)" ]] || echo FORCE)
.PHONY: FORCE
FORCE:

# $(call environment,VENV,EXTRAS): makes VENV once, and again for another PYTHON; installs again when native sources,
# pyproject.toml or JAX change.
define environment
if ! command -v "$(PYTHON)" >/dev/null || ! "$(PYTHON)" -c '' 2>/dev/null; then
  echo "No $(PYTHON) here. Name another interpreter (3.11 or newer): make $@ PYTHON=python3" >&2; exit 1
fi
if [[ ! -x $(1)/bin/python || ( -e $(1)/.settings && "$$(cat $(1)/.settings)" != "PYTHON=$(PYTHON) "* ) ]]; then
  "$(PYTHON)" -m venv --clear $(1) || { rm -rf $(1); echo "$(PYTHON) -m venv failed; on Debian: apt-get install python3-venv python3-dev" >&2; exit 1; }
fi
$(1)/bin/python -m pip install -qq --editable '.[$(2)]' $(if $(JAX),'$(JAX)')
echo '$(SETTINGS)' >$(1)/.settings
touch $@
endef

$(TEST_VENV)/.installed: $(NATIVE) $(call changed,$(TEST_VENV))
	@$(call environment,$(TEST_VENV),test$(,)experiments$(,)sweep$(,)mesh$(,)report$(,)browser)

$(DEMO_VENV)/.installed: $(NATIVE) $(call changed,$(DEMO_VENV))
	@$(call environment,$(DEMO_VENV),experiments)

, := ,

# The pinned linters go into the test environment: pyright has to see what the code imports.
$(TEST_VENV)/.tools: $(TEST_VENV)/.installed
	@tools='import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["dev"])'
	$(TEST_VENV)/bin/python -m pip install -qq $$($(TEST_VENV)/bin/python -c "$$tools")
	touch $@

# ---- The two commands ----------------------------------------------------------------------------------------------------
.PHONY: demo test install dev
demo: $(DEMO_VENV)/.installed ## Train OctNet3-32^3 on generated solids, end in a table
	$(DEMO_VENV)/bin/python -m experiments train configs/solids.yaml

# Most tests wait for XLA's compiler, which is one thread: one process a processor. The files stay whole: their tests
# share what they compile.
PYTEST = -m pytest -n $(TEST_JOBS) --dist loadfile

test: $(TEST_VENV)/.installed ## Run the Python tests
	$(TEST_VENV)/bin/python $(PYTEST) $(PYTEST_ARGS)

# Debian: apt-get install chromium chromium-driver
.PHONY: browser-test
browser-test: $(TEST_VENV)/.installed ## Open reports in a headless Chromium
	$(TEST_VENV)/bin/python -m pytest -m browser tests/experiments/test_report_browser.py $(PYTEST_ARGS)

install: $(TEST_VENV)/.installed ## Make the test environment, run nothing

dev: $(TEST_VENV)/.tools ## Make the test environment with the linters in it
	@echo "source $(TEST_VENV)/bin/activate"

.PHONY: peers
peers: ## Make .venv-peers with spconv and Open3D for `python -m experiments benchmark voxel` (CPU)
	"$(PYTHON)" -m venv .venv-peers
	.venv-peers/bin/python -m pip install -q torch 'spconv==2.3.8' 'cumm==0.7.11' 'open3d-cpu==0.20.0'

# ---- Checks --------------------------------------------------------------------------------------------------------------
CPP_FILES = $(shell find xla_kernels -name '*.cc' -o -name '*.cu' -o -name '*.cuh' -o -name '*.h')

.PHONY: lint format
lint: $(TEST_VENV)/.tools ## ruff, pyright, clang-format: report only
	$(TEST_VENV)/bin/ruff check .
	$(TEST_VENV)/bin/ruff format --check .
	$(TEST_VENV)/bin/clang-format --dry-run -Werror $(CPP_FILES)
	$(TEST_VENV)/bin/pyright --pythonpath $(TEST_VENV)/bin/python

format: $(TEST_VENV)/.tools ## Let ruff and clang-format rewrite the files
	$(TEST_VENV)/bin/ruff check --fix .
	$(TEST_VENV)/bin/ruff format .
	$(TEST_VENV)/bin/clang-format -i $(CPP_FILES)

# ---- C++ tests -----------------------------------------------------------------------------------------------------------
# Debian: apt-get install cmake ninja-build libgtest-dev clang-16 libclang-rt-16-dev
CTEST_CMAKE = cmake --log-level=WARNING -S xla_kernels -G Ninja -DJAXSPARSE_MODULE=OFF -DJAXSPARSE_CUDA=OFF -DJAXSPARSE_WERROR=ON
CTEST = ctest --output-on-failure -j $(JOBS)
SANITIZER_CMAKE = -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_CXX_FLAGS_RELWITHDEBINFO='-O1 -g1'
SANITIZER_ENV = ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1 UBSAN_OPTIONS=print_stacktrace=1 TSAN_OPTIONS=halt_on_error=1

.PHONY: cpp-test cpp-asan cpp-tsan fuzz fuzz-short
cpp-test: ## C++ unit tests, and the check of the instruction-set objects
	$(CTEST_CMAKE) -B build/ctests -DJAXSPARSE_TESTS=ON
	cmake --build build/ctests
	$(CTEST) --test-dir build/ctests

# Memory does not care about the type but for its size: one of four bytes that is stored as it is computed, one of two that is not.
cpp-asan: ## C++ unit tests under AddressSanitizer and UndefinedBehaviorSanitizer
	$(CTEST_CMAKE) -B build/ctests-asan -DJAXSPARSE_TESTS=ON -DJAXSPARSE_TEST_TYPES=float,F16 -DJAXSPARSE_SANITIZE=address,undefined $(SANITIZER_CMAKE)
	cmake --build build/ctests-asan
	$(SANITIZER_ENV) $(CTEST) --test-dir build/ctests-asan

# Threads do not care about the type. What is beyond 2^31 entries has shadows that no machine has the memory for.
cpp-tsan: ## C++ unit tests under ThreadSanitizer
	$(CTEST_CMAKE) -B build/ctests-tsan -DJAXSPARSE_TESTS=ON -DJAXSPARSE_TEST_TYPES=float -DJAXSPARSE_TEST_WIDE_TYPES=float -DJAXSPARSE_SANITIZE=thread $(SANITIZER_CMAKE)
	cmake --build build/ctests-tsan
	$(SANITIZER_ENV) $(CTEST) --test-dir build/ctests-tsan -E 'direct_on_|VoxelConv.LargeVolumes'

fuzz: ## libFuzzer over the kernels, FUZZ_SECONDS each (default: half an hour)
	$(CTEST_CMAKE) -B build/fuzz -DJAXSPARSE_FUZZ=ON -DJAXSPARSE_SANITIZE=address,undefined $(SANITIZER_CMAKE) -DCMAKE_CXX_COMPILER=$(CXX_FUZZ)
	cmake --build build/fuzz
	for target in build/fuzz/ctests/*_fuzz; do
	  corpus=build/fuzz/corpus-$$(basename $$target); mkdir -p $$corpus
	  $(SANITIZER_ENV) $$target -max_total_time=$(FUZZ_SECONDS) -max_len=512 -len_control=0 -timeout=20 -rss_limit_mb=4096 -print_final_stats=1 -artifact_prefix=build/fuzz/ $$corpus
	done

fuzz-short: ## The same for twenty seconds each
	$(MAKE) fuzz FUZZ_SECONDS=20

# ---- CUDA kernels --------------------------------------------------------------------------------------------------------
XLA_FFI_DIR = $$(cd / && "$(CURDIR)/$(TEST_VENV)/bin/python" -c 'from jax import ffi; print(ffi.include_dir())')
CUDA_CMAKE = cmake -S xla_kernels -G Ninja -DJAXSPARSE_MODULE=OFF -DXLA_FFI_DIR="$(XLA_FFI_DIR)"
# Tests of the CPU that run on emulated kernels, too: a quick choice.
EMULATED_TESTS := $(addprefix tests/direct/test_,relu.py convert.py global_pool.py batch_norm.py) \
  tests/direct/test_conv.py::test_conv_equals_the_oracle

# Where there is no nvcc: that of the wheels which pyproject.toml names, in an environment of its own.
NVCC_VENV := .venv-nvcc
$(NVCC_VENV)/.installed: pyproject.toml
	@"$(PYTHON)" -m venv --clear $(NVCC_VENV)
	wheels='import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["tool"]["scikit-build"]["overrides"][0]["build"]["requires"])'
	$(NVCC_VENV)/bin/python -m pip install -qq $$("$(PYTHON)" -c "$$wheels")
	touch $@

HAS_NVCC = $(shell command -v nvcc)
NVCC_CMAKE = $(if $(HAS_NVCC),-DJAXSPARSE_CUDA=ON,-DJAXSPARSE_CUDA=wheels -DPython_EXECUTABLE="$(CURDIR)/$(NVCC_VENV)/bin/python")

.PHONY: cuda-check cuda-emulation
cuda-check: $(TEST_VENV)/.installed $(if $(HAS_NVCC),,$(NVCC_VENV)/.installed) ## Compile all CUDA kernels with nvcc; registers and spills go to build/cuda-check.txt
	$(CUDA_CMAKE) -B build/cuda-check $(NVCC_CMAKE)
	cmake --build build/cuda-check --clean-first --target jaxsparse_cuda_kernels | tee build/cuda-check/log
	$(TEST_VENV)/bin/python xla_kernels/cmake/ptxas_report.py build/cuda-check/log >build/cuda-check.txt
	tail -1 build/cuda-check.txt

cuda-emulation: $(TEST_VENV)/.installed ## Run all CUDA kernels on the CPU, emulated, and compare them with the CPU's
	$(CUDA_CMAKE) -B build/cudasim -DJAXSPARSE_CUDASIM=ON -DJAXSPARSE_CUDA=OFF -DJAXSPARSE_WERROR=ON
	cmake --build build/cudasim --target jaxsparse_cudasim
	export JAXSPARSE_EMULATION="$(CURDIR)/build/cudasim/libjaxsparse_cudasim.so"
	$(TEST_VENV)/bin/python $(PYTEST) tests/cuda $(PYTEST_ARGS)
	$(TEST_VENV)/bin/python $(PYTEST) -p tests.emulated_session $(EMULATED_TESTS) $(PYTEST_ARGS)

# ---- On a GPU ------------------------------------------------------------------------------------------------------------
# With the Python that is named and what is installed in it: no environment is made, nothing is downloaded (docs/gpu-check.md).
GPU_PYTHON ?= python3
GPU_STAGES := build test sanitize bench-direct bench-block bench-voxel
GPU_ARGS ?=

.PHONY: gpu-check $(GPU_STAGES:%=gpu-check-%)
gpu-check: ## On a machine with a GPU: build, test, sanitise, benchmark; results go to $OUT or experiments/results/gpu
	$(GPU_PYTHON) -m experiments.gpu_check all $(GPU_ARGS)

$(GPU_STAGES:%=gpu-check-%): gpu-check-%:
	$(GPU_PYTHON) -m experiments.gpu_check $* $(GPU_ARGS)

# ---- The Python module under sanitizers ------------------------------------------------------------------------------------
# A second environment that borrows the packages of the test environment through a path file (path files inside a borrowed
# folder are not read, so its editable install stays out) and holds a module built with ASan and UBSan.
ASAN_VENV := .venv-asan
ASAN_ARGS ?= -m asan -p no:cacheprovider --override-ini addopts= --override-ini testpaths=tests

$(ASAN_VENV)/.installed: $(TEST_VENV)/.installed
	"$(PYTHON)" -m venv --clear $(ASAN_VENV)
	site='import sysconfig; print(sysconfig.get_path("purelib"))'
	(cd / && "$(CURDIR)/$(TEST_VENV)/bin/python" -c "$$site") >"$$($(ASAN_VENV)/bin/python -c "$$site")/borrowed.pth"
	$(ASAN_VENV)/bin/python -m pip install -qq --no-deps --editable . \
	  -C build-dir=build/asan -C cmake.build-type=RelWithDebInfo -C install.strip=false \
	  -C cmake.define.CMAKE_CXX_FLAGS_RELWITHDEBINFO='-O1 -g1' -C cmake.define.JAXSPARSE_SANITIZE=address,undefined
	touch $@

.PHONY: python-asan
python-asan: $(ASAN_VENV)/.installed ## A subset of the Python tests, the module built with ASan and UBSan
	LD_PRELOAD="$$(g++ -print-file-name=libasan.so) $$(g++ -print-file-name=libubsan.so)" \
	ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
	  $(ASAN_VENV)/bin/python $(PYTEST) $(ASAN_ARGS)

# ---- The paper's figures and tables ------------------------------------------------------------------------------------------
# DATA: the folder that holds mnist/, modelnet40/, modelnet10/ and meshes/. What is there already is not run again; each goes on where it was
# stopped. An extra environment: sweeps need Ray.
DATA ?=
FIGURES_VENV := .venv-figures
FIGURES_PYTHON ?= $(FIGURES_VENV)/bin/python
RUNNER = $(FIGURES_PYTHON) -m experiments

$(FIGURES_VENV)/.installed: $(NATIVE) $(call changed,$(FIGURES_VENV))
	@$(call environment,$(FIGURES_VENV),experiments$(,)sweep$(,)mesh$(,)report)

.PHONY: figures gpu-figures
figures: $(if $(filter $(FIGURES_VENV)/%,$(FIGURES_PYTHON)),$(FIGURES_VENV)/.installed) ## The paper's experiments that a CPU can run, DATA=DIR (a day on two cores; it can be stopped and goes on)
	[[ -n "$(DATA)" ]] || { echo "Say where the data are: make figures DATA=DIR (with mnist/, modelnet40/, modelnet10/ and meshes/ in it)" >&2; exit 2; }
	$(RUNNER) figure configs/figures/fill_in.yaml
	$(RUNNER) densities $(DATA)/meshes $(DATA)/modelnet10/off_samples
	$(RUNNER) figure configs/figures/epoch_cost.yaml data.root=$(DATA)/modelnet40
	$(RUNNER) table configs/tables/modelnet40_16.yaml data.root=$(DATA)/modelnet40
	$(RUNNER) table configs/tables/modelnet40_select.yaml data.root=$(DATA)/modelnet40
	$(RUNNER) table configs/tables/mnist.yaml data.root=$(DATA)/mnist
	$(RUNNER) sweep configs/sweeps/mnist_lambda.yaml data.root=$(DATA)/mnist
	$(RUNNER) sweep configs/sweeps/modelnet40_lambda.yaml data.root=$(DATA)/modelnet40

gpu-figures: ## Those that want a GPU, DATA=DIR FIGURES_PYTHON=python: with an environment that has jax's GPU plugin and the CUDA module
	[[ -n "$(DATA)" ]] || { echo "Say where the data are: make gpu-figures DATA=DIR (with modelnet40/ in it)" >&2; exit 2; }
	$(RUNNER) figure configs/figures/epoch_cost_gpu.yaml data.root=$(DATA)/modelnet40
	$(RUNNER) table configs/tables/modelnet40_resolutions.yaml data.root=$(DATA)/modelnet40
	$(RUNNER) table configs/tables/modelnet40_extreme.yaml data.root=$(DATA)/modelnet40
	$(RUNNER) sweep configs/sweeps/modelnet40_64_lambda.yaml data.root=$(DATA)/modelnet40

# ---- Documents ---------------------------------------------------------------------------------------------------------------
.PHONY: docs docs-check
docs: $(TEST_VENV)/.installed ## Write the generated parts of README and docs again from the result files
	$(TEST_VENV)/bin/python -m tests.argument_table >build/arguments.md
	mv build/arguments.md docs/arguments.md
	$(TEST_VENV)/bin/python -m experiments benchmark direct --report
	$(TEST_VENV)/bin/python -m experiments benchmark block --report
	$(TEST_VENV)/bin/python -m experiments benchmark live-weights --report
	$(TEST_VENV)/bin/python -m experiments benchmark voxel --report
	$(TEST_VENV)/bin/python -m experiments detector page experiments/results/kitti/detector_train.json experiments/results/kitti/detector.json --pictures docs/images/kitti_001545.png docs/images/kitti_007347.png --output docs/kitti.md
	$(TEST_VENV)/bin/python -m experiments table configs/tables/mnist.yaml --report
	$(TEST_VENV)/bin/python -m experiments table configs/tables/modelnet40_16.yaml --report
	$(TEST_VENV)/bin/python -m experiments densities --report
	$(TEST_VENV)/bin/python -m experiments retrieve --report
	$(TEST_VENV)/bin/python -m experiments.gpu_check report

docs-check: ## Fail where a generated part of README or docs is not current
	before=$$(git status --porcelain -- README.md docs; git diff -- README.md docs)
	$(MAKE) --no-print-directory docs
	after=$$(git status --porcelain -- README.md docs; git diff -- README.md docs)
	[[ "$$before" == "$$after" ]] || { git --no-pager diff -- README.md docs; echo "Generated text was not current: make docs, then commit." >&2; exit 1; }

.PHONY: clean
clean: ## Remove environments and build outputs
	rm -rf .venv-* build dist .pytest_cache .ruff_cache .hypothesis
