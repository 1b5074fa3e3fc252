package main

import (
	"os"

	"deputy/internal/server"

	"github.com/spf13/cobra"
)

func newServe() *cobra.Command {
	c := &cobra.Command{
		Use:     "serve",
		Short:   "Run the server; works with no setting at all",
		Example: "  deputy serve --listen 127.0.0.1:8080 --data-dir ./deputy-data",
		Args:    cobra.NoArgs,
	}
	config := settings(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, err := config()
		if err != nil {
			return err
		}
		paceCollector()
		s, err := server.Open(c.Context(), cfg, os.Stderr)
		if err != nil {
			return err
		}
		return s.Serve(c.Context(), os.Stdout)
	}
	return c
}

func newMigrate() *cobra.Command {
	c := &cobra.Command{
		Use:     "migrate",
		Short:   "Apply database migrations and exit",
		Example: "  deputy migrate --database-url postgres://deputy@db/deputy --root-key-file root.key",
		Args:    cobra.NoArgs,
	}
	config := settings(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, err := config()
		if err != nil {
			return err
		}
		return server.Migrate(c.Context(), cfg, os.Stderr, os.Stdout)
	}
	return c
}

// settings gives c a flag for every setting of the server. The function it
// returns reads them once the command line is parsed; flags win over the
// environment.
func settings(c *cobra.Command) func() (server.Config, error) {
	cfg := &server.Config{}
	for _, s := range server.Settings {
		help := s.Help + " [" + s.Env + "]"
		switch {
		case s.Flag == "":
		case s.Switch != nil:
			c.Flags().BoolVar(s.Switch(cfg), s.Flag, false, help)
		default:
			c.Flags().StringVar(s.Text(cfg), s.Flag, "", help)
			c.Flags().Lookup(s.Flag).DefValue = s.Default
		}
	}
	return func() (server.Config, error) {
		err := cfg.Apply(c.Flags().Changed, os.LookupEnv)
		if err != nil {
			return *cfg, &usageError{err}
		}
		return *cfg, nil
	}
}
