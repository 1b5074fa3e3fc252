package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

func newPolicy() *cobra.Command {
	c := &cobra.Command{
		Use:     "policy",
		Short:   "Keep policies in a directory, such as one of a git repository",
		Example: "  deputy policy pull --zone 01j9z0k3v9q0m2x7b1c8d4e5f6 policies",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newPolicyPull(), newPolicyPush())
	return c
}

// target says whose policies a command is about.
type target struct{ zone, user string }

func targetFlags(c *cobra.Command) *target {
	t := &target{}
	c.Flags().StringVar(&t.zone, "zone", "", "id of the zone")
	c.Flags().StringVar(&t.user, "user", "", "identifier of a person: the policies that their agents obey")
	return t
}

func (t *target) check() error {
	if t.zone == "" {
		return &usageError{fmt.Errorf("--zone must say whose policies")}
	}
	return nil
}

func newPolicyPull() *cobra.Command {
	c := &cobra.Command{
		Use:     "pull DIR",
		Short:   "Write the policies that decide into a directory",
		Long:    "Write the policies that decide into a directory: manifest.json, the schema, and\none file for each policy, in its normal form. Policies that no longer decide are\nremoved from it; other files stay.",
		Example: "  deputy policy pull --zone 01j9z0k3v9q0m2x7b1c8d4e5f6 policies",
		Args:    cobra.ExactArgs(1),
	}
	of, from := targetFlags(c), remoteFlags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := of.check(); err != nil {
			return err
		}
		account, err := from.account(from.bootstrap())
		if err != nil {
			return err
		}
		n, err := account.Open().PullPolicies(c.Context(), of.zone, of.user, args[0])
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "pulled %d policies\n", n)
		return nil
	}
	return c
}

func newPolicyPush() *cobra.Command {
	c := &cobra.Command{
		Use:   "push DIR",
		Short: "Make the policies in a directory those that decide",
		Long: "Make the policies in a directory those that decide, all of them or none, unless\nsomebody changed what decides since the directory was pulled. A new policy is a\nfile policies/NAME.cedar with an entry {\"new_policy\": \"NAME\"} in manifest.json;\n" +
			"one whose entry and file are removed no longer decides. Afterwards the directory\nis as pull would write it.",
		Example: "  deputy policy push --zone 01j9z0k3v9q0m2x7b1c8d4e5f6 policies",
		Args:    cobra.ExactArgs(1),
	}
	of, to := targetFlags(c), remoteFlags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := of.check(); err != nil {
			return err
		}
		account, err := to.account(to.bootstrap())
		if err != nil {
			return err
		}
		out, err := account.Open().PushPolicies(c.Context(), of.zone, of.user, args[0])
		if err != nil {
			return err
		}
		for _, m := range out.Minted {
			fmt.Fprintf(os.Stderr, "made policy %s: %s\n", m.NewPolicy, m.PolicyID)
		}
		fmt.Fprintf(os.Stderr, "version %d of policy set %s decides\n", out.Version, out.PolicySetID)
		return nil
	}
	return c
}
