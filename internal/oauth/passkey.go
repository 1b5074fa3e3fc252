package oauth

import (
	"context"
	"encoding/base64"
	"errors"
	"net"
	"net/url"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"deputy/internal/deputy"
	"deputy/internal/pages"
)

// Passkeys (Web Authentication Level 3). Browsers bind one to the host of the
// issuer, which zones in path form share; that it is this zone's is seen to
// here, by where it is looked for.

// relying returns the zone as authenticators see it, or nil where passkeys
// cannot be: at an address that is no name.
func (s *Server) relying(snap *snapshot) (*webauthn.WebAuthn, error) {
	u, err := url.Parse(snap.issuer)
	if err != nil || net.ParseIP(u.Hostname()) != nil {
		return nil, err
	}
	return webauthn.New(&webauthn.Config{
		RPID: u.Hostname(), RPDisplayName: snap.zone.Name, RPOrigins: []string{u.Scheme + "://" + u.Host},
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			ResidentKey: protocol.ResidentKeyRequirementRequired, UserVerification: protocol.VerificationRequired,
		},
		Timeouts: webauthn.TimeoutsConfig{
			Login:        webauthn.TimeoutConfig{Enforce: true, Timeout: loginLives, TimeoutUVD: loginLives},
			Registration: webauthn.TimeoutConfig{Enforce: true, Timeout: loginLives, TimeoutUVD: loginLives},
		},
	})
}

// holder is a person as authenticators see them.
type holder struct {
	user        *deputy.User
	credentials []webauthn.Credential
}

func (h *holder) WebAuthnID() []byte                         { return []byte(h.user.ID) }
func (h *holder) WebAuthnName() string                       { return displayName(h.user) }
func (h *holder) WebAuthnDisplayName() string                { return displayName(h.user) }
func (h *holder) WebAuthnCredentials() []webauthn.Credential { return h.credentials }

// displayName returns what a person recognizes themselves by.
func displayName(u *deputy.User) string {
	if u.Email != "" {
		return u.Email
	}
	return u.Identifier
}

// passkeyOptions returns what the page's script asks an authenticator for, and
// keeps the challenge in it; empty where there are no passkeys. A transaction
// keeps its challenge until it is answered.
func (s *Server) passkeyOptions(v *visitor) (string, error) {
	rp, err := s.relying(v.snap)
	if rp == nil || err != nil || v.zone.manages() {
		return "", err
	}
	if kept := v.login.note(notePasskey); kept != "" {
		var c challenge
		if err := json.Unmarshal([]byte(kept), &c); err == nil && s.now().Before(c.Session.Expires) {
			return c.Options, nil
		}
	}
	options, session, err := rp.BeginDiscoverableLogin()
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(options)
	if err != nil {
		return "", err
	}
	session.Expires = s.now().Add(loginLives)
	kept, err := json.Marshal(challenge{string(text), session})
	if err != nil {
		return "", err
	}
	v.login.setNote(notePasskey, string(kept))
	return string(text), s.save(v.r.Context(), v.w, v.login)
}

// challenge is what an authenticator was asked.
type challenge struct {
	Options string                `json:"options"`
	Session *webauthn.SessionData `json:"session"`
}

// errPasskey says that a passkey does not sign anybody in.
var errPasskey = errors.New("oauth: the passkey is not one that signs in here")

// checkPasskey signs in whose authenticator has answered the challenge.
func (s *Server) checkPasskey(v *visitor) {
	user, key, err := s.passkeyOf(v)
	if err != nil {
		s.log.DebugContext(v.from.ctx, "a passkey was refused", "zone_id", string(v.zone.id), "request_id", v.from.requestID, "cause", err)
		s.failures.count(errClient, failure{v.snap.zone.OrganizationID, v.zone.id, v.from.address, ""})
		v.login.setNote(notePasskey, "")
		p := pages.Identifier{Client: s.clientName(v), SignUp: !v.snap.zone.RequiresInvitation, Problem: pages.PasskeyFailed}
		if p.Passkey, err = s.passkeyOptions(v); err != nil {
			s.fail(v, err)
			return
		}
		s.problem(v, p.Problem, p)
		return
	}
	v.login.setNote(notePasskey, "")
	s.enter(v, proof{user: user}, nil, func(ctx context.Context, tx deputy.Tx) error {
		now := tx.Now()
		_, err := tx.Passkeys().Update(ctx, v.in(), key.ID, func(p *deputy.Passkey) error {
			p.Credential, p.LastUsedAt = key.Credential, &now
			return nil
		})
		return err
	})
}

// passkeyOf returns whose passkey has answered the challenge of the
// transaction, and the passkey as it is to be kept.
func (s *Server) passkeyOf(v *visitor) (*deputy.User, *deputy.Passkey, error) {
	ctx := v.r.Context()
	rp, err := s.relying(v.snap)
	if rp == nil || err != nil {
		return nil, nil, errors.Join(errPasskey, err)
	}
	var c challenge
	if err := json.Unmarshal([]byte(v.login.note(notePasskey)), &c); err != nil || c.Session == nil {
		return nil, nil, errPasskey
	}
	c.Session.Expires = time.Time{} // the transaction is what ends it
	answer, err := protocol.ParseCredentialRequestResponseBytes([]byte(v.text("credential")))
	if err != nil {
		return nil, nil, err
	}
	var h *holder
	var key *deputy.Passkey
	_, credential, err := rp.ValidatePasskeyLogin(func(id, handle []byte) (webauthn.User, error) {
		key, err = s.store.Passkeys().Find(ctx, v.in(), "credential_id", base64.RawURLEncoding.EncodeToString(id))
		if err != nil {
			return nil, err
		}
		if string(key.UserID) != string(handle) {
			return nil, errPasskey
		}
		h, err = s.holder(ctx, v, key.UserID)
		return h, err
	}, *c.Session, answer)
	if err != nil {
		return nil, nil, err
	}
	if credential.Authenticator.CloneWarning {
		return nil, nil, errPasskey
	}
	key.Credential, err = json.Marshal(credential)
	return h.user, key, err
}

// holder returns a person with their passkeys.
func (s *Server) holder(ctx context.Context, v *visitor, id deputy.UserID) (*holder, error) {
	user, err := s.store.Users().Get(ctx, v.in(), deputy.ID(id))
	if err != nil {
		return nil, err
	}
	keys, err := s.passkeys(ctx, v, id)
	if err != nil {
		return nil, err
	}
	h := &holder{user: user}
	for _, k := range keys {
		var c webauthn.Credential
		if err := json.Unmarshal(k.Credential, &c); err != nil {
			return nil, err
		}
		h.credentials = append(h.credentials, c)
	}
	return h, nil
}

func (s *Server) passkeys(ctx context.Context, v *visitor, user deputy.UserID) ([]*deputy.Passkey, error) {
	in := v.in()
	in.Parent = deputy.ID(user)
	list, err := s.store.Passkeys().List(ctx, in, deputy.Query{All: true})
	if err != nil {
		return nil, err
	}
	return list.Items, nil
}
