.PHONY: help check build golden

help: ## print the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

check: ## run every check: scripts/test
	scripts/test

build: ## build bin/deputy, without cgo
	CGO_ENABLED=0 go build -trimpath -o bin/deputy ./cmd/deputy

golden: ## rewrite the golden list of dependencies
	go test ./internal/archtest -run TestDependencies -update
