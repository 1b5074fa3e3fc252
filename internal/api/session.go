package api

import (
	"context"
	"slices"

	"deputy/internal/deputy"
)

// Session is a standing authentication, as clients see it. Which members there
// are depends on its session_type.
type Session struct {
	SessionType     string           `json:"session_type" enum:"user,application"`
	ID              string           `json:"id"`
	OrganizationID  string           `json:"organization_id"`
	ZoneID          string           `json:"zone_id"`
	Status          string           `json:"status" enum:"active,expired,revoked"`
	Active          bool             `json:"active" deprecated:"true" doc:"status is active."`
	UserID          *string          `json:"user_id,omitzero" doc:"user: whose session it is."`
	ApplicationID   *string          `json:"application_id,omitzero" doc:"The application that it is at, or of."`
	UserAgentID     *string          `json:"user_agent_id,omitzero" doc:"user: the user agent that it is at."`
	ParentID        *string          `json:"parent_id,omitzero" doc:"user: the session that it ends with; absent where the person signed in."`
	ProviderID      *string          `json:"provider_id,omitzero" doc:"Who authenticated."`
	Issuer          *string          `json:"issuer,omitzero" format:"uri"`
	Subject         *string          `json:"subject,omitzero"`
	Metadata        *SessionMetadata `json:"metadata,omitzero"`
	SessionData     *Object          `json:"session_data,omitzero" doc:"Claims of whoever authenticated."`
	Application     *Embedded        `json:"application,omitzero" deprecated:"true" doc:"Not sent: application_id names it."`
	User            *Embedded        `json:"user,omitzero" deprecated:"true" doc:"Not sent: user_id names them."`
	UserAgent       *Embedded        `json:"user_agent,omitzero" deprecated:"true" doc:"Not sent: user_agent_id names it."`
	AuthenticatedAt Time             `json:"authenticated_at"`
	ExpiresAt       Time             `json:"expires_at"`
	CreatedAt       Time             `json:"created_at"`
	UpdatedAt       Time             `json:"updated_at"`
}

// SessionMetadata says what a session is at.
type SessionMetadata struct {
	Name string `json:"name" doc:"What the application or user agent calls itself."`
}

// Revocation ends a session or a delegated grant.
type Revocation struct {
	ZoneID Patch[Value] `json:"zoneId,omitzero" deprecated:"true" doc:"Means nothing: the path names the zone."`
	Status string       `json:"status" enum:"revoked"`
}

// statuses are those of sessions and delegated grants.
var statuses = []string{string(deputy.Active), string(deputy.Expired), string(deputy.Revoked)}

// The parameters of lists of what can be revoked.
var (
	statusParameter = parameter{Name: "status", Fields: []string{"status"}, Op: deputy.InState, Enum: statuses, Doc: "In this state now."}
	activeParameter = parameter{Name: "active", Enum: []string{"true"}, Deprecated: true, Doc: "Older form of status=active."}
	userParameter   = parameter{Name: "user_id", Fields: []string{"user_id"}, Doc: "Of this user."}
)

var sessions = Noun[deputy.Session, Session, empty, Revocation]{
	Name: "session", Plural: "sessions", Path: "/zones/{zone_id}/sessions", Key: "id", Tag: "Sessions", Short: true,
	About: "A session is a standing authentication: of a person at a client, or of an application. " +
		"The list leaves out sessions that nobody began, and those below the first generation unless include_nested is set.",
	List: listing{
		Expand: []string{"total_count"},
		Parameters: []parameter{
			{Name: "session_type", Enum: []string{string(deputy.UserSession), string(deputy.ApplicationSession)}, Doc: "Of this type."},
			statusParameter, userParameter, activeParameter,
			{Name: "include_nested", Enum: []string{"true"}, Doc: "The sessions below the first generation too."},
		},
	},
	Reads:  func(v deputy.View) deputy.Reads[deputy.Session] { return v.Sessions() },
	Writes: func(tx deputy.Tx) deputy.Writes[deputy.Session] { return tx.Sessions() },
	ID:     func(d *deputy.Session) deputy.ID { return deputy.ID(d.ID) },
	Narrow: narrowSessions,
	View:   viewSession,
	Change: func(_ *API, c *call, d *deputy.Session, _ *Revocation) error {
		d.End(c.at)
		return nil
	},
	Check: func(*deputy.Session) error { return nil },
}

// inViews keeps the sessions of some views.
func inViews(views ...deputy.SessionView) deputy.Filter {
	f := deputy.Filter{Fields: []string{"view"}}
	for _, v := range views {
		f.Values = append(f.Values, string(v))
	}
	return f
}

// narrowSessions keeps the sessions that the list shows.
func narrowSessions(_ context.Context, _ *API, c *call, q *asked) error {
	views := []deputy.SessionView{deputy.EntryUser, deputy.EntryApplication, deputy.NestedUser}
	leave := func(v deputy.SessionView) {
		views = slices.DeleteFunc(views, func(w deputy.SessionView) bool { return v == w })
	}
	if c.query.Get("include_nested") == "" {
		leave(deputy.NestedUser)
	}
	switch deputy.SessionType(c.query.Get("session_type")) {
	case deputy.UserSession:
		leave(deputy.EntryApplication)
	case deputy.ApplicationSession:
		leave(deputy.EntryUser)
		leave(deputy.NestedUser)
	}
	q.Where = append(q.Where, inViews(views...))
	return narrowActive(c, q)
}

// narrowActive keeps what is active, where that was asked for by its older
// name.
func narrowActive(c *call, q *asked) error {
	if c.query.Get("active") != "" {
		q.Where = append(q.Where, deputy.Filter{Fields: []string{"status"}, Op: deputy.InState, Values: []string{string(deputy.Active)}})
	}
	return nil
}

func viewSession(a *API, c *call, d *deputy.Session) Session {
	state := d.State(c.at)
	v := Session{
		SessionType: string(d.Type), ID: string(d.ID), OrganizationID: string(d.OrganizationID), ZoneID: string(d.ZoneID),
		Status: string(state), Active: state == deputy.Active,
		UserID: text(d.UserID), ApplicationID: text(d.ApplicationID), UserAgentID: text(d.UserAgentID), ParentID: text(d.ParentID),
		ProviderID: text(d.ProviderID), Issuer: pointer(a.addresses.Shown(c.zone, d.Issuer)), Subject: pointer(d.Subject),
		AuthenticatedAt: Time(d.AuthenticatedAt), ExpiresAt: Time(d.ExpiresAt), CreatedAt: Time(d.CreatedAt), UpdatedAt: Time(d.UpdatedAt),
	}
	if d.Name != "" {
		v.Metadata = &SessionMetadata{Name: d.Name}
	}
	if len(d.Data) > 0 {
		data := Object(d.Data)
		v.SessionData = &data
	}
	return v
}

func (a *API) mountSessions() {
	sessions.mountAll(a, list, get, remove)
	revoke := revoking(sessions.operation(patch), "session", "sessions:revoke")
	revoke.Doc = "It and every session below it are over, and stay listed. A session that is over already stays as it ended."
	mount(a, revoke, sessions.patch(a))
}

// revoking turns a change into the one that revokes.
func revoking(o operation, id, action string) operation {
	o.ID, o.Action, o.Errors = "revoke-"+id, action, nil
	o.Summary = "Revoke" + o.Summary[len("Change"):]
	return o
}
