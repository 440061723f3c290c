.DEFAULT_GOAL := help
.PHONY: help try test check pure kernel lab bench demo

help:      ## this list
	@grep -hE '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

try:       ## set up, and audit this machine
	scripts/try
test:      ## set up, and pass all the tests
	scripts/test
check:     ## lint, format, types, import contracts
	FAST=1 scripts/test check
pure:      ## tests that need no root
	FAST=1 scripts/test pure
kernel:    ## tests against the kernel
	FAST=1 scripts/test kernel
lab:       ## tests against real systems
	FAST=1 scripts/test lab
bench:     ## ratios against ss, netstat, lsof and psutil
	.venv/bin/python benchmarks/busy_host.py --check && .venv/bin/python benchmarks/repeated_look.py --check
demo:      ## stage a conflict and show it
	scripts/try demo
