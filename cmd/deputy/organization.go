package main

import (
	"encoding/json"
	"os"

	"deputy/internal/server"

	"github.com/spf13/cobra"
)

func newOrganization() *cobra.Command {
	c := &cobra.Command{
		Use:     "organization",
		Short:   "Make organizations",
		Example: "  deputy organization create Acme",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	create := &cobra.Command{
		Use:     "create NAME",
		Short:   "Make an organization with its first service account, and print the account as JSON",
		Long:    "Make an organization with its first service account, and print the account as\nJSON: the only time that its secret can be seen. The command works on the\ndatabase itself, beside a running server or without one.",
		Example: "  deputy organization create Acme > acme.json",
		Args:    cobra.ExactArgs(1),
	}
	config := settings(create)
	create.RunE = func(c *cobra.Command, args []string) error {
		cfg, err := config()
		if err != nil {
			return err
		}
		made, err := server.CreateOrganization(c.Context(), cfg, args[0], os.Stderr)
		if err != nil {
			return err
		}
		out := json.NewEncoder(os.Stdout)
		out.SetIndent("", "  ")
		return out.Encode(made)
	}
	c.AddCommand(create)
	return c
}
