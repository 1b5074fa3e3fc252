package sink

import (
	"cmp"
	"context"
	"encoding/base64"
	"strings"

	"deputy/internal/deputy"
)

// Version is the version of OCSF that events are written in.
const Version = "1.3.0"

// Event is an event of the log in the words of OCSF, with the attributes of the
// few classes that ours fall into.
type Event struct {
	ActivityID   int32  `json:"activity_id" parquet:"activity_id"`
	ActivityName string `json:"activity_name" parquet:"activity_name"`
	CategoryUID  int32  `json:"category_uid" parquet:"category_uid"`
	CategoryName string `json:"category_name" parquet:"category_name"`
	ClassUID     int32  `json:"class_uid" parquet:"class_uid"`
	ClassName    string `json:"class_name" parquet:"class_name"`
	TypeUID      int64  `json:"type_uid" parquet:"type_uid"`
	Time         int64  `json:"time" parquet:"time"` // milliseconds
	SeverityID   int32  `json:"severity_id" parquet:"severity_id"`
	Severity     string `json:"severity" parquet:"severity"`
	StatusID     int32  `json:"status_id" parquet:"status_id"`
	Status       string `json:"status" parquet:"status"`
	StatusCode   string `json:"status_code,omitempty" parquet:"status_code,optional"`
	StatusDetail string `json:"status_detail,omitempty" parquet:"status_detail,optional"`
	Count        int32  `json:"count,omitempty" parquet:"count,optional"`

	Metadata    Metadata     `json:"metadata" parquet:"metadata"`
	Actor       Actor        `json:"actor" parquet:"actor"`
	SrcEndpoint Endpoint     `json:"src_endpoint" parquet:"src_endpoint"`
	HTTPRequest *HTTPRequest `json:"http_request,omitempty" parquet:"http_request,optional"`
	API         *API         `json:"api,omitempty" parquet:"api,optional"`
	User        *User        `json:"user,omitempty" parquet:"user,optional"`
	Group       *Object      `json:"group,omitempty" parquet:"group,optional"`
	Entity      *Entity      `json:"entity,omitempty" parquet:"entity,optional"`
	Service     *Object      `json:"service,omitempty" parquet:"service,optional"`
	Session     *Session     `json:"session,omitempty" parquet:"session,optional"`
	Privileges  []string     `json:"privileges,omitempty" parquet:"privileges,list"`
	Protocol    int32        `json:"auth_protocol_id,omitempty" parquet:"auth_protocol_id,optional"`

	Unmapped Unmapped `json:"unmapped" parquet:"unmapped"`
	RawData  string   `json:"raw_data" parquet:"raw_data"`
}

// Metadata says where an event comes from.
type Metadata struct {
	Version     string  `json:"version" parquet:"version"`
	UID         string  `json:"uid" parquet:"uid"`
	EventCode   string  `json:"event_code" parquet:"event_code"`
	Correlation string  `json:"correlation_uid,omitempty" parquet:"correlation_uid,optional"`
	Tenant      string  `json:"tenant_uid" parquet:"tenant_uid"`
	Sequence    int64   `json:"sequence" parquet:"sequence"`
	LogName     string  `json:"log_name" parquet:"log_name"`
	Product     Product `json:"product" parquet:"product"`
}

// Product is us.
type Product struct {
	Name    string `json:"name" parquet:"name"`
	Vendor  string `json:"vendor_name" parquet:"vendor_name"`
	Version string `json:"version,omitempty" parquet:"version,optional"`
}

// Actor is who did it.
type Actor struct {
	User   User   `json:"user" parquet:"user"`
	AppUID string `json:"app_uid,omitempty" parquet:"app_uid,optional"`
}

// User is a person, an application or another who acts.
type User struct {
	UID    string `json:"uid,omitempty" parquet:"uid,optional"`
	Name   string `json:"name,omitempty" parquet:"name,optional"`
	TypeID int32  `json:"type_id" parquet:"type_id"`
	Type   string `json:"type" parquet:"type"`
}

// Endpoint is where a request came from.
type Endpoint struct {
	IP string `json:"ip,omitempty" parquet:"ip,optional"`
}

// HTTPRequest is what is known of the request.
type HTTPRequest struct {
	UID       string `json:"uid,omitempty" parquet:"uid,optional"`
	UserAgent string `json:"user_agent,omitempty" parquet:"user_agent,optional"`
}

// API is the operation that was called.
type API struct {
	Operation string `json:"operation" parquet:"operation"`
}

// Object is a thing with an id and a name.
type Object struct {
	UID  string `json:"uid,omitempty" parquet:"uid,optional"`
	Name string `json:"name,omitempty" parquet:"name,optional"`
}

// Entity is what was created, changed or deleted.
type Entity struct {
	UID  string `json:"uid,omitempty" parquet:"uid,optional"`
	Type string `json:"type" parquet:"type"`
}

// Session is the session that a credential rests on.
type Session struct {
	UID string `json:"uid" parquet:"uid"`
}

// Unmapped is what OCSF has no word for.
type Unmapped struct {
	LeafHash     string   `json:"leaf_hash" parquet:"leaf_hash"`
	ZoneID       string   `json:"zone_id,omitempty" parquet:"zone_id,optional"`
	ClientID     string   `json:"client_id,omitempty" parquet:"client_id,optional"`
	CredentialID string   `json:"credential_id,omitempty" parquet:"credential_id,optional"`
	GrantType    string   `json:"grant_type,omitempty" parquet:"grant_type,optional"`
	JTI          string   `json:"jti,omitempty" parquet:"jti,optional"`
	PolicySet    string   `json:"policy_set_id,omitempty" parquet:"policy_set_id,optional"`
	PolicyNumber int32    `json:"policy_set_version,omitempty" parquet:"policy_set_version,optional"`
	Policies     []string `json:"policies,omitempty" parquet:"policies,list"`
	Requested    []string `json:"scopes_requested,omitempty" parquet:"scopes_requested,list"`
	Changes      []string `json:"changes,omitempty" parquet:"changes,list"`
	Chain        []string `json:"identity_chain,omitempty" parquet:"identity_chain,list"`
}

// forgetting is a Sealing that opens nothing.
type forgetting struct{ deputy.Sealing }

func (forgetting) OpenPersonal(context.Context, deputy.EventID, []byte) ([]byte, error) {
	return nil, deputy.Errorf(deputy.NotFound, "not asked for")
}

// Map returns an entry of a log as OCSF has it. sealing opens what it knows of
// people; nil leaves that out. An entry that cannot be read is there all the
// same, with its record alone.
func Map(ctx context.Context, organization deputy.OrganizationID, entry deputy.LogEntry, sealing deputy.Sealing, version string) (*Event, error) {
	if sealing == nil {
		sealing = forgetting{}
	}
	record := deputy.Record{OrganizationID: organization, Bytes: entry.Record, Seq: entry.Seq}
	read, err := idOf(entry.Record)
	if err != nil {
		read = &deputy.Event{}
	} else {
		record.ID = read.ID
		if read, err = record.Event(ctx, sealing); err != nil {
			return nil, err // the vault or the database is away: later
		}
	}
	e := fill(read)
	e.Metadata = Metadata{
		Version: Version, UID: string(read.ID), EventCode: read.Type, Correlation: read.RequestID, Tenant: string(organization),
		Sequence: entry.Seq, LogName: "audit", Product: Product{Name: "Deputy", Vendor: "Deputy", Version: version},
	}
	e.Unmapped.LeafHash, e.RawData = base64.StdEncoding.EncodeToString(entry.Leaf[:]), string(entry.Record)
	return e, nil
}

// fill says what an event is in the words of its class.
func fill(read *deputy.Event) *Event {
	to, _ := classify(read.Type)
	c := classes[to.class]
	e := &Event{
		ActivityID: to.activity, ActivityName: cmp.Or(c.activities[to.activity], "Other"),
		CategoryUID: c.category, CategoryName: categories[c.category], ClassUID: to.class, ClassName: c.name,
		TypeUID: int64(to.class)*100 + int64(to.activity), Time: read.Time.UnixMilli(),
		SeverityID: 1, Severity: "Informational", StatusID: 1, Status: "Success", Count: int32(read.Count),
		Actor: Actor{User: userOf(read.Actor)}, SrcEndpoint: Endpoint{read.IP},
		Privileges: read.ScopesGranted,
		Unmapped: Unmapped{
			ZoneID: string(read.ZoneID), ClientID: read.ClientID, CredentialID: string(read.CredentialID), GrantType: read.GrantType,
			JTI: string(read.JTI), Requested: read.ScopesRequested, Changes: read.Changes,
		},
	}
	if read.Outcome != deputy.Success {
		e.SeverityID, e.Severity, e.StatusID, e.Status = 2, "Low", 2, "Failure"
		e.StatusCode, e.StatusDetail = read.Error, read.ErrorDetail
	}
	if read.Actor.Type == "application" {
		e.Actor.AppUID = read.Actor.ID
	}
	for _, a := range read.Actor.IdentityChain {
		e.Unmapped.Chain = append(e.Unmapped.Chain, a.Type+":"+a.ID)
	}
	if p := read.Policy; p != nil {
		e.Unmapped.PolicySet, e.Unmapped.PolicyNumber, e.Unmapped.Policies = string(p.SetID), int32(p.Version), p.Determining
	}
	if read.RequestID != "" || read.UserAgent != "" {
		e.HTTPRequest = &HTTPRequest{read.RequestID, read.UserAgent}
	}
	if read.SessionID != "" {
		e.Session = &Session{string(read.SessionID)}
	}
	if r := read.Resource; r != nil {
		e.Service = &Object{string(r.ID), r.Identifier}
	}
	e.about(read, to.class)
	return e
}

// about fills in whom or what the event's class wants to know of.
func (e *Event) about(read *deputy.Event, class int32) {
	noun, _, _ := strings.Cut(read.Type, ":")
	target := deputy.Target{Type: strings.TrimSuffix(noun, "s")}
	if read.Target != nil {
		target = *read.Target
	}
	switch class {
	case classAPI:
		e.API = &API{read.Type}
	case classEntity:
		e.Entity = &Entity{target.ID, target.Type}
	case classGroup:
		e.Group = &Object{UID: target.ID}
	case classAuthentication:
		e.Protocol = 6 // OAuth 2.0
	}
	switch class {
	case classAuthentication, classAuthorize, classAccount, classAccess, classGroup:
		user := e.Actor.User
		if read.UserID != "" && string(read.UserID) != user.UID {
			user = User{UID: string(read.UserID), TypeID: 1, Type: "User"}
		}
		if class == classAccount && target.ID != "" {
			user = User{UID: target.ID, TypeID: 1, Type: "User"}
		}
		e.User = &user
	}
}

// userOf returns an actor as OCSF sees it.
func userOf(a deputy.Actor) User {
	u := User{UID: a.ID, Name: a.Identifier, TypeID: 99, Type: a.Type}
	switch a.Type {
	case "user":
		u.TypeID, u.Type = 1, "User"
	case "platform":
		u.TypeID, u.Type = 3, "System"
	case "":
		u.TypeID, u.Type = 0, "Unknown"
	}
	return u
}
