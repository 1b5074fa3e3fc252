package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"deputy/internal/catalog"
	"deputy/internal/deputy"
)

// remove takes an install apart, last things first, and keeps what it did not
// create and what others need by now.
func (p *provision) remove(ctx context.Context) error {
	for _, e := range slices.Backward(slices.Clone(p.journal)) {
		kept, err := p.keep(ctx, e)
		if err != nil {
			return blameEntity(e.Name, err)
		}
		if kept != nil {
			p.warnings = append(p.warnings, *kept)
		}
		if err := p.drop(ctx, e, kept == nil && e.Relation == deputy.EntityCreated); err != nil {
			return blameEntity(e.Name, err)
		}
	}
	return p.finish(ctx, deputy.InstallDeleted, p.install.Outputs, nil)
}

// undo removes what a failed creation has made, last things first. Nobody was
// told of it, so nobody needs it, but other installs may share it.
func (p *provision) undo(ctx context.Context) error {
	for _, e := range slices.Backward(slices.Clone(p.journal)) {
		if err := p.drop(ctx, e, e.Relation == deputy.EntityCreated); err != nil {
			return err
		}
	}
	return nil
}

// errShared says that another install came to share an entity meanwhile.
var errShared = deputy.Errorf(deputy.Stale, "another install shares the entity")

// drop takes an entity out of the journal, and out of the zone where nothing
// else speaks for it: when another install shares it, that one has created it
// from now on.
func (p *provision) drop(ctx context.Context, e *deputy.InstalledEntity, entirely bool) error {
	if entirely {
		d := delegate{task: p.task, install: p.install, journal: func(ctx context.Context, tx deputy.Tx, _ *deputy.Target) error {
			if err := p.current(ctx, tx); err != nil {
				return err
			}
			heirs, err := p.sharers(ctx, tx.InstalledEntities(), e.EntityID)
			if err == nil && len(heirs) > 0 {
				err = errShared
			}
			if err != nil {
				return err
			}
			return p.forget(ctx, tx, e)
		}}
		_, err := d.call(ctx, p.a, http.MethodDelete, e.Path, nil)
		if kind := deputy.KindOf(err); kind != deputy.NotFound && kind != deputy.Stale {
			return err
		}
	}
	return p.a.store.Write(ctx, p.event("installs:release", deputy.Success), func(tx deputy.Tx) error {
		if err := p.current(ctx, tx); err != nil {
			return err
		}
		if e.Relation == deputy.EntityCreated {
			if err := p.bequeath(ctx, tx, e); err != nil {
				return err
			}
		}
		return p.forget(ctx, tx, e)
	})
}

// forget takes an entity out of the journal.
func (p *provision) forget(ctx context.Context, tx deputy.Tx, e *deputy.InstalledEntity) error {
	in := p.in()
	in.Parent = e.InstallID
	return goneIs(tx.InstalledEntities().Delete(ctx, in, deputy.ID(e.Name)))
}

// bequeath makes another install that shares an entity the one that created
// it.
func (p *provision) bequeath(ctx context.Context, tx deputy.Tx, e *deputy.InstalledEntity) error {
	heirs, err := p.sharers(ctx, tx.InstalledEntities(), e.EntityID)
	if err != nil || len(heirs) == 0 {
		return err
	}
	in := p.in()
	in.Parent = heirs[0].InstallID
	_, err = tx.InstalledEntities().Update(ctx, in, deputy.ID(heirs[0].Name), func(e *deputy.InstalledEntity) error {
		e.Relation = deputy.EntityCreated
		return nil
	})
	return err
}

// keptBy returns a warning for each entity that removing an install would
// keep.
func (a *API) keptBy(ctx context.Context, c *call, i *deputy.Install) ([]Error, error) {
	p := &provision{a: a, install: i, zone: c.zone, task: c.newTask(i, deputy.DeleteInstall), kept: map[deputy.ID]bool{}}
	p.d = delegate{task: p.task, install: i}
	if err := p.read(ctx); err != nil {
		return nil, err
	}
	var out []Error
	for _, e := range slices.Backward(p.journal) {
		kept, err := p.keep(ctx, e)
		if err != nil {
			return nil, err
		}
		if kept != nil {
			out = append(out, *kept)
		}
	}
	return out, nil
}

// keep returns why an entity stays when its install goes; nil when it goes too,
// or stays for other installs alone.
func (p *provision) keep(ctx context.Context, e *deputy.InstalledEntity) (*Error, error) {
	if e.Relation == deputy.EntityAdopted {
		w := p.warning(e, fmt.Sprintf("%s existed before the install and is kept", e.Name))
		return &w, nil
	}
	if e.Relation != deputy.EntityCreated {
		return nil, nil
	}
	needed, err := p.needed(ctx, e)
	if err != nil || needed == "" {
		return nil, err
	}
	p.kept[e.EntityID] = true // and so is what it refers to
	w := p.warning(e, fmt.Sprintf("%s is kept: %s", e.Name, needed))
	return &w, nil
}

// needed says what beside the install needs an entity; empty: nothing.
func (p *provision) needed(ctx context.Context, e *deputy.InstalledEntity) (string, error) {
	id := string(e.EntityID)
	others := func(field string) deputy.Query {
		return deputy.Query{Limit: 100, Where: []deputy.Filter{{Fields: []string{field}, Values: []string{id}}}}
	}
	s := p.a.store
	secrets, err := s.Secrets().List(ctx, p.in(), others("entity_id"))
	if err != nil {
		return "", err
	}
	for _, d := range secrets.Items {
		if by, err := p.sharers(ctx, s.InstalledEntities(), d.ID); err != nil || len(by) == 0 && !p.created(string(d.ID)) {
			return "another secret is kept for it", err
		}
	}
	switch catalog.EntityType(e.Type) {
	case catalog.Provider:
		if z := p.zone.UserIdentityProviderID; z != nil && string(*z) == id {
			return "people sign in through it", nil
		}
		resources, err := s.Resources().List(ctx, p.in(), others("credential_provider_id"))
		if err != nil || p.foreign(resources.Items, func(r *deputy.Resource) string { return string(r.ID) }) {
			return "another resource uses it", err
		}
		credentials, err := s.Credentials().List(ctx, p.in(), others("provider_id"))
		if err != nil || p.foreignCredential(credentials.Items) {
			return "a credential uses it", err
		}
	case catalog.Application:
		if gateway := p.zone.DefaultGatewayApplicationID; gateway != nil && string(*gateway) == id {
			return "it is the zone's default gateway", nil
		}
		resources, err := s.Resources().List(ctx, p.in(), others("application_id"))
		if err != nil || p.foreign(resources.Items, func(r *deputy.Resource) string { return string(r.ID) }) {
			return "it provides another resource", err
		}
		credentials, err := s.Credentials().List(ctx, p.in(), others("application_id"))
		if err != nil || p.foreignCredential(credentials.Items) {
			return "it has another credential", err
		}
	case catalog.Resource:
		return p.resourceNeeded(ctx, e)
	}
	return "", nil
}

func (p *provision) resourceNeeded(ctx context.Context, e *deputy.InstalledEntity) (string, error) {
	if r := p.zone.DefaultResourceID; r != nil && deputy.ID(*r) == e.EntityID {
		return "it is the zone's default resource", nil
	}
	query := deputy.Query{Limit: 100, Where: []deputy.Filter{{Fields: []string{"resource_id"}, Values: []string{string(e.EntityID)}}}}
	edges, err := p.a.store.Dependencies().List(ctx, p.in(), query)
	if err != nil || slices.ContainsFunc(edges.Items, func(d *deputy.Dependency) bool {
		return !p.created(string(d.ApplicationID) + " " + string(d.ResourceID))
	}) {
		return "an application depends on it", err
	}
	query.Limit = 1
	grants, err := p.a.store.Grants().List(ctx, p.in(), query)
	if err != nil || len(grants.Items) > 0 {
		return "people have authorized access to it", err
	}
	return "", nil
}

func (p *provision) foreign(resources []*deputy.Resource, id func(*deputy.Resource) string) bool {
	return slices.ContainsFunc(resources, func(r *deputy.Resource) bool { return !p.created(id(r)) })
}

func (p *provision) foreignCredential(credentials []*deputy.Credential) bool {
	return slices.ContainsFunc(credentials, func(c *deputy.Credential) bool { return !p.created(string(c.ID)) })
}

// created reports whether the install created the entity, and will remove it.
func (p *provision) created(id string) bool {
	return !p.kept[deputy.ID(id)] && slices.ContainsFunc(p.journal, func(e *deputy.InstalledEntity) bool {
		return string(e.EntityID) == id && e.Relation == deputy.EntityCreated
	})
}
