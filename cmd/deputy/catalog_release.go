package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"deputy/internal/client"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"
)

// fileProperty names the file that a package is released from, by which the
// next release finds it again.
const fileProperty = "urn:deputy:property:file"

func newCatalogRelease() *cobra.Command {
	k := &catalogCommand{}
	c := &cobra.Command{
		Use:   "release DIR",
		Short: "Release the packages that a folder's files describe",
		Long: "Release the packages that a folder's files describe, so that they can be kept in a git repository: each NAME.json is a\n" +
			"manifest. What is new or has changed becomes a version and is published; what is the same stays as it is.",
		Example: "  deputy catalog release ./packages --organization acme",
		Args:    cobra.ExactArgs(1),
	}
	c.Flags().StringVar(&k.organization, "organization", "", "id or label: release into the organization's catalog, for all its zones")
	k.flags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		files, err := filepath.Glob(filepath.Join(args[0], "*.json"))
		if err != nil || len(files) == 0 {
			return errors.Join(err, fmt.Errorf("there is no .json file in %s", args[0]))
		}
		manage, base, err := k.open(c.Context())
		if err != nil {
			return err
		}
		known, err := allPackages(c.Context(), manage, base, url.Values{"include_unpublished": {"true"}})
		if err != nil {
			return err
		}
		for _, file := range files {
			said, err := releaseFile(c.Context(), manage, base, known, file)
			if err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
			fmt.Fprintf(c.OutOrStdout(), "%s: %s\n", file, said)
		}
		return nil
	}
	return c
}

// releaseFile releases one file and says what came of it.
func releaseFile(ctx context.Context, manage *client.Client, base string, known []packageView, file string) (string, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	var manifest map[string]any
	if err := json.Unmarshal(raw, &manifest); err != nil {
		return "", fmt.Errorf("must be a JSON object: %w", err)
	}
	name := strings.TrimSuffix(filepath.Base(file), ".json")
	properties, _ := manifest["properties"].(map[string]any)
	if properties == nil {
		properties = map[string]any{}
	}
	properties[fileProperty] = name
	manifest["properties"] = properties
	id := ""
	for _, p := range known {
		own := p.Source.Scope == "zone" || p.Source.Scope == "org" && strings.HasPrefix(base, "/organizations/")
		if own && string(p.Properties[fileProperty]) == fmt.Sprintf("%q", name) {
			id = p.ID
		}
	}
	if id == "" {
		var p packageView
		if err := manage.Do(ctx, http.MethodPost, base+"/packages", manifest, &p); err != nil {
			return "", err
		}
		id = p.ID
	} else if err := manage.Do(ctx, http.MethodPut, base+"/packages/"+id+"/draft", manifest, nil); err != nil {
		return "", err
	}
	var v struct {
		Version int `json:"version"`
	}
	err = manage.Do(ctx, http.MethodPost, base+"/packages/"+id+"/versions", nil, &v)
	var refused *client.Error
	if errors.As(err, &refused) && refused.Status == http.StatusConflict {
		return "unchanged", manage.Do(ctx, http.MethodDelete, base+"/packages/"+id+"/draft", nil, nil)
	}
	if err != nil {
		return "", err
	}
	published := map[string]any{"published": true}
	return fmt.Sprintf("version %d", v.Version), manage.Do(ctx, http.MethodPatch, base+"/packages/"+id, published, nil)
}
