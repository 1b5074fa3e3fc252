// Package catalog knows what a package is: a recipe of some kind that an
// installer turns into providers, applications, resources and what connects
// them.
//
//	kind      a graph of entities with a schema of inputs; data, in kinds/
//	manifest  what an author writes: a kind, values for some of its inputs, a
//	          form for the rest, and what an install shows as its outputs
//	release   a manifest that passed Check; it never changes
//	install   a release and the installer's values, merged into the inputs of
//	          the kind, from which each entity of the graph is computed in turn
//
// What strangers write here are schemas and expressions, and neither is
// trusted. Schemas are a closed list of the keywords of JSON Schema 2020-12,
// checked one by one (schema.go) before the validator sees them. Expressions
// are CEL without macros that loop, bounded in text, depth, nodes and cost
// (expression.go), so that an evaluation is a pure function of its inputs that
// ends soon.
//
// The package computes; it stores nothing, asks nobody and calls nothing. Who
// may install, what already exists in a zone and how an entity is made is for
// the management API.
package catalog
