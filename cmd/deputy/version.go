package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"deputy/internal/server"

	"github.com/spf13/cobra"
)

// version is set at build time: -ldflags "-X main.version=1.2.3".
var version = "dev"

func newVersion() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:     "version",
		Short:   "Print the version of the program and of its database schema",
		Example: "  deputy version --json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := struct {
				Version       string `json:"version"`
				Commit        string `json:"commit"`
				GoVersion     string `json:"go_version"`
				SchemaVersion int64  `json:"schema_version"`
			}{version, commit(), runtime.Version(), server.SchemaVersion()}
			if asJSON {
				return json.NewEncoder(os.Stdout).Encode(v)
			}
			fmt.Printf("deputy %s (commit %s, %s, schema %d)\n", v.Version, v.Commit, v.GoVersion, v.SchemaVersion)
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// commit returns the revision that the binary was built from, if it knows.
func commit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return "unknown"
}
