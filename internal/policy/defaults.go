package policy

import (
	"embed"
	"strings"
)

// DefaultSetName is the name of the platform's policy set in every zone.
const DefaultSetName = "default-zone-policies"

// Managed is a policy of the platform.
type Managed struct {
	Name string // of the policy, and its @id
	Text string // Cedar, as shipped
}

//go:embed defaults/*.cedar
var defaultFiles embed.FS

// Defaults returns the platform's policies of the default set for a schema
// version, in manifest order: user grants, application delegation, direct
// access. It fails with NotFound for an unknown version. Today one text holds
// for all versions.
func Defaults(schemaVersion string) ([]Managed, error) {
	if _, err := LookupSchema(schemaVersion); err != nil {
		return nil, err
	}
	var all []Managed
	for _, name := range []string{"default-user-grants", "default-app-delegation", "default-app-direct-access"} {
		text, err := defaultFiles.ReadFile("defaults/" + name + ".cedar")
		if err != nil {
			return nil, err
		}
		all = append(all, Managed{Name: name, Text: strings.TrimSpace(string(text))})
	}
	return all, nil
}
