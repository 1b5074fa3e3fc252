package sink

import (
	"encoding/json"
	"strings"

	"deputy/internal/deputy"
)

// The classes of OCSF that our events fall into.
const (
	classAccount        = 3001
	classAuthentication = 3002
	classAuthorize      = 3003
	classEntity         = 3004
	classAccess         = 3005
	classGroup          = 3006
	classAPI            = 6003
)

// class is what OCSF says of a class.
type class struct {
	category   int32
	name       string
	activities map[int32]string
}

var categories = map[int32]string{3: "Identity & Access Management", 6: "Application Activity"}

var crud = map[int32]string{1: "Create", 2: "Read", 3: "Update", 4: "Delete", other: "Other"}

// other is the activity that OCSF has no name for.
const other = 99

var classes = map[int32]class{
	classAccount:        {3, "Account Change", map[int32]string{1: "Create", 3: "Password Change", 4: "Password Reset", 6: "Delete", other: "Other"}},
	classAuthentication: {3, "Authentication", map[int32]string{1: "Logon", 2: "Logoff", 3: "Authentication Ticket", 6: "Preauth", other: "Other"}},
	classAuthorize:      {3, "Authorize Session", map[int32]string{1: "Assign Privileges", 2: "Assign Groups", other: "Other"}},
	classEntity:         {3, "Entity Management", crud},
	classAccess:         {3, "User Access Management", map[int32]string{1: "Assign Privileges", 2: "Revoke Privileges", other: "Other"}},
	classGroup:          {3, "Group Management", map[int32]string{1: "Assign Privileges", 2: "Revoke Privileges", 3: "Add User", 4: "Remove User", 5: "Delete", 6: "Create", other: "Other"}},
	classAPI:            {6, "API Activity", crud},
}

// mapping is the class and the activity of a type of event.
type mapping struct{ class, activity int32 }

// mappings are the types of events whose class does not follow from their noun.
var mappings = map[string]mapping{
	"clients:authenticate":      {classAuthentication, 1},
	"users:login":               {classAuthentication, 1},
	"users:logout":              {classAuthentication, 2},
	"users:challenge":           {classAuthentication, 6},
	"users:authorize":           {classAuthorize, 1},
	"credentials:issue":         {classAuthorize, 1},
	"organizations:token":       {classAuthorize, 1},
	"credentials:revoke":        {classAccess, 2},
	"sessions:revoke":           {classAccess, 2},
	"sessions:delete":           {classAccess, 2},
	"consents:create":           {classAccess, 1},
	"consents:delete":           {classAccess, 2},
	"delegated_grants:create":   {classAccess, 1},
	"delegated_grants:revoke":   {classAccess, 2},
	"delegated_grants:delete":   {classAccess, 2},
	"delegated_grants:expire":   {classAccess, 2},
	"delegated_grants:refresh":  {classAuthentication, 3},
	"role_assignments:create":   {classAccess, 1},
	"role_assignments:delete":   {classAccess, 2},
	"zone_members:create":       {classAccess, 1},
	"zone_members:update":       {classAccess, 1},
	"zone_members:delete":       {classAccess, 2},
	"invitations:create":        {classAccess, 1},
	"invitations:accept":        {classAccess, 1},
	"invitations:revoke":        {classAccess, 2},
	"groups:create":             {classGroup, 6},
	"groups:update":             {classGroup, other},
	"groups:delete":             {classGroup, 5},
	"group_members:put":         {classGroup, 3},
	"group_members:delete":      {classGroup, 4},
	"users:create":              {classAccount, 1},
	"users:update":              {classAccount, other},
	"users:delete":              {classAccount, 6},
	"users:verify":              {classAccount, other},
	"users:reset_password":      {classAccount, 4},
	"users:change_passkeys":     {classAccount, other},
	"organization_users:create": {classAccount, 1},
	"organization_users:update": {classAccount, other},
	"organization_users:delete": {classAccount, 6},
	"mails:send":                {classAPI, other},
}

// verbs are the activities on any other noun: those that change are of Entity
// Management, those that ask or compute of API Activity.
var verbs = map[string]mapping{
	"create": {classEntity, 1}, "put": {classEntity, 1}, "register": {classEntity, 1}, "save": {classEntity, 3}, "adopt": {classEntity, 1},
	"update": {classEntity, 3}, "change": {classEntity, 3}, "activate": {classEntity, 3}, "shadow": {classEntity, 3}, "unshadow": {classEntity, 3},
	"publish": {classEntity, 3}, "apply": {classEntity, 3}, "rotate": {classEntity, 3}, "release": {classEntity, 3}, "sign": {classEntity, 3},
	"delete": {classEntity, 4}, "archive": {classEntity, 4}, "revoke": {classEntity, 4}, "purge": {classEntity, 4}, "withdraw": {classEntity, 4},
	"read": {classAPI, 2}, "list": {classAPI, 2}, "test": {classAPI, other}, "replay": {classAPI, other}, "evaluate": {classAPI, other},
	"validate": {classAPI, other}, "preview": {classAPI, other}, "start": {classAPI, other}, "complete": {classAPI, other}, "fail": {classAPI, other},
	"push": {classAPI, other}, "verify": {classAPI, other}, "retry": {classAPI, other}, "cancel": {classAPI, other},
}

// classify returns what a type of event is for OCSF; known is false for one that
// the tables do not have, which is activity of the API like any other.
func classify(kind string) (to mapping, known bool) {
	if to, known = mappings[kind]; known {
		return to, true
	}
	_, verb, _ := strings.Cut(kind, ":")
	if to, known = verbs[verb]; known {
		return to, true
	}
	return mapping{classAPI, other}, false
}

// idOf reads what is not sealed of a record.
func idOf(record []byte) (*deputy.Event, error) {
	var e deputy.Event
	err := json.Unmarshal(record, &e)
	return &e, err
}
