package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"deputy/internal/client"
	"deputy/internal/demo"
	"deputy/internal/server"

	"github.com/spf13/cobra"
)

func newDemo() *cobra.Command {
	var once bool
	c := &cobra.Command{
		Use:     "demo",
		Short:   "Show the main job, end to end, on real parts",
		Long:    "Start a server with a fresh database on a free port, a protected MCP server and\nan API; show an agent getting a narrow credential, being refused by policy and\nlosing access on revocation, and a person who lets an assistant use an account\nelsewhere, and takes that back. Without --once the server stays up.",
		Example: "  deputy demo --once",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return runDemo(c.Context(), once) },
	}
	c.Flags().BoolVar(&once, "once", false, "exit after the last step, with status 0 if every step did what it says")
	return c
}

func runDemo(ctx context.Context, once bool) error {
	folder, err := os.MkdirTemp("", "deputy-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	cfg := server.Config{Listen: "127.0.0.1:0", DataDir: folder, LogLevel: "error", Dev: true}
	if err := cfg.Apply(func(string) bool { return false }, func(string) (string, bool) { return "", false }); err != nil {
		return err
	}
	s, err := server.Open(ctx, cfg, os.Stderr)
	if err != nil {
		return err
	}
	serving, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(serving, io.Discard) }()
	defer func() { stop(); <-ended }()

	account, err := client.ReadAccount(cfg.BootstrapFile())
	if err != nil {
		return err
	}
	story := &demo.Story{
		Manage: account.Open().Do, HTTP: client.Outside(10 * time.Second), Now: time.Now,
		Mailed: func(ctx context.Context, to string) (string, error) {
			return mailed(ctx, filepath.Join(folder, "outbox"), to)
		},
	}
	defer story.Close()
	narrator := demo.Narrator{Out: os.Stdout, Color: demo.WantsColor(os.Stdout, os.LookupEnv), Now: time.Now}
	ok := narrator.Tell(ctx, story.Steps())
	if !once && ctx.Err() == nil {
		fmt.Printf("the server stays up: %s/docs describes its API; its account is in %s; end with Ctrl-C\n", s.URL(), cfg.BootstrapFile())
		select {
		case <-ctx.Done():
		case err := <-ended:
			ended <- nil
			return err
		}
	}
	if !ok {
		return fmt.Errorf("the demonstration failed")
	}
	return nil
}

// codeLine is a mailed code, alone on its line.
var codeLine = regexp.MustCompile(`(?m)^([0-9]{6,})\r?$`)

// mailed waits for a mail to an address and returns the code in the newest.
func mailed(ctx context.Context, outbox, to string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		files, err := filepath.Glob(filepath.Join(outbox, "*.eml"))
		if err != nil {
			return "", err
		}
		slices.Sort(files) // their names begin with the time
		for _, name := range slices.Backward(files) {
			mail, err := os.ReadFile(name)
			if err != nil {
				return "", err
			}
			if code := codeLine.FindSubmatch(mail); code != nil && bytes.Contains(mail, []byte(to)) {
				return string(code[1]), nil
			}
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("no code was mailed to %s", to)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
