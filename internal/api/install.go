package api

import (
	"context"
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json"

	"deputy/internal/catalog"
	"deputy/internal/deputy"
	"deputy/internal/vault"
)

// Install is one application of a package version to a zone, as clients see it.
type Install struct {
	ID             string           `json:"id"`
	OrgID          string           `json:"org_id"`
	ZoneID         string           `json:"zone_id"`
	PackageID      string           `json:"package_id"`
	PackageSlug    string           `json:"package_slug"`
	PackageVersion int              `json:"package_version"`
	Status         string           `json:"status" enum:"pending,active,deleting,failed,deleted"`
	Inputs         map[string]Value `json:"inputs,omitempty" doc:"What the installer gave, without secrets."`
	Outputs        map[string]Value `json:"outputs,omitempty"`
	Links          []PackageLink    `json:"links,omitempty" doc:"The entities of the install: created, adopted or shared."`
	CreatedAt      Time             `json:"created_at"`
	UpdatedAt      Time             `json:"updated_at"`
}

// CatalogTask is the job that creates or deletes an install, as clients see it.
type CatalogTask struct {
	ID             string        `json:"id"`
	Operation      string        `json:"operation" enum:"create,delete"`
	Status         string        `json:"status" enum:"pending,running,completed,failed"`
	InstallID      string        `json:"install_id"`
	PackageID      string        `json:"package_id"`
	PackageSlug    string        `json:"package_slug"`
	PackageVersion int           `json:"package_version"`
	ErrorMessage   *string       `json:"error_message,omitzero"`
	Warnings       []Error       `json:"warnings,omitempty" doc:"Things to know; they never fail a task."`
	Links          []PackageLink `json:"links,omitempty"`
	CreatedAt      Time          `json:"created_at"`
	UpdatedAt      Time          `json:"updated_at"`
}

// InstallCreate installs a package.
type InstallCreate struct {
	PackageID string           `json:"package_id" minLength:"1" maxLength:"70" doc:"Id or slug."`
	Version   Patch[int]       `json:"version,omitzero" minimum:"1" doc:"The newest unless said."`
	Inputs    map[string]Value `json:"inputs,omitempty" maxProperties:"200" doc:"What the package's input_state asks for."`
}

func (a *API) mountInstalls() {
	const installs, tasks = "/zones/{zone_id}/installs", "/zones/{zone_id}/catalog_tasks"
	mount(a, operation{
		ID: "list-installs", Method: http.MethodGet, Path: installs, Action: "installs:list", Tag: "Installs",
		Summary: "List installs", Doc: "An install is one application of a package version to the zone.", Status: http.StatusOK, Query: installList.document(),
	}, a.listInstalls)
	mount(a, operation{
		ID: "create-install", Method: http.MethodPost, Path: installs, Action: "installs:create", Tag: "Installs",
		Summary: "Install a package", Doc: "The answer is the task that does it.", Status: http.StatusAccepted, Errors: []int{http.StatusConflict}, Location: true,
	}, a.createInstall)
	mount(a, operation{
		ID: "get-install", Method: http.MethodGet, Path: installs + "/{install_id}", Action: "installs:read", Tag: "Installs",
		Summary: "Get an install", Status: http.StatusOK,
	}, a.getInstall)
	mount(a, operation{
		ID: "delete-install", Method: http.MethodDelete, Path: installs + "/{install_id}", Action: "installs:delete", Tag: "Installs",
		Summary: "Remove an install", Doc: "What it created goes, unless something else needs it by now; what was there before stays.",
		Status: http.StatusAccepted, Errors: []int{http.StatusConflict}, Location: true,
	}, a.deleteInstall)
	mount(a, operation{
		ID: "list-catalog-tasks", Method: http.MethodGet, Path: tasks, Action: "catalog_tasks:list", Tag: "Installs",
		Summary: "List catalog tasks", Status: http.StatusOK, Query: taskList.document(),
	}, a.listTasks)
	mount(a, operation{
		ID: "get-catalog-task", Method: http.MethodGet, Path: tasks + "/{task_id}", Action: "catalog_tasks:read", Tag: "Installs",
		Summary: "Get a catalog task", Doc: "A completed one answers 303 with the install as Location.", Status: http.StatusOK, Also: http.StatusSeeOther, Location: true,
	}, a.getTask)
}

var (
	installList = listing{Expand: []string{"total_count"}}
	taskList    = listing{
		Expand: []string{"total_count"},
		Parameters: []parameter{
			{Name: "filter[status]", Fields: []string{"status"}, Many: true, Enum: []string{"pending", "running", "completed", "failed"}, Doc: "Tasks in the state."},
			{Name: "filter[install_id]", Fields: []string{"install_id"}, Many: true, Doc: "Tasks of the install."},
		},
	}
)

func zoneOf(c *call) deputy.Scope { return deputy.Scope{Zone: c.zone.ID} }

func (a *API) listInstalls(ctx context.Context, c *call, _ *empty) (*output[ShortList[Install]], error) {
	q, err := installList.read(a, c)
	if err != nil {
		return nil, err
	}
	page, err := a.store.Installs().List(ctx, zoneOf(c), q.Query)
	if err != nil {
		return nil, err
	}
	entities, err := a.entitiesOf(ctx, c, page.Items)
	if err != nil {
		return nil, err
	}
	list := newList(page, func(i *deputy.Install) Install { return viewInstall(i, entities[i.ID]) })
	return &output[ShortList[Install]]{ShortList[Install]{list.Items, list.Pagination}}, nil
}

// entitiesOf returns the journals of installs, in the order of their entries.
func (a *API) entitiesOf(ctx context.Context, c *call, installs []*deputy.Install) (map[deputy.ID][]*deputy.InstalledEntity, error) {
	out := map[deputy.ID][]*deputy.InstalledEntity{}
	var ids []string
	for _, i := range installs {
		ids = append(ids, string(i.ID))
	}
	if len(ids) == 0 {
		return out, nil
	}
	page, err := a.store.InstalledEntities().List(ctx, zoneOf(c), deputy.Query{
		All: true, Sort: []deputy.Sort{{Field: "created_at"}}, Where: []deputy.Filter{{Fields: []string{"install_id"}, Values: ids}},
	})
	if err != nil {
		return nil, err
	}
	for _, e := range page.Items {
		out[e.InstallID] = append(out[e.InstallID], e)
	}
	return out, nil
}

func (a *API) getInstall(ctx context.Context, c *call, _ *empty) (*output[Install], error) {
	i, err := a.store.Installs().Get(ctx, zoneOf(c), deputy.ID(c.param("install_id")))
	if err != nil {
		return nil, missing(err, "install")
	}
	entities, err := a.entitiesOf(ctx, c, []*deputy.Install{i})
	if err != nil {
		return nil, err
	}
	return &output[Install]{viewInstall(i, entities[i.ID])}, nil
}

func viewInstall(d *deputy.Install, entities []*deputy.InstalledEntity) Install {
	return Install{
		ID: string(d.ID), OrgID: string(d.OrganizationID), ZoneID: string(d.ZoneID), PackageID: string(d.PackageID),
		PackageSlug: d.PackageSlug, PackageVersion: d.Version, Status: string(d.Status), Inputs: valueMap(d.Inputs), Outputs: valueMap(d.Outputs),
		Links: viewEntities(entities), CreatedAt: Time(d.CreatedAt), UpdatedAt: Time(d.UpdatedAt),
	}
}

func viewEntities(entities []*deputy.InstalledEntity) []PackageLink {
	var out []PackageLink
	for _, e := range entities {
		name, err := json.Marshal(e.Name)
		if err == nil {
			out = append(out, PackageLink{Rel: string(e.Relation), Href: e.Path, Properties: map[string]Value{"name": name}})
		}
	}
	return out
}

// valueMap returns a stored JSON object by its members.
func valueMap(raw []byte) map[string]Value {
	var out map[string]Value
	if len(raw) > 0 && json.Unmarshal(raw, &out) != nil {
		return nil // we wrote it
	}
	return out
}

// createInstall accepts an install: its inputs are checked, and the task that
// does it begins.
func (a *API) createInstall(ctx context.Context, c *call, in *input[InstallCreate]) (*placed[CatalogTask], error) {
	p, v, err := a.installable(ctx, c, &in.Body)
	if err != nil {
		return nil, err
	}
	r, err := a.release(v.Manifest)
	if err != nil {
		return nil, err
	}
	given, err := r.Inputs(valuesOf(in.Body.Inputs))
	if err != nil {
		return nil, err
	}
	i := &deputy.Install{
		ID: deputy.NewID(c.at), OrganizationID: c.zone.OrganizationID, ZoneID: c.zone.ID, PackageID: p.ID, PackageSlug: p.Slug,
		CatalogID: p.CatalogID, Version: v.Version, Status: deputy.InstallPending, CreatedAt: c.at, UpdatedAt: c.at,
	}
	if err := a.sealInputs(ctx, c, i, r, given); err != nil {
		return nil, err
	}
	t := c.newTask(i, deputy.CreateInstall)
	err = a.writeEvent(ctx, c, c.eventOf(i, t), func(tx deputy.Tx) error {
		now, err := tx.PackageVersions().Get(ctx, deputy.Scope{Zone: c.zone.ID, Organization: c.zone.OrganizationID}, v.ID)
		if err != nil {
			return missing(err, "package version")
		}
		if now.ArchivedAt != nil {
			return deputy.Errorf(deputy.Conflict, "version %d of the package is archived", v.Version)
		}
		if err := tx.Installs().Insert(ctx, i); err != nil {
			return err
		}
		return c.begin(ctx, tx, t)
	})
	if err != nil {
		return nil, err
	}
	a.wake()
	return c.accepted(t, i), nil
}

// installable returns the package and the version that an install names.
func (a *API) installable(ctx context.Context, c *call, in *InstallCreate) (*deputy.Package, *deputy.PackageVersion, error) {
	p, err := findPackage(ctx, c, a.store.Packages(), catalogsOf(c), in.PackageID)
	if err != nil {
		return nil, nil, err
	}
	if p.ArchivedAt != nil {
		return nil, nil, deputy.Errorf(deputy.Conflict, "the package is archived")
	}
	scope := catalogsOf(c)
	scope.Parent = p.ID
	if !in.Version.Set {
		if p.CurrentVersionID == "" {
			return nil, nil, deputy.Errorf(deputy.Conflict, "the package has no version that can be installed")
		}
		v, err := a.store.PackageVersions().Get(ctx, scope, p.CurrentVersionID)
		return p, v, err
	}
	page, err := a.store.PackageVersions().List(ctx, scope, deputy.Query{Where: []deputy.Filter{{Fields: []string{"version"}, Values: []string{strconv.Itoa(in.Version.V)}}}})
	switch {
	case err != nil:
		return nil, nil, err
	case len(page.Items) == 0:
		return nil, nil, deputy.Errorf(deputy.NotFound, "the package has no version %d", in.Version.V)
	case page.Items[0].ArchivedAt != nil:
		return nil, nil, deputy.Errorf(deputy.Conflict, "version %d of the package is archived", in.Version.V)
	}
	return p, page.Items[0], nil
}

// valuesOf returns what a body gives by name, numbers as they are written.
func valuesOf(body map[string]Value) catalog.Values {
	raw, err := json.Marshal(body)
	if err != nil {
		return nil
	}
	v, err := catalog.ParseValues(raw)
	if err != nil {
		return nil // the body was read as JSON
	}
	return v
}

// sealInputs puts inputs into an install: those that may be shown as they are,
// the others sealed.
func (a *API) sealInputs(ctx context.Context, c *call, i *deputy.Install, r *catalog.Release, given catalog.Values) (err error) {
	shown, secret := r.Secrets(given)
	if i.Inputs, err = shown.JSON(); err != nil || len(secret) == 0 {
		return err
	}
	raw, err := secret.JSON()
	if err != nil {
		return err
	}
	i.SealedInputs, err = a.vault.Seal(ctx, c.zone.KeyID, inputsPlace(i), raw)
	return err
}

// inputsPlace is where the secret inputs of an install are sealed.
func inputsPlace(i *deputy.Install) vault.Place {
	return vault.Place{Zone: i.ZoneID, Table: "installs", Column: "sealed_inputs", Row: string(i.ID)}
}

func (c *call) newTask(i *deputy.Install, operation deputy.CatalogOperation) *deputy.CatalogTask {
	actor := c.caller.Actor()
	if c.caller.Person() {
		actor.Identifier = "" // the row outlives what the log may forget of a person
	}
	return &deputy.CatalogTask{
		ID: deputy.NewID(c.at), OrganizationID: i.OrganizationID, ZoneID: i.ZoneID, InstallID: i.ID, Operation: operation,
		Status: deputy.CatalogTaskPending, Actor: &actor, RequestID: c.id, CreatedAt: c.at, UpdatedAt: c.at,
	}
}

// packageOf tells an event which package is installed or removed.
func packageOf(i *deputy.Install, t *deputy.CatalogTask) *deputy.EventPackage {
	return &deputy.EventPackage{ID: i.PackageID, Slug: i.PackageSlug, Version: i.Version, InstallID: i.ID, TaskID: t.ID}
}

// eventOf returns the event of a task that begins.
func (c *call) eventOf(i *deputy.Install, t *deputy.CatalogTask) *deputy.Event {
	e := c.event(deputy.Success, &deputy.Target{Type: "install", ID: string(i.ID)})
	e.Package = packageOf(i, t)
	return e
}

// begin stores a task and has it done in the background.
func (c *call) begin(ctx context.Context, tx deputy.Tx, t *deputy.CatalogTask) error {
	if err := tx.CatalogTasks().Insert(ctx, t); err != nil {
		return err
	}
	return tx.Enqueue(ctx, deputy.Task{ID: t.ID, Kind: deputy.TaskCatalog, ZoneID: t.ZoneID, Data: []byte(`{}`), RunAt: c.at})
}

// accepted answers with a task and where to find it.
func (c *call) accepted(t *deputy.CatalogTask, i *deputy.Install) *placed[CatalogTask] {
	c.answer.Set("Location", taskPath(t))
	return &placed[CatalogTask]{http.StatusAccepted, viewTask(t, i, nil)}
}

func taskPath(t *deputy.CatalogTask) string {
	return "/zones/" + string(t.ZoneID) + "/catalog_tasks/" + string(t.ID)
}

func installPath(zone deputy.ZoneID, id deputy.ID) string {
	return "/zones/" + string(zone) + "/installs/" + string(id)
}

func viewTask(t *deputy.CatalogTask, i *deputy.Install, entities []*deputy.InstalledEntity) CatalogTask {
	v := CatalogTask{
		ID: string(t.ID), Operation: string(t.Operation), Status: string(t.Status), InstallID: string(t.InstallID),
		ErrorMessage: pointer(t.Error), CreatedAt: Time(t.CreatedAt), UpdatedAt: Time(t.UpdatedAt),
		Links: append([]PackageLink{{Rel: "install", Href: installPath(t.ZoneID, t.InstallID)}}, viewEntities(entities)...),
	}
	if i != nil {
		v.PackageID, v.PackageSlug, v.PackageVersion = string(i.PackageID), i.PackageSlug, i.Version
	}
	if len(t.Warnings) > 0 {
		_ = json.Unmarshal(t.Warnings, &v.Warnings) // we wrote it
	}
	return v
}

// deleteInstall accepts the removal of an install. The answer warns of what
// will be kept.
func (a *API) deleteInstall(ctx context.Context, c *call, _ *empty) (*placed[CatalogTask], error) {
	id := deputy.ID(c.param("install_id"))
	i, err := a.store.Installs().Get(ctx, zoneOf(c), id)
	if err != nil || i.Status == deputy.InstallDeleted {
		return nil, missing(orMissing(err), "install")
	}
	warnings, err := a.keptBy(ctx, c, i)
	if err != nil {
		return nil, err
	}
	t := c.newTask(i, deputy.DeleteInstall)
	if t.Warnings, err = encodeWarnings(warnings); err != nil {
		return nil, err
	}
	err = a.writeEvent(ctx, c, c.eventOf(i, t), func(tx deputy.Tx) error {
		i, err = tx.Installs().Update(ctx, zoneOf(c), id, func(i *deputy.Install) error {
			switch i.Status {
			case deputy.InstallPending, deputy.InstallDeleting:
				return deputy.Errorf(deputy.Conflict, "a task of the install is under way")
			case deputy.InstallDeleted:
				return deputy.Errorf(deputy.NotFound, "no such install")
			}
			i.Status = deputy.InstallDeleting
			return nil
		})
		if err != nil {
			return missing(err, "install")
		}
		return c.begin(ctx, tx, t)
	})
	if err != nil {
		return nil, err
	}
	a.wake()
	return c.accepted(t, i), nil
}

func orMissing(err error) error {
	if err == nil {
		return deputy.Errorf(deputy.NotFound, "no such install")
	}
	return err
}

func (a *API) listTasks(ctx context.Context, c *call, _ *empty) (*output[ShortList[CatalogTask]], error) {
	q, err := taskList.read(a, c)
	if err != nil {
		return nil, err
	}
	page, err := a.store.CatalogTasks().List(ctx, zoneOf(c), q.Query)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, t := range page.Items {
		ids = append(ids, string(t.InstallID))
	}
	installs := map[deputy.ID]*deputy.Install{}
	if len(ids) > 0 {
		found, err := a.store.Installs().List(ctx, zoneOf(c), deputy.Query{All: true, Where: []deputy.Filter{{Fields: []string{"id"}, Values: ids}}})
		if err != nil {
			return nil, err
		}
		for _, i := range found.Items {
			installs[i.ID] = i
		}
	}
	list := newList(page, func(t *deputy.CatalogTask) CatalogTask { return viewTask(t, installs[t.InstallID], nil) })
	return &output[ShortList[CatalogTask]]{ShortList[CatalogTask]{list.Items, list.Pagination}}, nil
}

func (a *API) getTask(ctx context.Context, c *call, _ *empty) (*placed[CatalogTask], error) {
	t, err := a.store.CatalogTasks().Get(ctx, zoneOf(c), deputy.ID(c.param("task_id")))
	if err != nil {
		return nil, missing(err, "catalog task")
	}
	i, err := a.store.Installs().Get(ctx, zoneOf(c), t.InstallID)
	if err != nil {
		return nil, err
	}
	entities, err := a.entitiesOf(ctx, c, []*deputy.Install{i})
	if err != nil {
		return nil, err
	}
	out := &placed[CatalogTask]{http.StatusOK, viewTask(t, i, entities[i.ID])}
	if t.Status == deputy.CatalogTaskCompleted {
		c.answer.Set("Location", installPath(t.ZoneID, t.InstallID))
		out.Status = http.StatusSeeOther
	}
	return out, nil
}
