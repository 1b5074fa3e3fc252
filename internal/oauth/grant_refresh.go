package oauth

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"deputy/internal/deputy"
	"deputy/internal/vault"
)

// refreshGrant gives a client another token, and the next refresh token in place
// of the one presented (RFC 6749 §6, RFC 9700 §4.14).
//
// The tokens of one authorization are a family, of which the newest is good. It
// is stored sealed under a key that only the one before opens, so that a client
// whose answer was lost, or one whose processes refresh at the same time, gets
// the same successor again: for refreshAgain, and only until it was used. A
// token that is presented later than that was stolen or is held twice, and ends
// the family.
var refreshGrant = grant{public: true, present: presentRefresh, agree: agreeRefresh}

const (
	// refreshAgain is how long a token that was replaced still gives its
	// successor.
	refreshAgain = 30 * time.Second
	// refreshLives is how long a family lives at most; the session may end it
	// before.
	refreshLives = 30 * 24 * time.Hour
	// maxTurns bounds the times of replacement that are kept, all within
	// refreshAgain.
	maxTurns = 256
)

// errRefresh is the answer to a refresh token that is not good, for whatever
// reason.
var errRefresh = refuse(codeInvalidGrant, "The refresh token is not valid here.")

// refresh is a step from one refresh token of a family to the next.
type refresh struct {
	next   deputy.Secret
	family *deputy.RefreshFamily // as it was read; of a new one, what is to be made
	// presented is the hash of the token presented; again says that it was
	// replaced before and gives its successor once more.
	presented deputy.SecretHash
	again     bool
	sealed    []byte
	made      *deputy.RefreshFamily // as it was written, if it was
}

// refreshText is a refresh token, taken apart: whose family, which one of it, a
// secret, and a tag that nobody can make up without the family's key.
type refreshText struct {
	session    deputy.SessionID
	generation int64
	tag        string
	tagged     string // all before the tag
}

const refreshPrefix = "drt"

// newRefreshToken returns the refresh token of a generation.
func newRefreshToken(f *deputy.RefreshFamily, generation int64) deputy.Secret {
	tagged := refreshPrefix + "_" + string(f.SessionID) + "_" + strconv.FormatInt(generation, 36) + "_" + deputy.NewSecret().Reveal()
	return deputy.Conceal(tagged + "_" + refreshTag(f.Tag, tagged))
}

func refreshTag(key []byte, tagged string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(tagged))
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

// readRefreshToken takes a token apart; ok is false when it is none.
func readRefreshToken(token deputy.Secret) (t refreshText, ok bool) {
	text := token.Reveal()
	parts := strings.Split(text, "_")
	if len(parts) != 5 || parts[0] != refreshPrefix || !deputy.ID(parts[1]).Valid() {
		return t, false
	}
	generation, err := strconv.ParseInt(parts[2], 36, 64)
	if err != nil || generation < 1 {
		return t, false
	}
	return refreshText{
		session: deputy.SessionID(parts[1]), generation: generation, tag: parts[4],
		tagged: text[:len(text)-len(parts[4])-1],
	}, true
}

// made reports whether a token was made for the family.
func made(f *deputy.RefreshFamily, t refreshText) bool {
	return hmac.Equal([]byte(refreshTag(f.Tag, t.tagged)), []byte(t.tag))
}

// firstRefresh returns the step to the first token of a new family.
func firstRefresh(session deputy.SessionID) *refresh {
	tag := make([]byte, 32)
	if _, err := rand.Read(tag); err != nil {
		panic(err) // crypto/rand does not fail on supported systems
	}
	f := &deputy.RefreshFamily{SessionID: session, Generation: 1, Tag: tag}
	return &refresh{family: f, next: newRefreshToken(f, 1)}
}

// begin makes the family with its first token.
func (r *refresh) begin(ctx context.Context, tx deputy.Tx, i *issuance) error {
	data, err := json.Marshal(i.agreed)
	if err != nil {
		return err
	}
	f := *r.family
	f.ZoneID, f.ClientID, f.Data, f.Current = i.zone.id, i.client.id, data, deputy.HashSecret(r.next)
	f.CreatedAt = tx.Now()
	f.ExpiresAt = f.CreatedAt.Add(refreshLives)
	if end := i.agreed.session.ExpiresAt; end.Before(f.ExpiresAt) {
		f.ExpiresAt = end
	}
	r.made = &f
	return tx.RefreshFamilies().Insert(ctx, &f)
}

func presentRefresh(s *Server, ctx context.Context, i *issuance) error {
	if i.form.refreshToken.IsZero() {
		return refuse(codeInvalidRequest, "The parameter refresh_token is missing.")
	}
	text, ok := readRefreshToken(i.form.refreshToken)
	if !ok {
		return errRefresh
	}
	presented := deputy.HashSecret(i.form.refreshToken)
	f, err := s.familyOf(ctx, i, text.session, presented)
	if err != nil {
		if unlessAbsent(err) == nil {
			err = errRefresh
		}
		return err
	}
	if !made(f, text) || f.ClientID != i.client.id || !i.from.at.Before(f.ExpiresAt) {
		return errRefresh
	}
	if err := s.stepRefresh(ctx, i, f, text, presented); err != nil {
		return err
	}
	i.agreed = new(agreed)
	if err := json.Unmarshal(f.Data, i.agreed); err != nil {
		return err
	}
	i.use = i.client.use(deputy.UseRefresh, deputy.UseRefreshAgent)
	if err := s.presentPerson(ctx, i, text.session); err != nil {
		return err
	}
	i.claims.session = text.session
	if i.delegator.user != nil {
		i.behalf()
	}
	return i.narrow()
}

// stepRefresh finds the successor of the token presented.
func (s *Server) stepRefresh(ctx context.Context, i *issuance, f *deputy.RefreshFamily, text refreshText, presented deputy.SecretHash) error {
	switch {
	case text.generation == f.Generation && bytes.Equal(presented, f.Current):
		next := newRefreshToken(f, f.Generation+1)
		i.refresh = &refresh{
			next: next, family: f, presented: presented,
			sealed: vault.SealUnder(i.form.refreshToken, refreshPlace(f), []byte(next.Reveal())),
		}
		return nil
	case recent(f, text.generation, i.from.at):
		if text.generation != f.Generation-1 || !bytes.Equal(presented, f.Previous) {
			return errRefresh // its successor was used: no harm, and no way back
		}
		next, err := vault.OpenUnder(i.form.refreshToken, refreshPlace(f), f.Sealed)
		if err != nil {
			return err
		}
		i.refresh = &refresh{next: deputy.Conceal(string(next)), family: f, presented: presented, again: true}
		return nil
	case text.generation < f.Generation:
		if err := s.endSession(ctx, i, f.SessionID, "A refresh token was used again after it had been replaced."); err != nil {
			return err
		}
	}
	return errRefresh
}

func refreshPlace(f *deputy.RefreshFamily) vault.Place {
	return vault.Place{Zone: f.ZoneID, Table: "refresh_families", Column: "sealed", Row: string(f.SessionID)}
}

// narrow finds what the token is for and with which scopes: those of the
// authorization or fewer, or another resource altogether that the person may
// use.
func (i *issuance) narrow() error {
	named := i.form.resource
	requested := i.scopes // as the form has them
	if len(named) > 1 {
		return refuse(codeInvalidTarget, "A token is for one resource; more than one is requested.")
	}
	if len(named) == 1 && !i.agreed.covers(i.snap, named[0]) {
		i.wanted, i.agreed.narrowed = named, true
		i.scopes = slices.DeleteFunc(slices.Clone(requested), func(scope string) bool { return slices.Contains(openIDScopes, scope) })
	} else {
		if err := i.choose(named); err != nil {
			return err
		}
		if requested != nil {
			i.scopes = intersection(i.scopes, requested)
		}
	}
	if requested != nil {
		i.agreed.OpenID = intersection(i.agreed.OpenID, requested)
	}
	return nil
}

// intersection returns the texts of a that are in b too.
func intersection(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(text string) bool { return !slices.Contains(b, text) })
}

// agreeRefresh checks that what the person agreed to still stands. Where it does
// not for what was part of the authorization, the token is good for nothing any
// more; where it is about something else, the person can be asked.
func agreeRefresh(s *Server, ctx context.Context, i *issuance) error {
	err := agree(s, ctx, i)
	var missing *refusal
	if errors.As(err, &missing) && !i.agreed.narrowed {
		return refuse(codeInvalidGrant, "The user has withdrawn their consent.")
	}
	return err
}

// turn replaces the token presented by its successor, or makes sure that it is
// still the one to be given again.
func (r *refresh) turn(ctx context.Context, tx deputy.Tx, zone deputy.ZoneID) error {
	now := tx.Now()
	if r.again {
		_, err := tx.RefreshFamilies().Update(ctx, deputy.Scope{Zone: zone}, deputy.ID(r.family.SessionID), func(f *deputy.RefreshFamily) error {
			if !bytes.Equal(f.Previous, r.presented) || !recent(f, f.Generation-1, now) {
				return errMoved
			}
			return nil
		})
		return err
	}
	f := *r.family
	f.Turns = append(latestTurns(f.Turns, now), now.UnixMicro())
	f.Generation++
	f.Previous, f.Current, f.Sealed = f.Current, deputy.HashSecret(r.next), r.sealed
	r.made = &f
	return tx.TurnRefresh(ctx, &f, r.presented)
}

// latestTurns returns the times that still count, so that another one has room.
func latestTurns(turns []int64, now time.Time) []int64 {
	since := now.Add(-refreshAgain).UnixMicro()
	turns = slices.DeleteFunc(slices.Clone(turns), func(at int64) bool { return at <= since })
	return turns[max(0, len(turns)-maxTurns+1):]
}

// recent reports whether the token of a generation was replaced less than
// refreshAgain ago.
func recent(f *deputy.RefreshFamily, generation int64, now time.Time) bool {
	back := f.Generation - generation // how many tokens ago
	if back < 1 || back > int64(len(f.Turns)) {
		return false
	}
	at := f.Turns[int64(len(f.Turns))-back]
	return now.Sub(time.UnixMicro(at)) < refreshAgain
}
