package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"deputy/internal/deputy"
)

// dependencyPath is the collection of an application's dependencies: edges to
// resources, shown as the resource and named by its id.
const dependencyPath = "/zones/{zone_id}/applications/{id}/dependencies"

// dependencyList is what a list of dependencies can be asked.
var dependencyList = listing{
	Expand: []string{"total_count"}, Cursor: true,
	Parameters: []parameter{{
		Name: "when_accessing", Doc: "Dependencies that count while the resource is being accessed: those without a condition and those that name it.",
	}},
}

// conditionParameter is the condition of a dependency, in the query of PUT.
var conditionParameter = parameter{
	Name: "when_accessing", Many: true,
	Doc: "Ids of resources, provided by the application, whose access makes the dependency count; always when there are none.",
}

func (a *API) mountDependencies() {
	item := dependencyPath + "/{dependency_id}"
	const tag = "Application dependencies"
	mount(a, operation{
		ID: "list-application-dependencies", Method: http.MethodGet, Path: dependencyPath, Action: "application_dependencies:list", Tag: tag,
		Summary: "List the dependencies of an application", Status: http.StatusOK, Query: dependencyList.document(),
		Doc: "A dependency says that the application may obtain access to the resource.",
	}, a.listDependencies)
	mount(a, operation{
		ID: "get-application-dependency", Method: http.MethodGet, Path: item, Action: "application_dependencies:read", Tag: tag,
		Summary: "Get one of the dependencies of an application", Status: http.StatusOK,
	}, a.getDependency)
	mount(a, operation{
		ID: "put-application-dependency", Method: http.MethodPut, Path: item, Action: "application_dependencies:put", Tag: tag,
		Summary: "Let an application depend on a resource", Doc: "A condition that was set before is replaced.",
		Status: http.StatusNoContent, Query: []*huma.Param{conditionParameter.document()},
	}, a.putDependency)
	mount(a, operation{
		ID: "delete-application-dependency", Method: http.MethodDelete, Path: item, Action: "application_dependencies:delete", Tag: tag,
		Summary: "Remove a dependency of an application", Status: http.StatusNoContent,
	}, a.deleteDependency)
}

// edges is the scope of the application's dependencies.
func edges(c *call) deputy.Scope {
	return deputy.Scope{Zone: c.zone.ID, Parent: deputy.ID(c.param("id"))}
}

func dependencyTarget(c *call) *deputy.Target {
	return &deputy.Target{Type: "application_dependency", ID: c.param("id") + "/" + c.param("dependency_id")}
}

// listDependencies lists the resources that an application may reach.
func (a *API) listDependencies(ctx context.Context, c *call, _ *empty) (*output[List[Resource]], error) {
	q, err := dependencyList.read(a, c)
	if err != nil {
		return nil, err
	}
	if err := a.applicationExists(ctx, c); err != nil {
		return nil, err
	}
	if accessing := c.query.Get("when_accessing"); accessing != "" {
		q.Where = append(q.Where, deputy.Filter{Fields: []string{"when_accessing"}, Op: deputy.Has, Values: []string{accessing}})
	}
	page, err := a.store.Dependencies().List(ctx, edges(c), q.Query)
	if err != nil {
		return nil, err
	}
	found, err := a.resourcesOf(ctx, c, page.Items)
	if err != nil {
		return nil, err
	}
	return &output[List[Resource]]{*newList(page, func(d *deputy.Dependency) Resource {
		return viewDependency(a, c, d, found[d.ResourceID])
	})}, nil
}

// resourcesOf returns the resources at the ends of edges.
func (a *API) resourcesOf(ctx context.Context, c *call, all []*deputy.Dependency) (map[deputy.ResourceID]*deputy.Resource, error) {
	found := map[deputy.ResourceID]*deputy.Resource{}
	if len(all) == 0 {
		return found, nil
	}
	ids := make([]string, 0, len(all))
	for _, d := range all {
		ids = append(ids, string(d.ResourceID))
	}
	page, err := a.store.Resources().List(ctx, deputy.Scope{Zone: c.zone.ID}, deputy.Query{
		All: true, Where: []deputy.Filter{{Fields: []string{"id"}, Values: ids}},
	})
	if err != nil {
		return nil, err
	}
	for _, r := range page.Items {
		found[r.ID] = r
	}
	return found, nil
}

// viewDependency shows the resource with the condition. A resource that was
// removed since the edges were read is shown by its id alone.
func viewDependency(a *API, c *call, d *deputy.Dependency, r *deputy.Resource) Resource {
	if r == nil {
		r = &deputy.Resource{ID: d.ResourceID, ZoneID: d.ZoneID, OrganizationID: c.zone.OrganizationID}
	}
	v := viewResource(a, c, r)
	for _, id := range d.WhenAccessing {
		v.WhenAccessing = append(v.WhenAccessing, string(id))
	}
	return v
}

func (a *API) getDependency(ctx context.Context, c *call, _ *empty) (*output[Resource], error) {
	d, err := a.store.Dependencies().Get(ctx, edges(c), deputy.ID(c.param("dependency_id")))
	if err != nil {
		return nil, missing(err, "dependency")
	}
	r, err := a.store.Resources().Get(ctx, deputy.Scope{Zone: c.zone.ID}, deputy.ID(d.ResourceID))
	if err != nil {
		return nil, missing(err, "dependency")
	}
	return &output[Resource]{viewDependency(a, c, d, r)}, nil
}

// putDependency makes an edge, or replaces the condition of one.
func (a *API) putDependency(ctx context.Context, c *call, _ *empty) (*empty, error) {
	condition, err := conditionParameter.values(c.query)
	if err != nil {
		return nil, err
	}
	edge := &deputy.Dependency{
		ZoneID: c.zone.ID, ApplicationID: deputy.ApplicationID(c.param("id")), ResourceID: deputy.ResourceID(c.param("dependency_id")), CreatedAt: c.at,
	}
	for _, id := range condition {
		edge.WhenAccessing = append(edge.WhenAccessing, deputy.ResourceID(id))
	}
	if len(condition) > 0 {
		c.changes = []string{"when_accessing"}
	}
	return nil, a.write(ctx, c, dependencyTarget(c), func(tx deputy.Tx) error {
		in := deputy.Scope{Zone: c.zone.ID}
		app, err := tx.Applications().Get(ctx, in, deputy.ID(edge.ApplicationID))
		if err != nil {
			return missing(err, "application")
		}
		if err := applications.writable(c, app); err != nil {
			return err
		}
		if _, err := tx.Resources().Get(ctx, in, deputy.ID(edge.ResourceID)); err != nil {
			return missing(err, "resource")
		}
		for i := range edge.WhenAccessing {
			if err := exists(ctx, tx.Resources(), in, "when_accessing", &edge.WhenAccessing[i]); err != nil {
				return err
			}
		}
		return tx.Dependencies().Insert(ctx, edge)
	})
}

func (a *API) deleteDependency(ctx context.Context, c *call, _ *empty) (*empty, error) {
	return nil, a.write(ctx, c, dependencyTarget(c), func(tx deputy.Tx) error {
		app, err := tx.Applications().Get(ctx, deputy.Scope{Zone: c.zone.ID}, deputy.ID(c.param("id")))
		if err != nil {
			return missing(err, "application")
		}
		if err := applications.writable(c, app); err != nil {
			return err
		}
		return missing(tx.Dependencies().Delete(ctx, edges(c), deputy.ID(c.param("dependency_id"))), "dependency")
	})
}

// listResourcesOf lists the resources that an application provides.
func (a *API) listResourcesOf(ctx context.Context, c *call, _ *empty) (*output[List[Resource]], error) {
	if err := a.applicationExists(ctx, c); err != nil {
		return nil, err
	}
	sub := resources
	sub.List, sub.Narrow = plainList, nil
	page, err := sub.page(ctx, a, c, deputy.Filter{Fields: []string{"application_id"}, Values: []string{c.param("id")}})
	if err != nil {
		return nil, err
	}
	return &output[List[Resource]]{*page}, nil
}
