// Command deputy is an identity and access platform for AI agents and the
// tools, APIs and people behind them: one binary that serves, shows what it
// does, measures itself and tends its own data. Each subcommand is one file.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"deputy/internal/deputy"
	"deputy/internal/evidence"

	"github.com/spf13/cobra"
)

func main() {
	// With one processor, a goroutine that waits for the disk would hold it.
	if runtime.GOMAXPROCS(0) < 2 {
		runtime.GOMAXPROCS(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	os.Exit(run(ctx, os.Args[1:]))
}

// run executes one command line and returns its exit status: 0 done, 1 failed,
// 2 wrong usage.
func run(ctx context.Context, args []string) int {
	root := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	var said *verdict
	if errors.As(err, &said) {
		return said.status
	}
	var mistake *evidence.Mistake // of a file, not of ours
	if errors.As(err, &mistake) {
		fmt.Fprintln(os.Stderr, mistake)
		return 1
	}
	fmt.Fprintln(os.Stderr, "deputy:", sentence(err))
	var usage *usageError
	if errors.As(err, &usage) {
		return 2
	}
	return 1
}

// sentence returns an error on one line, with the field that it is about.
func sentence(err error) string {
	text := err.Error()
	var known *deputy.Error
	if errors.As(err, &known) && known.Field != "" {
		text = known.Field + " " + text
	}
	var parts strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case parts.Len() == 0:
		case strings.HasSuffix(parts.String(), ":"):
			parts.WriteString(" ")
		default:
			parts.WriteString("; ")
		}
		parts.WriteString(line)
	}
	return parts.String()
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "deputy",
		Short:         "Identity and access for AI agents and the tools, APIs and people behind them",
		Example:       "  deputy demo",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(newServe(), newDemo(), newOrganization(), newMigrate(), newBench(), newFloor(), newAudit(), newBackup(), newRestore(), newCatalog(), newPolicy(), newDoctor(), newUsed(), newKeys(), newVersion())
	strict(root)
	return root
}

// usageError is a command line that cannot be run.
type usageError struct{ error }

// strict makes every wrong flag and argument below c a usageError, which names
// the help that would have avoided it.
func strict(c *cobra.Command) {
	wrong := func(c *cobra.Command, err error) error {
		return &usageError{fmt.Errorf("%w; see %s --help", err, c.CommandPath())}
	}
	c.SetFlagErrorFunc(wrong)
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return wrong(c, err)
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		strict(sub)
	}
}
