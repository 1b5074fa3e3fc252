package store

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"unicode/utf8"

	"deputy/internal/deputy"
)

// subjectPrefix returns what a pattern is found by: the text before its first
// star, as far as an index holds it. It is nil for what is no pattern.
func subjectPrefix(c *deputy.Credential) **string {
	var prefix *string
	if c.Type == deputy.TokenCredential && c.IsPattern() {
		literal, _, _ := strings.Cut(*c.Subject, "*")
		literal = cut(literal, maxKey)
		prefix = &literal
	}
	return &prefix
}

const ofProvider = "zone_id = $1 AND provider_id = $2 AND type = 'token' AND "

// workload returns the token credentials of a provider that fit a subject best:
// see deputy.View.
func workload(ctx context.Context, r querier, zone deputy.ZoneID, provider deputy.ProviderID, subject string) ([]*deputy.Credential, error) {
	named := func(identifier string) ([]*deputy.Credential, error) {
		return credentials.many(ctx, r, ofProvider+"identifier_key = $3 ORDER BY id", string(zone), string(provider), key(identifier))
	}
	found, err := named(subject)
	if err == nil && len(found) == 0 {
		found, err = patterns(ctx, r, zone, provider, subject)
	}
	if err == nil && len(found) == 0 {
		found, err = named(deputy.AnySubject)
	}
	return found, err
}

// patterns returns those of the patterns matching the subject that have the
// longest text before their first star. It goes from the longest possible such
// text to shorter ones, and each step finds the next that exists, so that very
// many patterns cost no more than few.
func patterns(ctx context.Context, r querier, zone deputy.ZoneID, provider deputy.ProviderID, subject string) ([]*deputy.Credential, error) {
	for reach := cut(subject, maxKey); ; {
		var prefix string
		err := row(ctx, r, "SELECT subject_prefix FROM application_credentials WHERE "+ofProvider+
			"subject_prefix <= $3 ORDER BY subject_prefix DESC LIMIT 1", []any{string(zone), string(provider), reach}, &prefix)
		if errors.Is(err, sql.ErrNoRows) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if !strings.HasPrefix(subject, prefix) {
			// What lies between is no beginning of the subject either.
			reach = common(reach, prefix)
			continue
		}
		all, err := credentials.many(ctx, r, ofProvider+"subject_prefix = $3 ORDER BY id", string(zone), string(provider), prefix)
		if found := deputy.BestPatterns(all, subject); err != nil || len(found) > 0 || prefix == "" {
			return found, err
		}
		_, last := utf8.DecodeLastRuneInString(prefix)
		reach = prefix[:len(prefix)-last]
	}
}

// common returns what two texts begin with alike, in whole characters.
func common(a, b string) string {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	for n > 0 && n < len(a) && !utf8.RuneStart(a[n]) {
		n--
	}
	return a[:n]
}

func (s *Store) Workload(ctx context.Context, zone deputy.ZoneID, provider deputy.ProviderID, subject string) (found []*deputy.Credential, err error) {
	err = s.readers.consistent(ctx, func(q querier) (err error) {
		found, err = workload(ctx, q, zone, provider, subject)
		return err
	})
	return found, s.fault(err)
}
