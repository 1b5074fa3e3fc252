package api

import (
	"context"

	"deputy/internal/deputy"
	"deputy/internal/policy"
)

// PolicySchema is one dated version of the platform's Cedar schema, as clients
// of a zone see it.
type PolicySchema struct {
	Version         string  `json:"version" example:"2026-06-18"`
	Status          string  `json:"status" enum:"active,deprecated,archived" doc:"active and deprecated take new policy versions, archived does not; what is pinned to it still decides."`
	IsDefault       bool    `json:"is_default" doc:"Clients preselect it in this zone. It decides nothing."`
	CedarSchema     *string `json:"cedar_schema" doc:"Cedar schema text; null unless format=cedar."`
	CedarSchemaJSON Value   `json:"cedar_schema_json" doc:"Cedar schema JSON; null with format=cedar."`
	CreatedAt       Time    `json:"created_at"`
	UpdatedAt       Time    `json:"updated_at"`
	DeprecatedAt    *Time   `json:"deprecated_at,omitzero"`
	ArchivedAt      *Time   `json:"archived_at,omitzero"`
}

// PolicySchemaDefault makes a schema the zone's default: asking is enough.
type PolicySchemaDefault struct {
	Body Value `json:"body,omitzero" doc:"Ignored, as is any other member."`
}

// schemaFormat is which form of a schema is shown.
var schemaFormat = parameter{Name: "format", Enum: []string{"cedar", "json"}, Doc: "The form of the schema; json unless said."}

var policySchemas = Noun[deputy.PolicySchema, PolicySchema, empty, empty]{
	Name: "policy_schema", Plural: "policy_schemas", Path: "/zones/{zone_id}/policy-schemas", Key: "version", Tag: "Policy schemas", Short: true,
	About: "A policy schema says what policies may speak of. The platform publishes them; a zone has one that its clients preselect.",
	List: listing{
		Expand: []string{"total_count"}, Style: both, Ordered: true,
		Parameters: []parameter{
			schemaFormat,
			{Name: "filter[default]", Enum: truth, Doc: "Only the zone's default, or only others."},
			{Name: "is_default", Enum: truth, Deprecated: true, Doc: "Older name of filter[default]."},
		},
	},
	Headers: policyHeaders,
	Scope:   func(c *call) deputy.Scope { return deputy.Scope{Zone: c.zone.ID} }, // they are the same in every zone, cursors are not
	Reads:   func(v deputy.View) deputy.Reads[deputy.PolicySchema] { return v.PolicySchemas() },
	ID:      func(d *deputy.PolicySchema) deputy.ID { return deputy.ID(d.Version) },
	Narrow: func(_ context.Context, _ *API, c *call, q *asked) error {
		values, err := either(c, "filter[default]", "is_default")
		if err != nil || len(values) == 0 {
			return err
		}
		var versions []string
		for _, s := range policy.Schemas() {
			if (s.Version() == c.zone.PolicySchema) == (values[0] == "true") {
				versions = append(versions, s.Version())
			}
		}
		q.Where = append(q.Where, deputy.Filter{Fields: []string{"version"}, Values: versions})
		return nil
	},
	View: viewPolicySchema,
}

func (a *API) mountPolicySchemas() {
	policySchemas.mountAll(a, list)
	one := policySchemas.operation(get)
	one.Query = append(one.Query, schemaFormat.document())
	mount(a, one, a.getPolicySchema)
	o := policySchemas.operation(patch)
	o.ID, o.Summary, o.Doc = "set-default-policy-schema", "Make a policy schema the zone's default", "Nothing in the body counts. The default is what clients preselect; decisions do not depend on it."
	o.Errors = nil
	mount(a, o, a.setDefaultSchema)
}

func viewPolicySchema(_ *API, c *call, d *deputy.PolicySchema) PolicySchema {
	v := PolicySchema{
		Version: d.Version, Status: string(d.Status), IsDefault: d.Version == c.zone.PolicySchema,
		CreatedAt: Time(d.CreatedAt), UpdatedAt: Time(d.UpdatedAt), DeprecatedAt: timePointer(d.DeprecatedAt), ArchivedAt: timePointer(d.ArchivedAt),
	}
	schema, err := policy.LookupSchema(d.Version)
	if err != nil {
		return v // of a newer program on the same database
	}
	if c.query.Get("format") == "cedar" {
		v.CedarSchema = pointer(schema.Text())
	} else {
		v.CedarSchemaJSON = Value(schema.JSON())
	}
	return v
}

// getPolicySchema checks format, then is the plain read.
func (a *API) getPolicySchema(ctx context.Context, c *call, in *empty) (*output[PolicySchema], error) {
	if _, err := schemaFormat.values(c.query); err != nil {
		return nil, err
	}
	return policySchemas.get(a)(ctx, c, in)
}

// setDefaultSchema makes a schema the one that clients of the zone preselect.
func (a *API) setDefaultSchema(ctx context.Context, c *call, _ *input[PolicySchemaDefault]) (*output[PolicySchema], error) {
	version := deputy.ID(c.param("version"))
	var d *deputy.PolicySchema
	err := a.write(ctx, c, policySchemas.target(version), func(tx deputy.Tx) (err error) {
		if d, err = tx.PolicySchemas().Get(ctx, deputy.Scope{}, version); err != nil {
			return missing(err, policySchemas.Name)
		}
		if d.Status == deputy.SchemaArchived {
			return deputy.Errorf(deputy.Invalid, "the schema is archived: it cannot be the default")
		}
		_, err = tx.Zones().Update(ctx, zones.scope(c), deputy.ID(c.zone.ID), func(z *deputy.Zone) error {
			z.PolicySchema = d.Version
			return nil
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	c.zone.PolicySchema = d.Version
	return policySchemas.view(a, c, d), nil
}

// openSchema refuses to write for a schema that is closed.
func openSchema(ctx context.Context, in deputy.Reads[deputy.PolicySchema], version string) error {
	d, err := in.Get(ctx, deputy.Scope{}, deputy.ID(version))
	switch {
	case deputy.KindOf(err) == deputy.NotFound:
		return deputy.Bad("schema_version", "names no schema")
	case err != nil:
		return err
	case d.Status == deputy.SchemaArchived:
		return deputy.Bad("schema_version", "the schema is archived")
	}
	return nil
}

// schemaNamed returns the schema that a body names.
func schemaNamed(version string) (*policy.Schema, error) {
	schema, err := policy.LookupSchema(version)
	if deputy.KindOf(err) == deputy.NotFound {
		return nil, deputy.Bad("schema_version", "names no schema")
	}
	return schema, err
}
