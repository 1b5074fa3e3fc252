package store

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"deputy/internal/deputy"
)

var sessions = declare(table[deputy.Session]{
	relation: relation{
		name: "sessions", noun: "session", scope: zoned,
		stretches: []string{"view"},
		lapses:    &runsOut{index: "sessions_due"},
		indexes: []served{
			{deputy.Equals, "user_id", "sessions_user"}, {deputy.InState, "status", "sessions_status"}, {deputy.Equals, "view", "sessions_view"},
		},
	},
	fields: func(s *deputy.Session) []field {
		return []field{
			{"zone_id", &s.ZoneID},
			{"id", &s.ID},
			{"organization_id", &s.OrganizationID},
			{"session_type", &s.Type},
			{"status", &s.Status},
			{"parent_id", &s.ParentID},
			{"depth", &s.Depth},
			{"user_id", &s.UserID},
			{"application_id", &s.ApplicationID},
			{"user_agent_id", &s.UserAgentID},
			{"credential_id", &s.CredentialID},
			{"provider_id", &s.ProviderID},
			{"name", &s.Name},
			{"issuer", &s.Issuer},
			{"subject", &s.Subject},
			{"session_data", raw{&s.Data}},
			{"authenticated_at", micros{&s.AuthenticatedAt}},
			{"expires_at", micros{&s.ExpiresAt}},
			{"created_at", micros{&s.CreatedAt}},
			{"updated_at", micros{&s.UpdatedAt}},
			{"revision", &s.Revision},
		}
	},
	search: func(s *deputy.Session) []field { return []field{{"view", text(s.View())}} },
	stamp:  func(s *deputy.Session) (*int64, *time.Time) { return &s.Revision, &s.UpdatedAt },
	before: measureDepth,
	follow: func(ctx context.Context, x *tx, s *deputy.Session) error {
		if s.Status != deputy.Revoked {
			return nil
		}
		if err := x.sessionsOver(ctx, s.ZoneID, s.UserID, string(s.ID)); err != nil {
			return err
		}
		return revokeBelow(ctx, x, s.ZoneID, s.UserID, []string{string(s.ID)})
	},
	cascade: func(ctx context.Context, x *tx, s *deputy.Session) error {
		if err := x.sessionsOver(ctx, s.ZoneID, s.UserID, string(s.ID)); err != nil {
			return err
		}
		return endChildren(ctx, x, s.ZoneID, s.UserID, []string{string(s.ID)})
	},
})

// measureDepth counts the sessions above a new one.
func measureDepth(ctx context.Context, x *tx, s *deputy.Session) error {
	s.Depth = 0
	if s.ParentID == nil {
		return nil
	}
	above := 0 // if the parent is gone
	err := row(ctx, x, "SELECT depth FROM sessions WHERE zone_id = $1 AND id = $2", []any{string(s.ZoneID), string(*s.ParentID)}, &above)
	s.Depth = above + 1
	return missing(err, nil)
}

// endChildren removes the sessions below some, generation by generation.
func endChildren(ctx context.Context, x *tx, zone deputy.ZoneID, user *deputy.UserID, parents []string) error {
	for len(parents) > 0 {
		var next []string
		for batch := range slices.Chunk(parents, 100) {
			ids, err := column[string](ctx, x, "DELETE FROM sessions WHERE zone_id = $1 AND parent_id IN ("+
				placeholders(2, len(batch))+") RETURNING id", append([]any{string(zone)}, texts(batch)...)...)
			if err == nil {
				err = x.sessionsOver(ctx, zone, user, ids...)
			}
			if err != nil {
				return err
			}
			next = append(next, ids...)
		}
		parents = next
	}
	return nil
}

// maxChain bounds how far a chain of sessions is followed: no flow makes one
// longer than three.
const maxChain = 16

// sessionChain reads a session, its parents and its user, as far as they were not
// foreseen.
func sessionChain(ctx context.Context, r querier, seen *foreseen, zone deputy.ZoneID, id deputy.SessionID) ([]*deputy.Session, *deputy.User, error) {
	var chain []*deputy.Session
	for next := &id; next != nil && len(chain) < maxChain; {
		s, err := seen.session(ctx, r, zone, *next)
		if deputy.KindOf(err) == deputy.NotFound && len(chain) > 0 {
			chain = append(chain, nil)
			break
		}
		if err != nil {
			return nil, nil, err
		}
		chain = append(chain, s)
		next = s.ParentID
	}
	if chain[0].UserID == nil {
		return chain, nil, nil
	}
	u, err := seen.user(ctx, r, zone, *chain[0].UserID)
	if deputy.KindOf(err) == deputy.NotFound {
		return chain, nil, nil
	}
	return chain, u, err
}

// touchedSession writes the application session of a credential: a new one, or
// the new times of the one that is active. It writes nothing where that has run
// out, which lapsedSession writes down.
var touchedSession = "INSERT INTO sessions (" + strings.Join(sessions.columns, ", ") + ") VALUES (" +
	placeholders(1, len(sessions.columns)) + ") ON CONFLICT (zone_id, credential_id) WHERE session_type = 'application' AND status = 'active'" +
	" DO UPDATE SET authenticated_at = excluded.authenticated_at, expires_at = excluded.expires_at," +
	" updated_at = excluded.updated_at, revision = sessions.revision + 1" +
	" WHERE sessions.expires_at > " + placeholders(len(sessions.columns)+1, 1)

var lapsedSession = "UPDATE sessions" + runOut +
	" WHERE zone_id = $1 AND credential_id = $2 AND session_type = 'application' AND status = 'active' AND expires_at <= $3"

// touches are the uses of credentials noted in one transaction.
type touches struct {
	sessions []*deputy.Session
	accounts []touchedAccount
	entities []usedEntity
}

type touchedAccount struct {
	organization deputy.OrganizationID
	id           deputy.ID
	at           time.Time
}

// flush writes each touched row once, in an order that every node keeps, so
// that no two transactions wait for each other.
func (t *touches) flush(ctx context.Context, q querier, now time.Time) error {
	slices.SortStableFunc(t.sessions, func(a, b *deputy.Session) int {
		return cmp.Or(cmp.Compare(a.ZoneID, b.ZoneID), cmp.Compare(*a.CredentialID, *b.CredentialID))
	})
	for i, s := range t.sessions {
		if i+1 < len(t.sessions) && s.ZoneID == t.sessions[i+1].ZoneID && *s.CredentialID == *t.sessions[i+1].CredentialID {
			continue // the last one counts
		}
		values, err := sessions.values(s)
		if err != nil {
			return err
		}
		values = append(values, now.UnixMicro())
		n, err := q.exec(ctx, touchedSession, values...)
		if err == nil && n == 0 {
			if _, err = q.exec(ctx, lapsedSession, string(s.ZoneID), string(*s.CredentialID), now.UnixMicro()); err == nil {
				_, err = q.exec(ctx, touchedSession, values...)
			}
		}
		if err != nil {
			return err
		}
	}
	slices.SortStableFunc(t.accounts, func(a, b touchedAccount) int {
		return cmp.Or(cmp.Compare(a.organization, b.organization), cmp.Compare(a.id, b.id), a.at.Compare(b.at))
	})
	for i, a := range t.accounts {
		if i+1 < len(t.accounts) && a.organization == t.accounts[i+1].organization && a.id == t.accounts[i+1].id {
			continue
		}
		if _, err := q.exec(ctx, "UPDATE service_account_credentials SET last_used_at = $1 WHERE organization_id = $2 AND id = $3",
			a.at.UnixMicro(), string(a.organization), string(a.id)); err != nil {
			return err
		}
	}
	return flushEntities(ctx, q, t.entities, now)
}
