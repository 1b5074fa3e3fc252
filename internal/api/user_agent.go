package api

import "deputy/internal/deputy"

// UserAgent is client software that registered itself, as clients see it.
type UserAgent struct {
	ID             string `json:"id"`
	OrganizationID string `json:"organization_id"`
	ZoneID         string `json:"zone_id"`
	Slug           string `json:"slug"`
	Name           string `json:"name"`
	Identifier     string `json:"identifier" doc:"Its OAuth client_id: ua: and a SHA-256 in hex."`
	CreatedAt      Time   `json:"created_at"`
	UpdatedAt      Time   `json:"updated_at"`
}

var userAgents = Noun[deputy.UserAgent, UserAgent, empty, empty]{
	Name: "user_agent", Plural: "user_agents", Path: "/zones/{zone_id}/user-agents", Key: "id", Tag: "User agents", Short: true,
	About: "A user agent is client software that registered itself and that somebody has signed in with.",
	List:  listing{Expand: []string{"total_count"}},
	Reads: func(v deputy.View) deputy.Reads[deputy.UserAgent] { return v.UserAgents() },
	ID:    func(d *deputy.UserAgent) deputy.ID { return d.ID },
	View: func(_ *API, _ *call, d *deputy.UserAgent) UserAgent {
		return UserAgent{
			ID: string(d.ID), OrganizationID: string(d.OrganizationID), ZoneID: string(d.ZoneID), Slug: d.Slug,
			Name: d.Name, Identifier: d.Identifier, CreatedAt: Time(d.CreatedAt), UpdatedAt: Time(d.UpdatedAt),
		}
	},
}
