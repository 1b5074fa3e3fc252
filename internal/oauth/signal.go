package oauth

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"deputy/internal/deputy"
	"deputy/internal/policy"
	"deputy/internal/upstream"
	"deputy/internal/vault"
)

// securityEventTyp is the typ of a security event token's header (RFC 8417 §2.3),
// which no verifier of access tokens takes.
const securityEventTyp = "secevent+jwt"

// signalID names a signal to a stream: the same whenever it is sent, so that a
// receiver can tell that it has it.
func signalID(stream *deputy.Stream, signal *deputy.Signal) string {
	return string(stream.ID) + "-" + strconv.FormatInt(signal.Seq, 10)
}

// securityEvent makes the token that tells a stream of a signal (RFC 8417).
func (s *Server) securityEvent(snap *snapshot, stream *deputy.Stream, signal *deputy.Signal, event string) (string, error) {
	key := snap.signer(deputy.RS256) // that all receivers know
	if key == nil {
		key = snap.signer(deputy.ES256)
	}
	person := func(sub string) map[string]any {
		return map[string]any{"format": "iss_sub", "iss": snap.issuer, "sub": sub}
	}
	opaque := func(id string) map[string]any { return map[string]any{"format": "opaque", "id": id} }
	complex := map[string]any{"format": "complex"}
	about := complex
	says := map[string]any{"event_timestamp": signal.At.Unix()}
	switch signal.Kind {
	case deputy.SignalSession:
		complex["session"] = opaque(signal.Subject)
		if signal.Holder != "" {
			complex["user"] = person(signal.Holder)
		}
	case deputy.SignalUser:
		complex["user"] = person(signal.Subject)
	case deputy.SignalClient, deputy.SignalApplication:
		complex["application"] = opaque(signal.Subject)
	case deputy.SignalCredential:
		about = person(signal.Subject)
		says["credential_type"], says["change_type"], _ = strings.Cut(signal.Detail, " ")
	case deputy.SignalVerification:
		about = opaque(string(stream.ID))
		says = map[string]any{}
		if signal.Detail != "" {
			says["state"] = signal.Detail
		}
	}
	payload, err := json.Marshal(map[string]any{
		"iss": snap.issuer, "aud": stream.Audience, "iat": s.now().Unix(), "jti": signalID(stream, signal),
		"txn": string(snap.zone.ID) + "-" + strconv.FormatInt(signal.Seq, 10), "sub_id": about, "events": map[string]any{event: says},
	}, json.Deterministic(true))
	if err != nil {
		return "", err
	}
	return s.attest(key, &deputy.Standing{Zone: snap.zone, Application: stream.ApplicationID}, payload)
}

// pushStep is how many signals a stream is looked through at once.
const pushStep = 100

// PushSignals does a TaskPushSignals (RFC 8935): it sends a stream what it has not
// got, in order, and reports whether there is more. An error says that trying
// again may help. What comes while policy does not let the application listen it
// is never told.
func (s *Server) PushSignals(ctx context.Context, t deputy.Task) (more bool, err error) {
	_, snap, err := s.current(ctx, t.ZoneID)
	if err != nil {
		return false, unlessAbsent(err)
	}
	in := deputy.Scope{Organization: snap.zone.OrganizationID, Zone: t.ZoneID}
	stream, err := s.store.Streams().Get(ctx, in, t.ID)
	if err != nil || stream.Method != deputy.PushDelivery || stream.Status != deputy.StreamEnabled {
		return false, unlessAbsent(err)
	}
	header := http.Header{"Content-Type": {"application/" + securityEventTyp}, "Accept": {"application/json"}}
	if stream.Sealed != nil {
		plain, err := s.builder.vault.Open(ctx, vault.StreamPlace(stream.ZoneID, stream.ID), stream.Sealed)
		if err != nil {
			return false, err
		}
		header.Set("Authorization", string(plain))
	}
	signals, err := s.store.Signals(ctx, t.ZoneID, stream.Delivered, s.horizon(deputy.SignalsKept), pushStep)
	if err != nil {
		return false, err
	}
	may, err := s.mayListen(ctx, snap, stream.ApplicationID)
	if err != nil {
		return false, err
	}
	done := stream.Delivered
	for _, signal := range signals {
		if event := stream.Event(signal); event != "" && may {
			if err = s.deliver(ctx, snap, stream, signal, event, header); err != nil {
				break
			}
		}
		done = signal.Seq
	}
	if done > stream.Delivered {
		if noted := s.store.DeliveredSignals(ctx, t.ZoneID, stream.ID, done); err == nil {
			err = noted
		}
	}
	return len(signals) == pushStep, err
}

// mayListen reports whether policy lets an application have the zone's events now:
// a stream that is pushed outlives the token that it was made with.
func (s *Server) mayListen(ctx context.Context, snap *snapshot, id deputy.ApplicationID) (bool, error) {
	events := snap.resolve(snap.issuer + pathEvents)
	if events == nil {
		return false, nil
	}
	if err := snap.decidable(); err != nil {
		return false, err
	}
	by, err := s.acting(ctx, snap, id)
	if err != nil {
		return false, unlessAbsent(err)
	}
	outcome, _ := s.askPolicy(ctx, snap.policies, policy.Request{
		Legs: []policy.Leg{{Principal: &by.application}}, Resource: events.entity, Narrowable: true,
	})
	return outcome.Allowed, nil
}

// deliver sends one security event. What the receiver says it will never take is
// not sent again (RFC 8935 §2.4).
func (s *Server) deliver(ctx context.Context, snap *snapshot, stream *deputy.Stream, signal *deputy.Signal, event string, header http.Header) error {
	token, err := s.securityEvent(snap, stream, signal, event)
	if err != nil {
		return err
	}
	answer, err := s.fetcher.Do(ctx, upstream.Request{
		Zone: stream.ZoneID, Method: http.MethodPost, URL: stream.EndpointURL, Header: header, Body: []byte(token),
	})
	if err != nil {
		return err
	}
	var says struct {
		Code string `json:"err"`
	}
	switch {
	case answer.Status == http.StatusAccepted || answer.Status == http.StatusOK:
		return nil
	case answer.Status == http.StatusBadRequest && json.Unmarshal(answer.Body, &says) == nil && says.Code != "" &&
		says.Code != "authentication_failed" && says.Code != "access_denied":
		s.log.Warn("a receiver refuses a security event", "zone_id", string(stream.ZoneID), "stream_id", string(stream.ID), "code", upstream.Code(says.Code))
		return nil
	}
	return fmt.Errorf("the receiver of stream %s answers with status %d", stream.ID, answer.Status)
}

// maxPolled is how many security events one poll gives.
const maxPolled = 100

// poll answers at the poll endpoint (RFC 8936), at once: whoever wants to wait
// asks again. What was acknowledged in order is never given again; what was
// acknowledged before something else is given once more.
func (s *Server) poll(w http.ResponseWriter, r *http.Request, by *receiver) error {
	var f struct {
		Max    *int                      `json:"maxEvents"`
		Ack    []string                  `json:"ack"`
		Errors map[string]map[string]any `json:"setErrs"`
	}
	if err := readJSON(r, &f); err != nil {
		return err
	}
	ctx := r.Context()
	stream, err := s.stream(ctx, by, deputy.ID(r.URL.Query().Get("stream_id")))
	if err != nil {
		return err
	}
	if stream.Method != deputy.PollDelivery {
		return refuse(codeInvalidRequest, "The stream is pushed.")
	}
	most := maxPolled
	if f.Max != nil {
		most = max(0, min(*f.Max, maxPolled))
	}
	over := make(map[string]bool, len(f.Ack))
	for _, id := range f.Ack {
		over[id] = true
	}
	for id := range f.Errors {
		over[id] = true
	}
	sets, more, done := map[string]string{}, false, stream.Delivered
	for at, inOrder := done, true; stream.Status == deputy.StreamEnabled; {
		signals, err := s.store.Signals(ctx, stream.ZoneID, at, s.horizon(deputy.SignalsKept), pushStep)
		if err != nil {
			return err
		}
		for _, signal := range signals {
			at = signal.Seq
			event, id := stream.Event(signal), signalID(stream, signal)
			if inOrder = inOrder && (event == "" || over[id]); inOrder {
				done = at
			}
			if event == "" || over[id] {
				continue
			}
			if more = len(sets) >= most; more {
				break
			}
			if sets[id], err = s.securityEvent(by.snap, stream, signal, event); err != nil {
				return err
			}
		}
		if more || len(signals) < pushStep {
			break
		}
	}
	if done > stream.Delivered {
		if err := s.store.DeliveredSignals(ctx, stream.ZoneID, stream.ID, done); err != nil {
			return err
		}
	}
	return writeValue(w, http.StatusOK, map[string]any{"sets": sets, "moreAvailable": more})
}

// revocation is an entry of the feed.
type revocation struct {
	Seq  int64             `json:"seq"`
	Kind deputy.SignalKind `json:"type"`
	ID   string            `json:"id"`
	At   int64             `json:"time"`
}

const (
	maxRevocations = 1000
	// refreshRevocations is how long a verifier may go on with what it has, in
	// seconds: with what the answer tells it, that is the most by which it can be
	// late.
	refreshRevocations = 10
)

// revocations answers with what is over of what the zone vouched for, for those
// who validate access tokens by its keys alone: everything that can still matter,
// or what came after a number.
func (s *Server) revocations(w http.ResponseWriter, r *http.Request, by *receiver) error {
	after := int64(0)
	if text := r.URL.Query().Get("after"); text != "" {
		var err error
		if after, err = strconv.ParseInt(text, 10, 64); err != nil || after < 0 {
			return refuse(codeInvalidRequest, "The parameter after must be the last of an earlier answer.")
		}
	}
	now := s.now()
	signals, err := s.store.Signals(r.Context(), by.zone.id, after, now.Add(-deputy.SignalsMatter), maxRevocations)
	if err != nil {
		return err
	}
	feed := struct {
		Issuer  string       `json:"issuer"`
		Time    time.Time    `json:"time"`
		Refresh int          `json:"refresh_seconds"`
		Horizon int          `json:"horizon_seconds"`
		Last    int64        `json:"last"`
		More    bool         `json:"more"`
		Entries []revocation `json:"revocations"`
	}{by.snap.issuer, now.UTC(), refreshRevocations, int(deputy.SignalsMatter / time.Second), after, len(signals) == maxRevocations, []revocation{}}
	for _, signal := range signals {
		feed.Last = signal.Seq
		switch signal.Kind {
		case deputy.SignalCredential, deputy.SignalVerification:
			continue
		}
		feed.Entries = append(feed.Entries, revocation{signal.Seq, signal.Kind, signal.Subject, signal.At.Unix()})
	}
	return writeValue(w, http.StatusOK, feed)
}
