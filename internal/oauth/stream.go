package oauth

import (
	"context"
	"io"
	"mime"
	"net/http"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"deputy/internal/deputy"
	"deputy/internal/vault"
)

// Streams of security events (OpenID Shared Signals Framework 1.0): how an
// application learns that what the zone vouched for is over. Who may listen is
// policy's to say: the bearer is an access token for the resource that is called
// like the issuer with /events behind, which a zone has when an administrator
// makes it.

// Paths below an issuer.
const (
	pathStreams     = "/ssf/streams"
	pathStatus      = "/ssf/status"
	pathVerify      = "/ssf/verify"
	pathPoll        = "/ssf/poll"
	pathRevocations = "/revocations"
	pathEvents      = "/events" // the resource

	wellKnownStreams = "ssf-configuration"
)

// streamMetadata is the transmitter's document (§7.1).
func streamMetadata(issuer string) []byte {
	b, err := json.Marshal(map[string]any{
		"spec_version": "1_0", "issuer": issuer, "jwks_uri": issuer + pathJWKS,
		"delivery_methods_supported": []string{deputy.PushDelivery, deputy.PollDelivery},
		"configuration_endpoint":     issuer + pathStreams, "status_endpoint": issuer + pathStatus,
		"verification_endpoint": issuer + pathVerify, "default_subjects": "ALL",
		"authorization_schemes": []map[string]string{{"spec_urn": "urn:ietf:rfc:6749"}},
	}, json.Deterministic(true))
	if err != nil {
		panic(err) // texts
	}
	return b
}

// receiver is an application that asks about what it receives.
type receiver struct {
	*issuance
	application deputy.ApplicationID
}

func (r *receiver) in() deputy.Scope {
	return deputy.Scope{Organization: r.snap.zone.OrganizationID, Zone: r.zone.id, Parent: deputy.ID(r.application)}
}

// receiver returns who asks: with an access token of an application itself, for
// the zone's events.
func (s *Server) receiver(r *http.Request, id deputy.ZoneID, from *origin) (*receiver, error) {
	ctx := r.Context()
	z, snap, err := s.current(ctx, id)
	if err != nil {
		return nil, err
	}
	from.decides(s.now())
	token, err := bearer(r)
	if err != nil {
		return nil, err
	}
	v, _, err := s.standingToken(ctx, z, snap, token)
	switch {
	case err != nil:
		return nil, err
	case v == nil || v.Profile == profileUser || v.Act != nil:
		return nil, errToken
	case !slices.Contains(v.Audience, snap.issuer+pathEvents):
		return nil, &refusal{
			code: codeInsufficientScope, description: "The access token is not for the events of the zone.", status: http.StatusForbidden,
		}
	}
	c, err := s.behind(ctx, z, snap, v)
	if err == nil && c == nil {
		err = errToken
	}
	if err != nil {
		return nil, err
	}
	i := &issuance{from: from, form: new(tokenRequest), zone: z, snap: snap}
	i.begin(c)
	i.event.Basis, i.event.Outcome = nil, deputy.Success
	return &receiver{i, c.application.ID}, nil
}

// answers of the endpoints of receivers, by endpoint.
var receiving = map[endpoint]func(*Server, http.ResponseWriter, *http.Request, *receiver) error{
	streamEndpoint:      (*Server).streams,
	statusEndpoint:      (*Server).streamStatus,
	verifyEndpoint:      (*Server).verifyStream,
	pollEndpoint:        (*Server).poll,
	revocationsEndpoint: (*Server).revocations,
}

// receive answers an application that receives signals.
func (s *Server) receive(w http.ResponseWriter, r *http.Request, id deputy.ZoneID, to endpoint, from *origin) {
	by, err := s.receiver(r, id, from)
	if err == nil {
		err = receiving[to](s, w, r, by)
	}
	if err == nil {
		return
	}
	refused := asRefusal(err)
	if refused.code == codeInvalidToken || refused.code == codeInsufficientScope {
		s.challengeBearer(w, from, id, refused)
		return
	}
	s.refuse(w, from, id, refused, "")
}

// streamDelivery and streamForm are a stream as the framework writes it
// (§8.1.1).
type streamDelivery struct {
	Method        string  `json:"method"`
	EndpointURL   string  `json:"endpoint_url,omitzero"`
	Authorization *string `json:"authorization_header,omitzero"` // never shown
}

type streamForm struct {
	ID              deputy.ID       `json:"stream_id,omitzero"`
	Issuer          string          `json:"iss,omitzero"`
	Audience        string          `json:"aud,omitzero"`
	Delivery        *streamDelivery `json:"delivery,omitzero"`
	EventsSupported []string        `json:"events_supported,omitzero"`
	EventsRequested []string        `json:"events_requested,omitzero"`
	EventsDelivered []string        `json:"events_delivered,omitzero"`
	VerifyInterval  int64           `json:"min_verification_interval,omitzero"` // seconds
	Description     *string         `json:"description,omitzero"`
}

func (r *receiver) view(s *deputy.Stream) streamForm {
	f := streamForm{
		ID: s.ID, Issuer: r.snap.issuer, Audience: s.Audience, EventsSupported: deputy.SignalEvents,
		EventsRequested: s.Events, EventsDelivered: s.Events, Description: &s.Description,
		VerifyInterval: int64(verifyInterval / time.Second),
		Delivery:       &streamDelivery{Method: s.Method, EndpointURL: s.EndpointURL},
	}
	if s.Method == deputy.PollDelivery {
		f.Delivery.EndpointURL = r.snap.issuer + pathPoll + "?stream_id=" + string(s.ID)
	}
	return f
}

// apply takes over what a form says of a stream.
func (f *streamForm) apply(ctx context.Context, v *vault.Vault, key deputy.ID, s *deputy.Stream) error {
	if f.Description != nil {
		s.Description = *f.Description
	}
	if f.EventsRequested != nil {
		s.Events = nil
		for _, e := range deputy.SignalEvents { // what is not known is not delivered
			if slices.Contains(f.EventsRequested, e) {
				s.Events = append(s.Events, e)
			}
		}
	}
	if d := f.Delivery; d != nil {
		if d.EndpointURL != s.EndpointURL { // whose the header is not
			s.Sealed = nil
		}
		s.Method, s.EndpointURL = d.Method, d.EndpointURL
		if d.Method == deputy.PollDelivery {
			s.EndpointURL, s.Sealed = "", nil
		}
		if d.Authorization != nil && d.Method == deputy.PushDelivery {
			if err := deputy.SafeText("authorization_header", *d.Authorization, 0, deputy.MaxIdentifier); err != nil {
				return err
			}
			sealed, err := v.Seal(ctx, key, vault.StreamPlace(s.ZoneID, s.ID), []byte(*d.Authorization))
			if err != nil {
				return err
			}
			s.Sealed = sealed
		}
	}
	return s.Validate()
}

// streams answers at the configuration endpoint.
func (s *Server) streams(w http.ResponseWriter, r *http.Request, by *receiver) error {
	ctx, in := r.Context(), by.in()
	switch r.Method {
	case http.MethodPost:
		return s.createStream(ctx, w, r, by)
	case http.MethodGet:
		if id := r.URL.Query().Get("stream_id"); id != "" {
			one, err := s.stream(ctx, by, deputy.ID(id))
			if err != nil {
				return err
			}
			return writeValue(w, http.StatusOK, by.view(one))
		}
		page, err := s.store.Streams().List(ctx, in, deputy.Query{All: true})
		if err != nil {
			return err
		}
		all := []streamForm{}
		for _, one := range page.Items {
			all = append(all, by.view(one))
		}
		return writeValue(w, http.StatusOK, all)
	case http.MethodDelete:
		id := deputy.ID(r.URL.Query().Get("stream_id"))
		by.event.Type, by.event.Target = eventStreamDelete, &deputy.Target{Type: "stream", ID: string(id)}
		err := s.store.Write(ctx, &by.event, func(tx deputy.Tx) error { return tx.Streams().Delete(ctx, in, id) })
		if err != nil {
			return noStream(err)
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	var f streamForm
	if err := readJSON(r, &f); err != nil {
		return err
	}
	if r.Method == http.MethodPut { // what is left out is as in a new one
		if f.Delivery == nil {
			f.Delivery = &streamDelivery{Method: deputy.PollDelivery}
		}
		if f.Description == nil {
			f.Description = new(string)
		}
		f.EventsRequested = append([]string{}, f.EventsRequested...)
	}
	changed, err := s.changeStream(ctx, by, f.ID, func(one *deputy.Stream) error {
		if r.Method == http.MethodPut {
			one.Sealed = nil
		}
		return f.apply(ctx, s.builder.vault, by.snap.zone.KeyID, one)
	})
	if err != nil {
		return err
	}
	return writeValue(w, http.StatusOK, by.view(changed))
}

// stream returns a stream of the receiver's.
func (s *Server) stream(ctx context.Context, by *receiver, id deputy.ID) (*deputy.Stream, error) {
	one, err := s.store.Streams().Get(ctx, by.in(), id)
	return one, noStream(err)
}

// noStream tells a receiver that there is no such stream of theirs.
func noStream(err error) error {
	if deputy.KindOf(err) == deputy.NotFound {
		return &refusal{code: codeNotFound, description: "There is no such stream.", status: http.StatusNotFound, cause: err}
	}
	return invalid(err)
}

// invalid tells a receiver what is wrong with their request.
func invalid(err error) error {
	if deputy.KindOf(err) == deputy.Invalid {
		return refuse(codeInvalidRequest, "The stream cannot be like that.").because(err)
	}
	return err
}

func (s *Server) createStream(ctx context.Context, w http.ResponseWriter, r *http.Request, by *receiver) error {
	var f streamForm
	if err := readJSON(r, &f); err != nil {
		return err
	}
	if f.Delivery == nil {
		f.Delivery = &streamDelivery{Method: deputy.PollDelivery}
	}
	now := by.from.at
	one := &deputy.Stream{
		ZoneID: by.zone.id, ID: deputy.NewID(now), OrganizationID: by.snap.zone.OrganizationID, ApplicationID: by.application,
		Audience: by.client.id, Status: deputy.StreamEnabled, CreatedAt: now, UpdatedAt: now,
	}
	if err := f.apply(ctx, s.builder.vault, by.snap.zone.KeyID, one); err != nil {
		return invalid(err)
	}
	by.event.Type, by.event.Target = eventStreamCreate, &deputy.Target{Type: "stream", ID: string(one.ID)}
	err := s.store.Write(ctx, &by.event, func(tx deputy.Tx) error {
		had, err := tx.Streams().List(ctx, by.in(), deputy.Query{})
		if err != nil {
			return err
		}
		if len(had.Items) >= deputy.MaxStreams {
			return &refusal{code: codeAccessDenied, description: "The application has as many streams as it may have.", status: http.StatusForbidden}
		}
		return tx.Streams().Insert(ctx, one)
	})
	if err != nil {
		return err
	}
	return writeValue(w, http.StatusCreated, by.view(one))
}

func (s *Server) changeStream(ctx context.Context, by *receiver, id deputy.ID, change func(*deputy.Stream) error) (changed *deputy.Stream, err error) {
	by.event.Type, by.event.Target = eventStreamUpdate, &deputy.Target{Type: "stream", ID: string(id)}
	err = s.store.Write(ctx, &by.event, func(tx deputy.Tx) (err error) {
		changed, err = tx.Streams().Update(ctx, by.in(), id, change)
		return err
	})
	return changed, noStream(err)
}

// streamState is the status of a stream (§8.1.2).
type streamState struct {
	ID     deputy.ID           `json:"stream_id"`
	Status deputy.StreamStatus `json:"status"`
	Reason string              `json:"reason,omitzero"`
}

// streamStatus answers at the status endpoint. A stream that was disabled goes
// on with what happens from then on.
func (s *Server) streamStatus(w http.ResponseWriter, r *http.Request, by *receiver) error {
	ctx := r.Context()
	if r.Method == http.MethodGet {
		one, err := s.stream(ctx, by, deputy.ID(r.URL.Query().Get("stream_id")))
		if err != nil {
			return err
		}
		return writeValue(w, http.StatusOK, streamState{one.ID, one.Status, one.Reason})
	}
	var f streamState
	if err := readJSON(r, &f); err != nil {
		return err
	}
	one, err := s.changeStream(ctx, by, f.ID, func(one *deputy.Stream) error {
		one.Status, one.Reason = f.Status, f.Reason
		return one.Validate()
	})
	if err != nil {
		return err
	}
	return writeValue(w, http.StatusOK, streamState{one.ID, one.Status, one.Reason})
}

// verifyInterval is how long a receiver waits before it has a stream verified again
// (§8.1.1, min_verification_interval).
const verifyInterval = 10 * time.Second

// errVerified is the answer to whoever does not wait.
var errVerified = &refusal{
	code: codeUnavailable, description: "The stream was verified a moment ago.", status: http.StatusTooManyRequests, retryAfter: verifyInterval,
}

// maxState bounds what a receiver wants to find in a verification.
const maxState = 1024

// verifyStream answers at the verification endpoint (§8.1.4.2): the event takes
// the way of all others.
func (s *Server) verifyStream(w http.ResponseWriter, r *http.Request, by *receiver) error {
	var f struct {
		ID    deputy.ID `json:"stream_id"`
		State string    `json:"state"`
	}
	if err := readJSON(r, &f); err != nil {
		return err
	}
	if err := deputy.SafeText("state", f.State, 0, maxState); err != nil {
		return invalid(err)
	}
	ctx := r.Context()
	if _, err := s.stream(ctx, by, f.ID); err != nil {
		return err
	}
	by.event.Type, by.event.Target = eventStreamVerify, &deputy.Target{Type: "stream", ID: string(f.ID)}
	if err := s.store.Write(ctx, &by.event, func(tx deputy.Tx) error {
		switch err := tx.SpendTicket(ctx, &deputy.Ticket{
			Kind: deputy.VerificationTicket, ZoneID: by.zone.id, Key: deputy.HashSecret(deputy.Conceal(string(f.ID))),
			CreatedAt: tx.Now(), ExpiresAt: tx.Now().Add(verifyInterval),
		}); {
		case deputy.KindOf(err) == deputy.Conflict:
			return errVerified
		case err != nil:
			return err
		}
		return tx.Signal(ctx, &deputy.Signal{ZoneID: by.zone.id, Kind: deputy.SignalVerification, StreamID: f.ID, Detail: f.State})
	}); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// maxStreamForm bounds what receivers send.
const maxStreamForm = 256 << 10

// readJSON reads a request's object.
func readJSON(r *http.Request, into any) error {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return refuse(codeInvalidRequest, "The content type must be application/json.")
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxStreamForm+1))
	if err != nil || len(body) > maxStreamForm {
		return refuse(codeInvalidRequest, "The request body is incomplete or larger than 256 KiB.")
	}
	if err := json.Unmarshal(body, into); err != nil {
		return refuse(codeInvalidRequest, "The request is not a JSON object of the known form.").because(err)
	}
	return nil
}

func writeValue(w http.ResponseWriter, status int, value any) error {
	b, err := json.Marshal(value, json.Deterministic(true))
	if err == nil {
		writeJSON(w, status, b)
	}
	return err
}

// horizon is the time before which signals are of no interest any more.
func (s *Server) horizon(kept time.Duration) time.Time { return s.now().Add(-kept) }
