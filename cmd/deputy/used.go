package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"text/tabwriter"
	"time"

	"deputy/internal/client"

	"github.com/spf13/cobra"
)

// What the log calls the credentials that are kept, not signed.
const (
	usedGrant  = "delegated_grant"
	usedSecret = "secret"
)

// handed is an event of something kept that was in the server's hands.
type handed struct {
	Time    time.Time `json:"time"`
	Outcome string    `json:"outcome"`
	UserID  string    `json:"user_id"`
	Target  *struct {
		Type string `json:"type"`
		ID   string `json:"id"`
	} `json:"target"`
	Resource *struct {
		Identifier string `json:"identifier"`
	} `json:"resource"`
}

// used is a grant or a secret that was opened within a window.
type used struct {
	kind, id, user, resource string
	times                    int
	last                     time.Time
}

func newUsed() *cobra.Command {
	var zone, since, until string
	var revoke bool
	c := &cobra.Command{
		Use:   "used",
		Short: "List the grants and secrets that were opened within a time, and revoke the grants",
		Long: "List the grants of people and the secrets of the vault that were opened within a\n" +
			"time: those that somebody who was inside the server meanwhile may have seen. The\n" +
			"others were encrypted. With --revoke the grants are revoked, here and at their\n" +
			"providers; the secrets are somebody else's to replace.",
		Example: "  deputy used --zone k3v9q0m2x7b1c8d4e5f6g7h8j9 --since 2h --revoke",
		Args:    cobra.NoArgs,
	}
	c.Flags().StringVar(&zone, "zone", "", "id of the zone")
	c.Flags().StringVar(&since, "since", "1h", "a time as RFC 3339, or how long ago")
	c.Flags().StringVar(&until, "until", "", "a time as RFC 3339, or how long ago (default: now)")
	c.Flags().BoolVar(&revoke, "revoke", false, "revoke the grants")
	from := remoteFlags(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		query, err := window(since, until)
		if err != nil {
			return err
		}
		if zone == "" {
			return &usageError{errors.New("--zone must say whose")}
		}
		account, err := from.account(from.bootstrap())
		if err != nil {
			return err
		}
		manage, base := account.Open(), "/zones/"+url.PathEscape(zone)
		found, err := usedWithin(c.Context(), manage, base, query)
		if err != nil {
			return err
		}
		printUsed(c.OutOrStdout(), found)
		if !revoke {
			return nil
		}
		return revokeUsed(c.Context(), c.OutOrStdout(), manage, base, found)
	}
	return c
}

// window reads the bounds of a time.
func window(since, until string) (url.Values, error) {
	query := url.Values{"limit": {"100"}}
	for _, bound := range []struct{ name, text string }{{"since", since}, {"until", until}} {
		if bound.text == "" {
			continue
		}
		at, err := time.Parse(time.RFC3339, bound.text)
		if ago, notAgo := time.ParseDuration(bound.text); err != nil && notAgo == nil && ago >= 0 {
			at, err = time.Now().Add(-ago), nil
		}
		if err != nil {
			return nil, &usageError{fmt.Errorf("--%s must be a time such as 2026-11-01T00:00:00Z, or how long ago, such as 90m", bound.name)}
		}
		query.Set(bound.name, at.UTC().Format(time.RFC3339Nano))
	}
	return query, nil
}

// usedWithin returns what was opened, by what it is and when it last was.
func usedWithin(ctx context.Context, manage *client.Client, base string, query url.Values) ([]*used, error) {
	all := map[string]*used{}
	for e, err := range client.All[handed](ctx, manage, base+"/audit-events", query) {
		if err != nil {
			return nil, err
		}
		if e.Outcome != "success" || e.Target == nil || e.Target.Type != usedGrant && e.Target.Type != usedSecret {
			continue
		}
		u := all[e.Target.ID]
		if u == nil {
			u = &used{kind: e.Target.Type, id: e.Target.ID}
			all[u.id] = u
		}
		u.times++
		u.user = cmp.Or(u.user, e.UserID)
		if e.Resource != nil {
			u.resource = cmp.Or(u.resource, e.Resource.Identifier)
		}
		if e.Time.After(u.last) {
			u.last = e.Time
		}
	}
	return slices.SortedFunc(maps.Values(all), func(a, b *used) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), b.last.Compare(a.last), cmp.Compare(a.id, b.id))
	}), nil
}

func printUsed(w io.Writer, found []*used) {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "KIND\tID\tRESOURCE\tUSER\tTIMES\tLAST")
	for _, u := range found {
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%d\t%s\n", u.kind, u.id, cmp.Or(u.resource, "-"), cmp.Or(u.user, "-"), u.times, u.last.UTC().Format(time.RFC3339))
	}
	out.Flush()
}

// revokeUsed revokes the grants. One that is gone already is not missed; any
// other failure is told at the end, when the rest is done.
func revokeUsed(ctx context.Context, w io.Writer, manage *client.Client, base string, found []*used) error {
	revoked, secrets := 0, 0
	var failed error
	for _, u := range found {
		if u.kind == usedSecret {
			secrets++
			continue
		}
		err := manage.Do(ctx, http.MethodPatch, base+"/delegated-grants/"+url.PathEscape(u.id), map[string]string{"status": "revoked"}, nil)
		var refused *client.Error
		switch {
		case errors.As(err, &refused) && refused.Status == http.StatusNotFound:
		case err != nil:
			failed = errors.Join(failed, fmt.Errorf("%s: %w", u.id, err))
		default:
			revoked++
		}
	}
	fmt.Fprintf(w, "revoked %d grants; %d secrets have to be replaced\n", revoked, secrets)
	return failed
}
