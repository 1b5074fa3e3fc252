package api

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"

	"deputy/internal/catalog"
	"deputy/internal/deputy"
)

// maxProvisionAttempts is how often a task is taken up again after a failure
// that is not about what it was asked to do, before it is given up.
const maxProvisionAttempts = 20

// provision is one run of a catalog task. It may be cut off anywhere and taken
// up by another node: what is done is in the journal, and nothing is done
// twice.
type provision struct {
	a        *API
	d        delegate
	task     *deputy.CatalogTask
	install  *deputy.Install
	zone     *deputy.Zone
	journal  []*deputy.InstalledEntity // in the order in which they were made
	warnings []Error
	kept     map[deputy.ID]bool // entities that a removal leaves
}

// RunCatalogTask does a catalog task that was claimed for the attempt-th time.
// An error means that it should be taken up again.
func (a *API) RunCatalogTask(ctx context.Context, zone deputy.ZoneID, id deputy.ID, attempt int) error {
	a.prepare()
	p, err := a.provision(ctx, zone, id)
	if err != nil || p == nil {
		return err
	}
	run := p.create
	if p.task.Operation == deputy.DeleteInstall {
		run = p.remove
	}
	if err := p.start(ctx); err != nil {
		return err
	}
	if err := p.read(ctx); err != nil { // once nobody else can add to it
		return err
	}
	err = run(ctx)
	if err == nil || ctx.Err() != nil || !final(err) && attempt < maxProvisionAttempts {
		return err
	}
	return p.fail(ctx, err)
}

// final reports whether an error is about what was asked, so that trying again
// cannot help.
func final(err error) bool {
	switch deputy.KindOf(err) {
	case deputy.Invalid, deputy.Denied, deputy.NotFound, deputy.Conflict:
		return true
	}
	return false
}

// provision reads what a task is about; nil when there is nothing left to do.
func (a *API) provision(ctx context.Context, zone deputy.ZoneID, id deputy.ID) (*provision, error) {
	p := &provision{a: a, kept: map[deputy.ID]bool{}}
	var err error
	in := deputy.Scope{Zone: zone}
	if p.task, err = a.store.CatalogTasks().Get(ctx, in, id); err != nil {
		return nil, goneIs(err)
	}
	if p.task.Status == deputy.CatalogTaskCompleted || p.task.Status == deputy.CatalogTaskFailed {
		return nil, nil
	}
	if p.zone, err = a.store.Zones().Get(ctx, deputy.Scope{Organization: p.task.OrganizationID}, deputy.ID(zone)); err != nil {
		return nil, goneIs(err)
	}
	if p.install, err = a.store.Installs().Get(ctx, in, p.task.InstallID); err != nil {
		return nil, err
	}
	p.d = delegate{task: p.task, install: p.install}
	return p, nil
}

// goneIs turns what is no longer there into nothing to do: its zone is being
// deleted.
func goneIs(err error) error {
	if deputy.KindOf(err) == deputy.NotFound {
		return nil
	}
	return err
}

// read reads the journal.
func (p *provision) read(ctx context.Context) error {
	page, err := p.a.store.InstalledEntities().List(ctx, deputy.Scope{Zone: p.zone.ID, Parent: p.install.ID}, deputy.Query{
		All: true, Sort: []deputy.Sort{{Field: "created_at"}},
	})
	if err == nil {
		p.journal = page.Items
	}
	return err
}

func (p *provision) in() deputy.Scope { return deputy.Scope{Zone: p.zone.ID} }

// event returns an event of the task, in the name of whoever asked for it.
func (p *provision) event(kind string, outcome deputy.Outcome) *deputy.Event {
	now := deputy.Time(p.a.now())
	e := &deputy.Event{
		ID: deputy.EventID(deputy.NewID(now)), Time: now, Type: kind, Outcome: outcome,
		OrganizationID: p.task.OrganizationID, ZoneID: p.zone.ID, RequestID: p.task.RequestID,
		Target: &deputy.Target{Type: "install", ID: string(p.install.ID)}, Package: packageOf(p.install, p.task),
	}
	if p.task.Actor != nil {
		e.Actor = *p.task.Actor
	}
	return e
}

// fates says of each entity what the task has done with it.
func (p *provision) fates() (out []string) {
	for _, e := range p.journal {
		fate := string(e.Relation)
		if p.task.Operation == deputy.DeleteInstall {
			switch {
			case p.kept[e.EntityID] || e.Relation == deputy.EntityAdopted:
				fate = "kept"
			case e.Relation == deputy.EntityShared:
				fate = "released"
			default:
				fate = "deleted"
			}
		}
		out = append(out, fate+" "+e.Name)
	}
	return out
}

// start notes that the task is under way, and that this run of it is the one
// that counts: a node that slept through its lease finds its next step stale.
func (p *provision) start(ctx context.Context) error {
	run := deputy.NewID(p.a.now())
	return p.a.store.Write(ctx, p.event("catalog_tasks:start", deputy.Success), func(tx deputy.Tx) (err error) {
		p.task, err = tx.CatalogTasks().Update(ctx, p.in(), p.task.ID, func(t *deputy.CatalogTask) error {
			if t.Status == deputy.CatalogTaskCompleted || t.Status == deputy.CatalogTaskFailed {
				return deputy.Errorf(deputy.Stale, "the task is over")
			}
			t.Status, t.Run = deputy.CatalogTaskRunning, run
			return nil
		})
		return err
	})
}

// current reports whether this run is still the one that counts.
func (p *provision) current(ctx context.Context, tx deputy.Tx) error {
	t, err := tx.CatalogTasks().Get(ctx, p.in(), p.task.ID)
	if err == nil && (t.Run != p.task.Run || t.Status != deputy.CatalogTaskRunning) {
		return deputy.Errorf(deputy.Stale, "another node does the task")
	}
	return err
}

// finish ends the task and puts the install into the state that it led to.
// Secret inputs have reached what they are for, or never will.
func (p *provision) finish(ctx context.Context, status deputy.InstallStatus, outputs []byte, failure error) error {
	kind, outcome, state := "catalog_tasks:complete", deputy.Success, deputy.CatalogTaskCompleted
	if failure != nil {
		kind, outcome, state = "catalog_tasks:fail", deputy.Failure, deputy.CatalogTaskFailed
	}
	event := p.event(kind, outcome)
	if failure != nil {
		event.Error, event.ErrorDetail = string(CodeConflict), sentence(failure)
	} else {
		event.Package.Entities = p.fates()
	}
	warnings, err := encodeWarnings(p.warnings)
	if err != nil {
		return err
	}
	return p.a.store.Write(ctx, event, func(tx deputy.Tx) error {
		if err := p.current(ctx, tx); err != nil {
			return err
		}
		_, err := tx.Installs().Update(ctx, p.in(), p.install.ID, func(i *deputy.Install) error {
			i.Status, i.Outputs, i.SealedInputs = status, outputs, nil
			return nil
		})
		if err != nil {
			return err
		}
		_, err = tx.CatalogTasks().Update(ctx, p.in(), p.task.ID, func(t *deputy.CatalogTask) error {
			t.Status, t.Warnings, t.Error = state, warnings, ""
			if failure != nil {
				t.Error = sentence(failure)
			}
			return nil
		})
		return err
	})
}

// sentence tells of a failure without its inner causes, which are for the log.
func sentence(err error) string {
	var e *deputy.Error
	if !errors.As(err, &e) {
		return "something went wrong here; the request id finds it in the log"
	}
	text := e.Message
	if len(text) > 500 {
		text = strings.ToValidUTF8(text[:500], "") + "…"
	}
	return text
}

// fail undoes what the task has done and ends it. What cannot be undone stays
// in the journal, so that a later removal can finish it.
func (p *provision) fail(ctx context.Context, cause error) error {
	if deputy.KindOf(cause) == "" || deputy.KindOf(cause) == deputy.Unavailable {
		p.a.log.Error("a catalog task was given up", "zone_id", string(p.zone.ID), "task_id", string(p.task.ID), "request_id", p.task.RequestID, "error", cause)
	}
	if p.task.Operation == deputy.CreateInstall {
		if err := p.undo(ctx); err != nil && !final(err) {
			return err
		}
	}
	return p.finish(ctx, deputy.InstallFailed, nil, cause)
}

// create makes every entity of the graph that the journal does not have yet.
func (p *provision) create(ctx context.Context) error {
	r, inputs, err := p.inputs(ctx)
	if err != nil {
		return err
	}
	made := map[string]catalog.Made{}
	for _, e := range r.Kind.Entities {
		wanted, err := r.Kind.Wanted(ctx, e, inputs, made)
		if err != nil {
			return err
		}
		for _, w := range wanted {
			if made[w.Name], err = p.ensure(ctx, &w); err != nil {
				return blameEntity(w.Name, err)
			}
		}
	}
	outputs, err := r.Outputs(ctx, inputs, made)
	if err != nil {
		return err
	}
	var raw []byte
	if outputs != nil {
		if raw, err = outputs.JSON(); err != nil {
			return err
		}
	}
	return p.finish(ctx, deputy.InstallActive, raw, nil)
}

// ensure returns an entity as the journal has it, and first finds or makes it
// where the journal does not have it yet.
func (p *provision) ensure(ctx context.Context, w *catalog.Wanted) (catalog.Made, error) {
	i := slices.IndexFunc(p.journal, func(e *deputy.InstalledEntity) bool { return e.Name == w.Name })
	if i < 0 {
		e, err := p.place(ctx, w)
		if err != nil {
			return catalog.Made{}, err
		}
		i, p.journal = len(p.journal), append(p.journal, e)
	}
	return p.made(ctx, w, p.journal[i])
}

func blameEntity(name string, err error) error {
	kind := deputy.KindOf(err)
	if kind == "" {
		return err
	}
	return deputy.Error{Kind: kind, Message: name + ": " + sentence(err)}.Because(err)
}

// inputs returns the release that is installed and the inputs of its kind.
func (p *provision) inputs(ctx context.Context) (*catalog.Release, catalog.Values, error) {
	in := deputy.Scope{Zone: p.zone.ID, Organization: p.zone.OrganizationID, Parent: p.install.PackageID}
	page, err := p.a.store.PackageVersions().List(ctx, in, deputy.Query{Where: []deputy.Filter{{Fields: []string{"version"}, Values: []string{strconv.Itoa(p.install.Version)}}}})
	if err != nil {
		return nil, nil, err
	}
	if len(page.Items) == 0 {
		return nil, nil, deputy.Errorf(deputy.NotFound, "the package version is gone")
	}
	r, err := p.a.release(page.Items[0].Manifest)
	if err != nil {
		return nil, nil, err
	}
	given, err := catalog.ParseValues(p.install.Inputs)
	if err != nil {
		return nil, nil, err
	}
	if len(p.install.SealedInputs) > 0 {
		raw, err := p.a.vault.Open(ctx, inputsPlace(p.install), p.install.SealedInputs)
		if err != nil {
			return nil, nil, err
		}
		secret, err := catalog.ParseValues(raw)
		if err != nil {
			return nil, nil, err
		}
		for name, v := range secret {
			given[name] = v
		}
	}
	merged, err := r.Merge(ctx, given)
	return r, merged, err
}

// made returns what expressions see of an entity in the journal. What differs
// in an adopted one from what the package would have made of it is a warning.
func (p *provision) made(ctx context.Context, w *catalog.Wanted, e *deputy.InstalledEntity) (catalog.Made, error) {
	if catalog.EntityType(e.Type) == catalog.Secret { // reading it would open it
		if e.Relation == deputy.EntityAdopted {
			p.differs(e, []string{"data"}) // it may well be another
		}
		return catalog.Made{Href: e.Path, Outputs: catalog.Values{"id": string(e.EntityID)}}, nil
	}
	shown, err := p.d.call(ctx, p.a, http.MethodGet, e.Path, nil)
	if err != nil {
		return catalog.Made{}, err
	}
	if e.Relation == deputy.EntityAdopted {
		var fields []string
		for _, name := range slices.Sorted(maps.Keys(w.Body)) {
			fields = append(fields, differences(name, w.Body[name], shown[name])...)
		}
		p.differs(e, fields)
	}
	out := catalog.Values{}
	for _, name := range catalog.Outputs(catalog.EntityType(e.Type)) {
		out[name] = shown[name]
	}
	if catalog.EntityType(e.Type) == catalog.Provider {
		out["redirect_uri"] = p.a.addresses.Issuer(p.zone) + redirectPath
	}
	return catalog.Made{Href: e.Path, Outputs: out}, nil
}

// place finds or makes one entity and writes it into the journal.
func (p *provision) place(ctx context.Context, w *catalog.Wanted) (*deputy.InstalledEntity, error) {
	find := entityTypes[w.Entity.Type].find
	for range 2 { // somebody may make it between the look and the call
		found, err := find(ctx, p, w)
		if err != nil {
			return nil, err
		}
		if found != nil {
			return p.take(ctx, w, found)
		}
		if w.Entity.Reference {
			return nil, deputy.Errorf(deputy.NotFound, "there is no %s %s", w.Entity.Type, w.Identity)
		}
		entity, err := p.make(ctx, w)
		if deputy.KindOf(err) != deputy.Conflict {
			return entity, err
		}
		if found, lookErr := find(ctx, p, w); lookErr != nil || found == nil {
			return nil, err
		}
	}
	return nil, deputy.Errorf(deputy.Unavailable, "it is being made and removed all the time")
}

// make makes an entity; the journal has it in the same transaction.
func (p *provision) make(ctx context.Context, w *catalog.Wanted) (*deputy.InstalledEntity, error) {
	t := entityTypes[w.Entity.Type]
	e := p.entry(w, deputy.EntityCreated)
	d := delegate{task: p.task, install: p.install, journal: func(ctx context.Context, tx deputy.Tx, target *deputy.Target) error {
		if err := p.current(ctx, tx); err != nil {
			return err
		}
		e.EntityID, e.Path = entityID(w, target.ID), t.path(p, w, target.ID)
		return tx.InstalledEntities().Insert(ctx, e)
	}}
	method, path, body := t.create(p, w)
	_, err := d.call(ctx, p.a, method, path, body)
	return e, err
}

// entityID returns what the journal knows an entity by: its id, or of a
// dependency, which has none of its own, the pair that it connects.
func entityID(w *catalog.Wanted, id string) deputy.ID {
	if w.Entity.Type == catalog.Dependency {
		return deputy.ID(w.Identity)
	}
	return deputy.ID(id)
}

// take writes an entity that exists into the journal: as shared when another
// install made it, else as adopted. It is not touched.
func (p *provision) take(ctx context.Context, w *catalog.Wanted, found catalog.Values) (*deputy.InstalledEntity, error) {
	id, _ := found["id"].(string)
	e := p.entry(w, deputy.EntityAdopted)
	e.EntityID, e.Path = entityID(w, id), entityTypes[w.Entity.Type].path(p, w, id)
	err := p.a.store.Write(ctx, p.event("installs:adopt", deputy.Success), func(tx deputy.Tx) error {
		if err := p.current(ctx, tx); err != nil {
			return err
		}
		others, err := p.sharers(ctx, tx.InstalledEntities(), e.EntityID)
		if err != nil {
			return err
		}
		if len(others) > 0 {
			e.Relation = deputy.EntityShared
		}
		return tx.InstalledEntities().Insert(ctx, e)
	})
	return e, err
}

// differs warns of an adopted entity with fields that are not as the package
// would make them.
func (p *provision) differs(e *deputy.InstalledEntity, fields []string) {
	if len(fields) == 0 {
		return
	}
	warning := p.warning(e, fmt.Sprintf("%s existed before the install and is kept as it is, although it may not be what the package would make", e.Name))
	warning.Details = nil
	for _, f := range fields {
		warning.Details = append(warning.Details, ErrorDetail{Code: CodeConflict, Field: "entities." + e.Name + "." + f, Message: "is not set by the install"})
	}
	p.warnings = append(p.warnings, warning)
}

// sharers returns the journal entries of other live installs for an entity
// that one of them created.
func (p *provision) sharers(ctx context.Context, in deputy.Reads[deputy.InstalledEntity], entity deputy.ID) ([]*deputy.InstalledEntity, error) {
	page, err := in.List(ctx, p.in(), deputy.Query{All: true, Where: []deputy.Filter{
		{Fields: []string{"entity_id"}, Values: []string{string(entity)}},
		{Fields: []string{"relation"}, Values: []string{string(deputy.EntityCreated), string(deputy.EntityShared)}},
	}})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(page.Items, func(e *deputy.InstalledEntity) bool { return e.InstallID == p.install.ID }), nil
}

// differences returns the paths at which an existing value is not what a
// package wants. What is not shown cannot be compared.
func differences(path string, want, got any) []string {
	wanted, isObject := want.(map[string]any)
	if existing, ok := got.(map[string]any); ok && isObject {
		var out []string
		for _, name := range slices.Sorted(maps.Keys(wanted)) {
			out = append(out, differences(path+"."+name, wanted[name], existing[name])...)
		}
		return out
	}
	if got == nil || reflect.DeepEqual(want, got) {
		return nil
	}
	return []string{path}
}

// warning tells of an entity that is kept.
func (p *provision) warning(e *deputy.InstalledEntity, message string) Error {
	return Error{
		Code: CodeConflict, Status: http.StatusConflict, Message: message, Path: e.Path, RequestID: p.task.RequestID,
		Timestamp: Time(deputy.Time(p.a.now())), Details: []ErrorDetail{{Code: CodeConflict, Field: "entities." + e.Name, Message: message}},
	}
}

func encodeWarnings(warnings []Error) ([]byte, error) {
	if len(warnings) == 0 {
		return nil, nil
	}
	return json.Marshal(warnings)
}

// entry returns the journal's entry of an entity.
func (p *provision) entry(w *catalog.Wanted, relation deputy.EntityRelation) *deputy.InstalledEntity {
	return &deputy.InstalledEntity{
		ZoneID: p.zone.ID, InstallID: p.install.ID, Name: w.Name, Position: len(p.journal) + 1, Type: string(w.Entity.Type),
		Relation: relation, CreatedAt: deputy.Time(p.a.now()),
	}
}
