package oauth

import (
	"context"

	"github.com/go-json-experiment/json"

	"deputy/internal/deputy"
	"deputy/internal/vault"
)

// held is a credential that the zone keeps for whoever may have it, in place of
// a token that it signs.
type held struct {
	// use is what it rests on, beside what it is asked for with; empty: nothing.
	use deputy.Use
	// open decrypts it. The mint calls it, after the decision.
	open func(context.Context) (*credential, error)
	// reread brings what it rests on up to date in the committing transaction. It
	// is Stale when that is another than what was decided about.
	reread func(context.Context, deputy.Tx, *deputy.Standing) error
}

// vaulted finds the secret of the target, which is handed out as it is.
func (s *Server) vaulted(ctx context.Context, i *issuance) error {
	entity := deputy.ID(i.target.ID)
	kept, err := s.secretOf(ctx, i, entity)
	switch {
	case err == nil:
		i.standing.Secret = kept.ID
		i.event.Target = &deputy.Target{Type: "secret", ID: string(kept.ID)}
	case unlessAbsent(err) != nil:
		return err
	}
	if i.standing.Live(deputy.UseSecret, i.from.at) != nil {
		return refuse(codeInvalidTarget, "Resource %q has no secret attached.", i.target.identifier)
	}
	i.held = &held{
		use:  deputy.UseSecret,
		open: func(ctx context.Context) (*credential, error) { return s.openVaulted(ctx, kept) },
		reread: func(ctx context.Context, tx deputy.Tx, now *deputy.Standing) error {
			current, err := tx.Secret(ctx, i.zone.id, entity)
			if err != nil {
				return err
			}
			if current.ID != kept.ID || current.Revision != kept.Revision {
				return errMoved
			}
			now.Secret = current.ID
			return nil
		},
	}
	return nil
}

// openVaulted decrypts a secret.
func (s *Server) openVaulted(ctx context.Context, kept *deputy.VaultSecret) (*credential, error) {
	plain, err := s.builder.vault.Open(ctx, vault.SecretPlace(kept.ZoneID, kept.ID), kept.Sealed)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	var data struct {
		Token    string `json:"token"`
		Username string `json:"username"`
		Password string `json:"password"`
	}
	if err := json.Unmarshal(plain, &data); err != nil {
		return nil, err
	}
	if kept.Type == deputy.PasswordSecret {
		return &credential{token: data.Password, username: data.Username, kind: kept.Type}, nil
	}
	return &credential{token: data.Token}, nil
}
