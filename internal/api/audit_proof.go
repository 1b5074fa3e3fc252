package api

import (
	"context"
	"fmt"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"deputy/internal/deputy"
	"deputy/internal/evidence"
	"deputy/internal/keys"
)

// AuditCheckpoint is the state of an organization's log, signed by the platform.
type AuditCheckpoint struct {
	OrganizationID string       `json:"organization_id"`
	TreeSize       int64        `json:"tree_size" doc:"How many events the log has."`
	RootHash       []byte       `json:"root_hash" doc:"Root of the Merkle tree over their leaf hashes (RFC 6962, section 2.1), base64."`
	Time           Time         `json:"time"`
	Checkpoint     string       `json:"checkpoint" doc:"The same, as a compact JWS of the type audit-checkpoint+jwt."`
	Key            evidence.JWK `json:"key" doc:"The platform's public key (JWK) that it can be read with."`
	Consistency    [][]byte     `json:"consistency,omitempty" doc:"With since_size: hashes that prove that the log continues what it was then (RFC 6962, section 2.1.2)."`
}

// AuditProof proves that one event is in the log of a checkpoint.
type AuditProof struct {
	Record     string   `json:"record" doc:"The event as the log keeps it. The leaf hash is the SHA-256 of a zero byte and this text. What it knows of a person is sealed."`
	LeafIndex  int64    `json:"leaf_index" doc:"Where it is, from 0."`
	Hashes     [][]byte `json:"hashes" doc:"From the leaf up (RFC 6962, section 2.1.1), base64."`
	Checkpoint string   `json:"checkpoint" doc:"A compact JWS; see the audit checkpoint."`
}

// AuditEntry is an event of an organization's log, or where it is and its hash.
type AuditEntry struct {
	Seq      int64  `json:"seq" doc:"Its place in the log, from 1."`
	LeafHash []byte `json:"leaf_hash" doc:"base64"`
	Record   string `json:"record,omitzero" doc:"The event as the log keeps it; absent where it is not one that was asked for."`
}

// AuditEntries is a stretch of a log.
type AuditEntries struct {
	Items []AuditEntry `json:"items"`
}

// maxEntries bounds a stretch of a log.
const maxEntries = 1000

func integerParam(name, doc string) *huma.Param {
	return queryParam(name, doc, &huma.Schema{Type: huma.TypeInteger})
}

// mountProofs mounts what proves the log of a zone or an organization, at the
// path above it.
func (a *API) mountProofs(id, path, what string) {
	mount(a, operation{
		ID: "get-" + id + "-audit-checkpoint", Method: http.MethodGet, Path: path + "/audit-checkpoint", Action: "audit_events:list", Tag: "Audit events",
		Summary: "Get the signed state of the log of " + what, Status: http.StatusOK, Query: []*huma.Param{integerParam("since_size", "An earlier tree_size.")},
		Doc: "Keep it: an export of any later time can be checked against it. A zone's events lie in the log of its organization.",
	}, a.getCheckpoint)
	mount(a, operation{
		ID: "list-" + id + "-audit-entries", Method: http.MethodGet, Path: path + "/audit-entries", Action: "audit_events:list", Tag: "Audit events",
		Summary: "List the log of " + what + " as it is kept", Status: http.StatusOK,
		Query: []*huma.Param{
			integerParam("from", "The first sequence number; 1 unless said."),
			integerParam("limit", fmt.Sprintf("1 to %d; %d unless said.", maxEntries, defaultLimit)),
			parameter{Name: "since", Doc: "Show no events before this time (RFC 3339)."}.document(),
		},
		Doc: "In the order of the log, without a gap: events that are not asked for are there by their hash. This is what an export is made of.",
	}, a.listEntries)
}

func (a *API) getCheckpoint(ctx context.Context, c *call, _ *empty) (*output[AuditCheckpoint], error) {
	since, err := numberOf(c, "since_size", 0, 0, 1<<53)
	if err != nil {
		return nil, err
	}
	state, err := a.store.LogState(ctx, c.caller.Organization, since)
	if err != nil {
		return nil, err
	}
	p, signed, err := a.checkpoint(ctx, c.caller.Organization, state)
	if err != nil {
		return nil, err
	}
	return &output[AuditCheckpoint]{AuditCheckpoint{
		OrganizationID: string(p.Organization), TreeSize: p.Size, RootHash: p.Root[:], Time: Time(p.Time),
		Checkpoint: signed.Checkpoint, Key: signed.Key, Consistency: hashes(state.Proof),
	}}, nil
}

func (a *API) listEntries(ctx context.Context, c *call, _ *empty) (*output[AuditEntries], error) {
	from, err := numberOf(c, "from", 1, 1, 1<<53)
	if err != nil {
		return nil, err
	}
	limit, err := numberOf(c, "limit", defaultLimit, 1, maxEntries)
	if err != nil {
		return nil, err
	}
	since, err := timeOf(c, "since")
	if err != nil {
		return nil, err
	}
	q := deputy.LogQuery{Organization: c.caller.Organization, Since: since, From: from, Limit: int(limit)}
	if c.zone != nil {
		q.Zone = c.zone.ID
	}
	entries, err := a.store.LogEntries(ctx, q)
	if err != nil {
		return nil, err
	}
	out := AuditEntries{Items: make([]AuditEntry, 0, len(entries))}
	for _, e := range entries {
		out.Items = append(out.Items, AuditEntry{e.Seq, e.Leaf[:], string(e.Record)})
	}
	return &output[AuditEntries]{out}, nil
}

// proof returns what proves a record in the log.
func (a *API) proof(ctx context.Context, r *deputy.Record, state deputy.LogState) (*AuditProof, error) {
	_, signed, err := a.checkpoint(ctx, r.OrganizationID, state)
	if err != nil {
		return nil, err
	}
	return &AuditProof{string(r.Bytes), r.Seq - 1, hashes(state.Proof), signed.Checkpoint}, nil
}

// checkpoint signs the state of a log with the platform's key.
func (a *API) checkpoint(ctx context.Context, organization deputy.OrganizationID, state deputy.LogState) (p evidence.Checkpoint, s evidence.Signed, err error) {
	rows, err := a.store.SigningKeys(ctx, deputy.PlatformID)
	if err != nil {
		return p, s, err
	}
	row, ok := keys.Active(rows, deputy.ES256)
	if !ok {
		return p, s, deputy.Errorf(deputy.Unavailable, "the platform has no key that signs checkpoints")
	}
	signer, err := keys.Load(ctx, a.vault, row)
	if err != nil {
		return p, s, err
	}
	set, err := keys.NewSet([]deputy.SigningKey{row}, a.now())
	if err != nil {
		return p, s, err
	}
	p = evidence.Checkpoint{Organization: organization, Size: state.Size, Root: state.Root, Time: a.now()}
	token, err := p.Sign(signer)
	if err != nil {
		return p, s, err
	}
	s, err = evidence.NewSigned(token, set.JWKS())
	return p, s, err
}

func hashes(proof [][32]byte) [][]byte {
	out := make([][]byte, 0, len(proof))
	for _, h := range proof {
		out = append(out, h[:])
	}
	return out
}

// numberOf returns the value of a whole number in the query, or what it is
// unless said.
func numberOf(c *call, name string, unless, least, most int64) (int64, error) {
	value := c.query.Get(name)
	if value == "" {
		return unless, nil
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < least || n > most {
		return 0, deputy.Bad(name, "must be a whole number from %d to %d", least, most)
	}
	return n, nil
}
