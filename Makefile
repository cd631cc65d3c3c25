# Two commands do everything on a fresh Debian or Ubuntu: `make demo` and `make test`.
# Building data sets with make is another file: vicha.mk.
BUILD ?= build
DEMO_OUT ?= demo-out
PREFIX ?= /usr/local
MESON_FLAGS ?=
RESULTS_MINUTES ?= 10
TIDY_FLAGS ?=

.PHONY: all setup test demo results install clean format check tidy

all: setup $(BUILD)/build.ninja
	@ninja -C $(BUILD) $(if $(V),-v,--quiet)

setup:
	@sh .ci/install-packages

$(BUILD)/build.ninja: | setup
	@meson setup $(BUILD) --prefix $(PREFIX) $(MESON_FLAGS) >$(BUILD).log 2>&1 || { cat $(BUILD).log; rm -f $(BUILD).log; exit 1; }
	@mv $(BUILD).log $(BUILD)/setup.log

test: all
	@meson test -C $(BUILD) --no-rebuild --print-errorlogs
	@sed -n 's/^.*SKIP: /skipped: /p' $(BUILD)/meson-logs/testlog.txt | sort -u

# Without the tests, which take longer to build than the program.
demo: setup $(BUILD)/build.ninja
	@ninja -C $(BUILD) $(if $(V),-v,--quiet) cli/vicha demo/vicha-scenes
	@sh demo/run.sh $(BUILD) $(DEMO_OUT)

# What each part of the objective does in a fixed time: 15 runs of RESULTS_MINUTES each, into docs/RESULTS.md.
results: demo
	@sh demo/results.sh $(BUILD) $(DEMO_OUT) $(RESULTS_MINUTES)

install: all
	@meson install -C $(BUILD) --no-rebuild

clean:
	@rm -rf $(BUILD) $(DEMO_OUT)

# For contributors: clang-format 14 (check, format) and clang-tidy 14 (tidy).
format:
	@git ls-files '*.c' '*.h' | xargs clang-format -i

check:
	@git ls-files '*.c' '*.h' | xargs clang-format --dry-run -Werror

tidy: all
	@git ls-files '*.c' ':!tests' | xargs -n 4 -P 2 clang-tidy --quiet $(TIDY_FLAGS) \
		--extra-arg=-Wno-unknown-warning-option -p $(BUILD)
