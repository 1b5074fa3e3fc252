package api

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-json-experiment/json"

	"deputy/internal/catalog"
	"deputy/internal/deputy"
)

// entityType is how entities of one type are found and made through the API.
type entityType struct {
	// find returns the existing entity with the identity that is wanted; nil
	// when there is none.
	find   func(context.Context, *provision, *catalog.Wanted) (catalog.Values, error)
	create func(*provision, *catalog.Wanted) (method, path string, body catalog.Values)
	path   func(p *provision, w *catalog.Wanted, id string) string
}

var entityTypes = map[catalog.EntityType]entityType{
	catalog.Provider:    collection("providers"),
	catalog.Application: collection("applications"),
	catalog.Resource:    collection("resources"),
	catalog.Credential:  {find: findCredential, create: post("application-credentials"), path: below("application-credentials")},
	catalog.Secret:      {find: findSecret, create: post("secrets"), path: below("secrets")},
	catalog.Dependency: {
		find: func(ctx context.Context, p *provision, w *catalog.Wanted) (catalog.Values, error) {
			return p.look(ctx, edgePath(p, w, ""))
		},
		create: func(p *provision, w *catalog.Wanted) (string, string, catalog.Values) {
			return http.MethodPut, edgePath(p, w, ""), nil
		},
		path: edgePath,
	},
}

func (p *provision) base() string { return "/zones/" + string(p.zone.ID) }

func below(plural string) func(*provision, *catalog.Wanted, string) string {
	return func(p *provision, _ *catalog.Wanted, id string) string {
		return p.base() + "/" + plural + "/" + url.PathEscape(id)
	}
}

func post(plural string) func(*provision, *catalog.Wanted) (string, string, catalog.Values) {
	return func(p *provision, w *catalog.Wanted) (string, string, catalog.Values) {
		return http.MethodPost, p.base() + "/" + plural, w.Body
	}
}

// collection is a type whose entities are found by their identifier, type or id.
func collection(plural string) entityType {
	find := func(ctx context.Context, p *provision, w *catalog.Wanted) (catalog.Values, error) {
		key := string(w.Entity.Key)
		if w.Entity.Key == catalog.ByID {
			return p.look(ctx, below(plural)(p, w, w.Identity))
		}
		answer, err := p.d.call(ctx, p.a, http.MethodGet, p.base()+"/"+plural+"?"+url.Values{key: {w.Identity}}.Encode(), nil)
		if err != nil {
			return nil, err
		}
		items, _ := answer["items"].([]any)
		for _, item := range items { // a resource may also be found by its prefix
			if found, ok := item.(map[string]any); ok && found[key] == w.Identity {
				return found, nil
			}
		}
		return nil, nil
	}
	return entityType{find: find, create: post(plural), path: below(plural)}
}

// look returns what is at a path; nil when there is nothing.
func (p *provision) look(ctx context.Context, path string) (catalog.Values, error) {
	found, err := p.d.call(ctx, p.a, http.MethodGet, path, nil)
	if deputy.KindOf(err) == deputy.NotFound {
		return nil, nil
	}
	return found, err
}

// pair parts the identity of what connects two entities.
func pair(identity string) (first, second string) {
	first, second, _ = strings.Cut(identity, " ")
	return first, second
}

func edgePath(p *provision, w *catalog.Wanted, _ string) string {
	application, resource := pair(w.Identity)
	return below("applications")(p, w, application) + "/dependencies/" + url.PathEscape(resource)
}

// findCredential finds the credential of the application and type, and of the
// identifier if one is wanted.
func findCredential(ctx context.Context, p *provision, w *catalog.Wanted) (catalog.Values, error) {
	application, kind := pair(w.Identity)
	answer, err := p.d.call(ctx, p.a, http.MethodGet, below("applications")(p, w, application)+"/application-credentials", nil)
	if err != nil {
		return nil, err
	}
	items, _ := answer["items"].([]any)
	for _, item := range items {
		found, ok := item.(map[string]any)
		if ok && found["type"] == kind && (w.Body["identifier"] == nil || found["identifier"] == w.Body["identifier"]) {
			return found, nil
		}
	}
	return nil, nil
}

// findSecret finds the secret of the entity and type.
func findSecret(ctx context.Context, p *provision, w *catalog.Wanted) (catalog.Values, error) {
	entity, kind := pair(w.Identity)
	query := url.Values{"entity_id": {entity}, "type": {kind}}
	raw, err := p.d.raw(ctx, p.a, http.MethodGet, p.base()+"/secrets?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	var items []catalog.Values
	if err := json.Unmarshal(raw, &items); err != nil || len(items) == 0 {
		return nil, err
	}
	return items[0], nil
}
