package api

import (
	"context"
	"net/http"

	"deputy/internal/deputy"
)

// GroupMember is a user in a group.
type GroupMember struct {
	GroupID   string `json:"group_id"`
	UserID    string `json:"user_id"`
	ZoneID    string `json:"zone_id"`
	CreatedAt Time   `json:"created_at"`
}

// groupMembers are named by their group and user.
var groupMembers = Noun[deputy.Membership, GroupMember, empty, empty]{
	Name: "group_member", Plural: "group_members", Path: "/zones/{zone_id}/groups/{id}/members", Key: "user_id", Tag: "Groups", Short: true,
	About:  "The users in a group, the newest users first.",
	List:   listing{Expand: []string{"total_count"}},
	Scope:  func(c *call) deputy.Scope { return deputy.Scope{Zone: c.zone.ID, Parent: deputy.ID(c.param("id"))} },
	Reads:  func(v deputy.View) deputy.Reads[deputy.Membership] { return v.Memberships() },
	Writes: func(tx deputy.Tx) deputy.Writes[deputy.Membership] { return tx.Memberships() },
	ID:     func(d *deputy.Membership) deputy.ID { return deputy.ID(d.UserID) },
	Narrow: func(ctx context.Context, a *API, c *call, _ *asked) error {
		_, err := a.store.Groups().Get(ctx, deputy.Scope{Zone: c.zone.ID}, deputy.ID(c.param("id")))
		return missing(err, groups.Name)
	},
	View: func(_ *API, _ *call, d *deputy.Membership) GroupMember {
		return GroupMember{GroupID: string(d.GroupID), UserID: string(d.UserID), ZoneID: string(d.ZoneID), CreatedAt: Time(d.CreatedAt)}
	},
}

func (a *API) mountGroupMembers() {
	groupMembers.mountAll(a, list)
	put := operation{
		ID: "put-group-member", Method: http.MethodPut, Path: groupMembers.Path + "/{user_id}", Action: "group_members:put", Tag: groupMembers.Tag,
		Summary: "Put a user into a group", Doc: "Whoever is in it stays. It counts from the next request on.", Status: http.StatusNoContent,
	}
	mount(a, put, a.putGroupMember)
	out := groupMembers.operation(remove)
	out.Summary = "Take a user out of a group"
	mount(a, out, a.deleteGroupMember)
}

func memberTarget(c *call) *deputy.Target {
	return &deputy.Target{Type: groupMembers.Name, ID: c.param("id") + "/" + c.param("user_id")}
}

func (a *API) putGroupMember(ctx context.Context, c *call, _ *empty) (*empty, error) {
	m := &deputy.Membership{ZoneID: c.zone.ID, GroupID: deputy.ID(c.param("id")), UserID: deputy.UserID(c.param("user_id")), CreatedAt: c.at}
	return nil, a.write(ctx, c, memberTarget(c), func(tx deputy.Tx) error {
		in := deputy.Scope{Zone: c.zone.ID}
		if _, err := tx.Groups().Get(ctx, in, m.GroupID); err != nil {
			return missing(err, groups.Name)
		}
		if _, err := tx.Users().Get(ctx, in, deputy.ID(m.UserID)); err != nil {
			return missing(err, users.Name)
		}
		return tx.Memberships().Insert(ctx, m)
	})
}

func (a *API) deleteGroupMember(ctx context.Context, c *call, _ *empty) (*empty, error) {
	return nil, a.write(ctx, c, memberTarget(c), func(tx deputy.Tx) error {
		return missing(tx.Memberships().Delete(ctx, groupMembers.scope(c), deputy.ID(c.param("user_id"))), groupMembers.Name)
	})
}
