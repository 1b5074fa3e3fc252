package main

import (
	"os"

	"deputy/internal/server"

	"github.com/spf13/cobra"
)

func newKeys() *cobra.Command {
	c := &cobra.Command{
		Use:     "keys",
		Short:   "Replace the root key, and the keys that sign",
		Example: "  deputy keys rotate-root",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newRotateRoot(), newRotateKeys())
	return c
}

func newRotateRoot() *cobra.Command {
	c := &cobra.Command{
		Use:   "rotate-root",
		Short: "Replace the root key, while servers run",
		Long: "Put the key in ROOT_KEY_FILE.next in the place of the root key, and make one where\n" +
			"there is none. The command works on the database itself, beside running servers or\n" +
			"without one: what the former key wraps is wrapped by the next one, step by step.\n" +
			"Interrupted, it goes on from where it was when it is run again. With several\n" +
			"nodes, give all of them the file first.",
		Example: "  deputy keys rotate-root --data-dir /var/lib/deputy",
		Args:    cobra.NoArgs,
	}
	config := settings(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, err := config()
		if err != nil {
			return err
		}
		return server.RotateRootKey(c.Context(), cfg, os.Stderr, os.Stdout)
	}
	return c
}

func newRotateKeys() *cobra.Command {
	var zone string
	var discard bool
	c := &cobra.Command{
		Use:   "rotate",
		Short: "Make new signing keys for a zone, or for management tokens",
		Long: "Make new signing keys for a zone, or without --zone the one for management tokens.\n" +
			"They are published at once and sign ten minutes later; those before stay published\n" +
			"for as long as tokens of theirs are valid. If somebody else may have those, use\n" +
			"--discard: the new keys sign at once, and no token of the others is valid any more.\n" +
			"The command works on the database itself, beside running servers or without one.",
		Example: "  deputy keys rotate --zone k3v9q0m2x7b1c8d4e5f6g7h8j9",
		Args:    cobra.NoArgs,
	}
	config := settings(c)
	c.Flags().StringVar(&zone, "zone", "", "id of the zone")
	c.Flags().BoolVar(&discard, "discard", false, "withdraw the keys before, and with them all tokens that they signed")
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, err := config()
		if err != nil {
			return err
		}
		return server.RotateSigningKeys(c.Context(), cfg, zone, discard, os.Stderr, os.Stdout)
	}
	return c
}
