package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"

	"deputy/internal/client"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"
)

// catalogCommand is what the commands of the catalog have in common: which
// zone, or organization, of which server.
type catalogCommand struct {
	from               *remote
	zone, organization string
}

func newCatalog() *cobra.Command {
	c := &cobra.Command{
		Use:     "catalog",
		Short:   "Install integrations, and release your own",
		Example: "  deputy catalog install github --zone k3v9q0m2x7b1c8d4e5f6g7h8j9 --input client_id=Iv1.1234",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newCatalogList(), newCatalogShow(), newCatalogInstall(), newCatalogUninstall(), newCatalogRelease())
	return c
}

// flags gives a command the flags of the catalog.
func (k *catalogCommand) flags(c *cobra.Command) {
	c.Flags().StringVar(&k.zone, "zone", "", "id of the zone (default: the only one)")
	k.from = remoteFlags(c)
}

// open returns a client and the path that the catalog lies below.
func (k *catalogCommand) open(ctx context.Context) (manage *client.Client, base string, err error) {
	account, err := k.from.account(k.from.bootstrap())
	if err != nil {
		return nil, "", err
	}
	manage = account.Open()
	if k.zone == "" && k.organization != "" {
		return manage, "/organizations/" + url.PathEscape(k.organization), nil
	}
	if k.zone == "" {
		k.zone, err = onlyZone(ctx, manage)
	}
	return manage, "/zones/" + url.PathEscape(k.zone), err
}

// onlyZone returns the id of the one zone that there is.
func onlyZone(ctx context.Context, manage *client.Client) (id string, err error) {
	type zone struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	}
	var found []string
	for z, err := range client.All[zone](ctx, manage, "/zones", nil) {
		if err != nil {
			return "", err
		}
		id, found = z.ID, append(found, fmt.Sprintf("%s (%s)", z.ID, z.Name))
	}
	switch {
	case len(found) == 0:
		return "", errors.New("there is no zone yet: make one first")
	case len(found) > 1:
		return "", &usageError{fmt.Errorf("--zone must say which zone: %s", strings.Join(found[:min(len(found), 10)], ", "))}
	}
	return id, nil
}

func newCatalogList() *cobra.Command {
	k, kind := &catalogCommand{}, ""
	c := &cobra.Command{
		Use:     "list",
		Short:   "List the packages that can be installed in a zone",
		Example: "  deputy catalog list --zone k3v9q0m2x7b1c8d4e5f6g7h8j9 --kind mcp-server",
		Args:    cobra.NoArgs,
	}
	c.Flags().StringVar(&kind, "kind", "", "kinds, separated by commas")
	k.flags(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		manage, base, err := k.open(c.Context())
		if err != nil {
			return err
		}
		packages, err := allPackages(c.Context(), manage, base, url.Values{"kind": {kind}})
		if err != nil {
			return err
		}
		out := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
		for _, p := range packages {
			fmt.Fprintf(out, "%s\t%s\tv%d\t%s\t%s\n", p.Slug, p.Kind, p.CurrentVersion.Version, p.Source.Scope, p.Name)
		}
		return out.Flush()
	}
	return c
}

// packageView is what the commands need of a package.
type packageView struct {
	ID             string `json:"id"`
	Slug           string `json:"slug"`
	Kind           string `json:"kind"`
	Name           string `json:"name"`
	Description    string `json:"description"`
	CurrentVersion struct {
		Version int `json:"version"`
	} `json:"current_version"`
	Source struct {
		Scope string `json:"scope"`
	} `json:"source"`
	Inputs struct {
		Schema *inputSchema `json:"schema"`
	} `json:"inputs"`
	InputState struct {
		EffectiveSchema *inputSchema `json:"effective_schema"`
	} `json:"input_state"`
	Links      []linkView                `json:"links"`
	Properties map[string]jsontext.Value `json:"properties"`
}

type linkView struct {
	Rel  string `json:"rel"`
	Href string `json:"href"`
}

// inputSchema is what the commands need of a schema of inputs.
type inputSchema struct {
	Required   []string            `json:"required"`
	Properties map[string]question `json:"properties"`
}

// allPackages returns every package of a list, in the order of their slugs.
func allPackages(ctx context.Context, manage *client.Client, base string, query url.Values) (all []packageView, err error) {
	query.Set("limit", "100")
	for p, err := range client.All[packageView](ctx, manage, base+"/packages", query) {
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b packageView) int { return strings.Compare(a.Slug, b.Slug) })
	return all, nil
}

func newCatalogShow() *cobra.Command {
	k := &catalogCommand{}
	c := &cobra.Command{
		Use:     "show PACKAGE",
		Short:   "Show a package and what it asks for",
		Example: "  deputy catalog show github --zone k3v9q0m2x7b1c8d4e5f6g7h8j9",
		Args:    cobra.ExactArgs(1),
	}
	k.flags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		manage, base, err := k.open(c.Context())
		if err != nil {
			return err
		}
		p, err := getPackage(c.Context(), manage, base, args[0])
		if err != nil {
			return err
		}
		out := c.OutOrStdout()
		fmt.Fprintf(out, "%s (%s, %s catalog)\n", p.Name, p.Kind, p.Source.Scope)
		if p.Description != "" {
			fmt.Fprintln(out, p.Description)
		}
		fmt.Fprintf(out, "version %d\n", p.CurrentVersion.Version)
		for _, l := range p.Links {
			fmt.Fprintf(out, "%s: %s\n", l.Rel, l.Href)
		}
		fmt.Fprintln(out, "inputs:")
		table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		for _, q := range questions(p) {
			fmt.Fprintf(table, "  %s\t%s\t%s\n", q.name, q.describe(), q.Title)
		}
		return table.Flush()
	}
	return c
}

func getPackage(ctx context.Context, manage *client.Client, base, ref string) (*packageView, error) {
	p := new(packageView)
	err := manage.Do(ctx, http.MethodGet, base+"/packages/"+url.PathEscape(ref), nil, p)
	return p, err
}

// question is one input that an installer may give.
type question struct {
	name      string
	required  bool
	Type      string         `json:"type"`
	Title     string         `json:"title"`
	WriteOnly bool           `json:"writeOnly"`
	ReadOnly  bool           `json:"readOnly"`
	Default   jsontext.Value `json:"default"`
}

func (q *question) describe() string {
	words := []string{q.Type}
	if q.required {
		words = append(words, "required")
	}
	if q.WriteOnly {
		words = append(words, "secret")
	}
	if q.Default != nil {
		words = append(words, "default "+string(q.Default))
	}
	return strings.Join(words, ", ")
}

// questions returns what a package asks its installer: of its own schema, else
// of its kind's.
func questions(p *packageView) (out []question) {
	schema := p.Inputs.Schema
	if schema == nil {
		schema = p.InputState.EffectiveSchema
	}
	if schema == nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
		q := schema.Properties[name]
		q.name, q.required = name, slices.Contains(schema.Required, name)
		if q.Title == "" {
			q.Title = name
		}
		if !q.ReadOnly {
			out = append(out, q)
		}
	}
	return out
}

func newCatalogUninstall() *cobra.Command {
	k := &catalogCommand{}
	c := &cobra.Command{
		Use:     "uninstall INSTALL",
		Short:   "Remove an install and what it created",
		Long:    "Remove an install and what it created. INSTALL is its id, or the package if it is installed once.",
		Example: "  deputy catalog uninstall github --zone k3v9q0m2x7b1c8d4e5f6g7h8j9",
		Args:    cobra.ExactArgs(1),
	}
	k.flags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		manage, base, err := k.open(c.Context())
		if err != nil {
			return err
		}
		install, err := findInstall(c.Context(), manage, base, args[0])
		if err != nil {
			return err
		}
		var task taskView
		if err := manage.Do(c.Context(), http.MethodDelete, base+"/installs/"+url.PathEscape(install), nil, &task); err != nil {
			return err
		}
		return follow(c, manage, base, &task)
	}
	return c
}

// findInstall returns the id of the install that is meant: by its id, or by
// the package if there is one install of it.
func findInstall(ctx context.Context, manage *client.Client, base, ref string) (string, error) {
	type install struct {
		ID          string `json:"id"`
		PackageSlug string `json:"package_slug"`
		Status      string `json:"status"`
	}
	var refused *client.Error
	err := manage.Do(ctx, http.MethodGet, base+"/installs/"+url.PathEscape(ref), nil, nil)
	if !errors.As(err, &refused) || refused.Status != http.StatusNotFound {
		return ref, err
	}
	var found []string
	for i, err := range client.All[install](ctx, manage, base+"/installs", url.Values{"limit": {"100"}}) {
		if err != nil {
			return "", err
		}
		if i.PackageSlug == ref && i.Status != "deleted" {
			found = append(found, i.ID)
		}
	}
	switch len(found) {
	case 0:
		return "", errors.New("no such install")
	case 1:
		return found[0], nil
	}
	return "", &usageError{fmt.Errorf("%s is installed more than once: %s", ref, strings.Join(found, ", "))}
}
