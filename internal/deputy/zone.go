package deputy

import (
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Owner says who made an entity: Customer through the API, or Platform,
// whose entities the API refuses to change.
type Owner string

// The owners.
const (
	Platform Owner = "platform"
	Customer Owner = "customer"
)

// PlatformID owns the keys that belong to no organization and no zone.
const PlatformID ID = "platform"

// IssuerForm is how a zone's issuer is written. It is fixed when the zone is
// made, so that no later setting can change an issuer that tokens carry.
type IssuerForm string

// The forms: {public URL}/z/{zone id}, or {zone id}.{zone domain} with the
// public URL's scheme and port.
const (
	PathIssuer IssuerForm = "path"
	HostIssuer IssuerForm = "host"
)

// Zone is an isolated identity domain of an organization.
type Zone struct {
	ID             ZoneID
	OrganizationID OrganizationID
	Owner          Owner
	Slug           string // unique in the organization
	Name           string
	Description    *string

	DefaultGatewayApplicationID *ApplicationID
	DefaultResourceID           *ResourceID
	UserIdentityProviderID      *ProviderID
	RequiresInvitation          bool
	EncryptionKey               *EncryptionKey
	LoginFlow                   string // "default" or "identifier_first"

	PKCERequired  bool
	DCREnabled    bool
	CIMDEnabled   bool
	CIMDClientIDs []string
	SigningAlg    string // "RS256" or "ES256": what access tokens are signed with
	IssuerForm    IssuerForm

	KeyID ID // the data key that seals the zone's secrets
	// ActivePolicySetVersionID is the one set version that decides. A zone never
	// loses it by a call.
	ActivePolicySetVersionID ID
	// PolicySchema is the schema that clients preselect. It decides nothing.
	PolicySchema string
	// ShadowPolicySetVersionID is the set version that is asked as well, without
	// a say; empty when there is none.
	ShadowPolicySetVersionID ID

	// Revision counts every change that an issuance could depend on: of the zone
	// and of anything in it that a snapshot or cache may hold.
	Revision             int64
	DeletedAt            *time.Time // set: unusable and invisible, rows still being removed
	CreatedAt, UpdatedAt time.Time
}

// EncryptionKey is a customer's own key-encryption key.
type EncryptionKey struct {
	Type string // "aws"
	ARN  string
}

// customerKEK begins the names of customers' key-encryption keys.
const customerKEK = "aws:"

// keyARN is the name of a key of AWS KMS, or of an alias. Its region becomes a
// part of a host's name, so nothing else may be in it.
var keyARN = regexp.MustCompile(`^arn:aws(-[a-z]+)*:kms:([a-z]{2}(-[a-z]+)+-[0-9]{1,2}):[0-9]{12}:(key|alias)/[A-Za-z0-9/_-]{1,256}$`)

// KEK names what wraps the zone's data key, of which a customer's key names the
// organization too, for which alone it is good; empty is the root key.
func (z *Zone) KEK() string {
	if z.EncryptionKey == nil {
		return ""
	}
	return customerKEK + string(z.OrganizationID) + ":" + z.EncryptionKey.ARN
}

// CustomerKEK returns what the name of a customer's key-encryption key says; not
// ok for any other name.
func CustomerKEK(name string) (organization OrganizationID, arn, region string, ok bool) {
	rest, named := strings.CutPrefix(name, customerKEK)
	of, arn, _ := strings.Cut(rest, ":")
	m := keyARN.FindStringSubmatch(arn)
	if !named || m == nil {
		return "", "", "", false
	}
	return OrganizationID(of), arn, m[2], true
}

// Validate checks the zone's own invariants.
func (z *Zone) Validate() error {
	if err := SafeText("name", z.Name, 1, MaxName); err != nil {
		return err
	}
	if err := optionalText("description", z.Description); err != nil {
		return err
	}
	if z.LoginFlow != "default" && z.LoginFlow != "identifier_first" {
		return Bad("login_flow", "must be one of default, identifier_first")
	}
	if z.SigningAlg != "RS256" && z.SigningAlg != "ES256" {
		return Bad("protocols.oauth2.signing_alg", "must be one of RS256, ES256")
	}
	if k := z.EncryptionKey; k != nil {
		if k.Type != "aws" {
			return Bad("encryption_key.type", "must be aws")
		}
		if !keyARN.MatchString(k.ARN) {
			return Bad("encryption_key.arn", "must name a key of AWS KMS, such as arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab")
		}
	}
	for i, pattern := range z.CIMDClientIDs {
		if problem := clientIDPattern(pattern); problem != "" {
			return Bad("protocols.oauth2.cimd.allowed_client_ids["+strconv.Itoa(i)+"]", "%s", problem)
		}
	}
	return nil
}

// clientIDPattern says what is wrong with a pattern unless it is "*", an exact
// URL, or an origin whose first host label is the single "*".
func clientIDPattern(p string) (problem string) {
	if p == "*" {
		return ""
	}
	u, err := url.Parse(strings.Replace(p, "://*.", "://wildcard.", 1))
	if err != nil || u.Scheme == "" || u.Host == "" || u.User != nil || u.Fragment != "" {
		return "must be *, a URL, or an origin such as https://*.example.com"
	}
	wild := strings.Contains(p, "://*.")
	parent, _ := strings.CutPrefix(u.Hostname(), "wildcard.")
	if strings.Contains(u.String(), "*") || wild && (u.Path != "" || u.RawQuery != "" || strings.Trim(parent, ".") != parent || parent == "") {
		return "may hold one *, standing for the first label of an origin's host"
	}
	return ""
}

// Slugs and identifiers of what every zone is born with.
const (
	STSProviderName     = "Zone Provider"
	VaultProviderName   = "Zone Vault"
	UserInfoSlug        = "openid-connect-userinfo"
	EventsSlug          = "events"
	EventsResourceLabel = "Events"
)
