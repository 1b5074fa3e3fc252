package catalog_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"deputy/internal/catalog"
)

// graph is a kind of two entities, the second written first.
const graph = `{
	"title": "T", "description": "D",
	"input_schema": {"type": "object", "properties": {"name": {"type": "string"}, "many": {"type": "array"}, "on": {"type": "boolean"}}},
	"entities": [
		{"name": "resource", "type": "resource", "mode": "managed", "identity": "entities.inputs.name + \"/r\"",
		 "bindings": {"identifier": "entities.inputs.name", "application_id": "entities.app.outputs.id", "scopes": "entities.inputs.many"}},
		{"name": "app", "type": "application", "mode": "managed", "identity": "entities.inputs.name", "bindings": {"name": "entities.inputs.name"}},
		{"name": "edge", "type": "application-dependency", "mode": "managed", "each": "entities.inputs.many == null ? [] : entities.inputs.many",
		 "when": "entities.inputs.on == true", "identity": "entities.item", "bindings": {"resource_id": "entities.item"}, "depends_on": ["resource"]}
	]}`

func TestKindsAreOrdered(t *testing.T) {
	k, err := catalog.ParseKind("test", []byte(graph))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range k.Entities {
		names = append(names, e.Name)
	}
	if d := cmp.Diff([]string{"app", "resource", "edge"}, names); d != "" {
		t.Error(d)
	}
}

func TestEntitiesAreComputed(t *testing.T) {
	k, err := catalog.ParseKind("test", []byte(graph))
	if err != nil {
		t.Fatal(err)
	}
	in := catalog.Values{"name": "n", "on": true, "many": []any{"a", "b"}}
	made := map[string]catalog.Made{"app": {Outputs: catalog.Values{"id": "a1"}}, "resource": {}}
	resource, err := k.Wanted(t.Context(), k.Entities[1], catalog.Values{"name": "n"}, made)
	if err != nil {
		t.Fatal(err)
	}
	if w := resource[0]; w.Identity != "n/r" || !cmp.Equal(w.Body, catalog.Values{"identifier": "n", "application_id": "a1"}) {
		t.Errorf("resource: %q %v", w.Identity, w.Body)
	}
	edges, err := k.Wanted(t.Context(), k.Entities[2], in, made)
	if err != nil || len(edges) != 2 || edges[1].Name != "edge-2" || edges[1].Body["resource_id"] != "b" {
		t.Errorf("edges %v, %v", edges, err)
	}
	in["on"] = false
	if edges, err = k.Wanted(t.Context(), k.Entities[2], in, made); err != nil || len(edges) != 0 {
		t.Errorf("edges that are not wanted: %v, %v", edges, err)
	}
	if _, err = k.Wanted(t.Context(), k.Entities[1], catalog.Values{}, made); err == nil || !strings.Contains(err.Error(), "resource") {
		t.Errorf("no identity: %v", err)
	}
}

func TestIllFormedKindsAreRefused(t *testing.T) {
	cases := map[string]struct{ old, new, says string }{
		"cycle":               {`"identity": "entities.inputs.name", "bindings"`, `"identity": "entities.resource.outputs.id", "bindings"`, "wait for each other"},
		"cycle by link":       {`"bindings": {"name": "entities.inputs.name"}`, `"depends_on": ["edge"], "bindings": {"name": "entities.inputs.name"}`, "wait for each other"},
		"unknown entity":      {`entities.app.outputs.id`, `entities.nobody.outputs.id`, "no entity called nobody"},
		"unknown output":      {`entities.app.outputs.id`, `entities.app.outputs.secret`, "only href and outputs"},
		"unknown input":       {`"identity": "entities.inputs.name"`, `"identity": "entities.inputs.colour"`, "no input"},
		"item without each":   {`"identity": "entities.inputs.name"`, `"identity": "entities.item"`, "each"},
		"name taken":          {`"name": "app"`, `"name": "resource"`, "twice"},
		"reserved name":       {`"name": "app"`, `"name": "inputs"`, "name of its own"},
		"unknown type":        {`"type": "application",`, `"type": "toaster",`, "type of entity"},
		"unknown mode":        {`"type": "application", "mode": "managed"`, `"type": "application", "mode": "borrowed"`, "managed or reference"},
		"reference with body": {`"type": "application", "mode": "managed"`, `"type": "application", "mode": "reference"`, "belong to managed"},
		"link to nobody":      {`"depends_on": ["resource"]`, `"depends_on": ["nobody"]`, "no entity called nobody"},
		"bad schema":          {`"type": "object"`, `"type": "object", "allOf": []`, "not supported"},
		"unknown member":      {`"title": "T"`, `"colour": "T"`, "colour"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(graph, c.old, c.new, 1)
			if text == graph {
				t.Fatal("the case changes nothing")
			}
			if _, err := catalog.ParseKind("test", []byte(text)); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want something that says %q", err, c.says)
			}
		})
	}
}
