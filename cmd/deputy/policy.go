package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"deputy/internal/client"
)

func newPolicy() *cobra.Command {
	c := &cobra.Command{
		Use:     "policy",
		Short:   "Keep policies in a directory, such as one of a git repository, and check what is attested of them",
		Example: "  deputy policy pull --zone 01j9z0k3v9q0m2x7b1c8d4e5f6 policies",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newPolicyPull(), newPolicyPush(), newPolicyExport(), newPolicyVerify())
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

func newPolicyExport() *cobra.Command {
	var zone, set, version string
	c := &cobra.Command{
		Use:     "export FILE",
		Short:   "Write a policy set version, with its attestation and policies, to a file that proves itself",
		Long:    "Write a policy set version to a file: the version, its attestation as it was signed,\nand the policy versions that it pins, each as the API answers it. Unless flags say\notherwise it is the version that decides.",
		Example: "  deputy policy export --zone 01j9z0k3v9q0m2x7b1c8d4e5f6 policies.json",
		Args:    cobra.ExactArgs(1),
	}
	c.Flags().StringVar(&zone, "zone", "", "id of the zone")
	c.Flags().StringVar(&set, "set", "", "id of a policy set: its active version, or where none is active the newest")
	c.Flags().StringVar(&version, "version", "", "id of a version of that policy set")
	from := remoteFlags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		switch {
		case zone == "":
			return &usageError{fmt.Errorf("--zone must say whose policies")}
		case version != "" && set == "":
			return &usageError{fmt.Errorf("--set must say whose version it is")}
		}
		account, err := from.account(from.bootstrap())
		if err != nil {
			return err
		}
		raw, err := account.Open().ExportPolicySetVersion(c.Context(), zone, set, version)
		if err != nil {
			return err
		}
		return os.WriteFile(args[0], raw, 0o644)
	}
	return c
}

func newPolicyVerify() *cobra.Command {
	var jwks, dir string
	c := &cobra.Command{
		Use:   "verify FILE",
		Short: "Check that an exported policy set version is what the zone attested, without a server",
		Long: "Check that an exported policy set version is what the zone attested: the signature by a\nkey of the zone (RS256 or EdDSA), what the statement is about, the hash of the manifest,\n" +
			"and the hash of every policy in both its forms. It exits with 0, or says what is wrong and\nexits with 1. With --dir, a directory that was pulled must hold exactly the attested policies.",
		Example: "  deputy policy verify --jwks jwks.json --dir policies policies.json",
		Args:    cobra.ExactArgs(1),
	}
	c.Flags().StringVar(&jwks, "jwks", "", "a file with the zone's JWKS document: the keys to believe")
	c.Flags().StringVar(&dir, "dir", "", "a directory that deputy policy pull wrote")
	c.RunE = func(c *cobra.Command, args []string) error {
		if jwks == "" {
			return &usageError{fmt.Errorf("--jwks must say whose keys to believe")}
		}
		v, err := client.VerifyPolicySetVersion(args[0], jwks, dir)
		if err != nil {
			return err
		}
		fmt.Fprintf(c.OutOrStdout(), "verified version %d of policy set %s in zone %s\n", v.Version, v.PolicySetID, v.ZoneID)
		fmt.Fprintf(c.OutOrStdout(), "%d policies", v.Policies)
		if v.Shown < v.Policies {
			fmt.Fprint(c.OutOrStdout(), ", which are there by their hash alone")
		}
		again := ""
		if v.ReSigned {
			again = ", again after a change of keys"
		}
		fmt.Fprintf(c.OutOrStdout(), "\nattested by %s at %s with key %s%s\n", v.By, v.At.Format(time.RFC3339), v.KeyID, again)
		return nil
	}
	return c
}
