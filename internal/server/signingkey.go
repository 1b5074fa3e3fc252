package server

import (
	"context"
	"fmt"
	"io"

	"deputy/internal/deputy"
	"deputy/internal/keys"
	"deputy/internal/vault"
)

// RotateSigningKeys makes new signing keys for a zone, or for the management
// plane where there is none, and says so on out. They sign once verifiers had
// the time to learn of them; discard has them sign at once and withdraws the
// others, so that nothing those signed is valid any more.
func RotateSigningKeys(ctx context.Context, cfg Config, zone string, discard bool, logs, out io.Writer) error {
	d, err := openQuiet(ctx, cfg, logs)
	if err != nil {
		return err
	}
	defer d.store.Close()
	owner, to, err := d.keyOwner(ctx, deputy.ZoneID(zone))
	if err != nil {
		return err
	}
	rows, err := d.store.SigningKeys(ctx, owner)
	if err != nil {
		return err
	}
	if to.KeyID == "" && len(rows) > 0 {
		to.KeyID = vault.SealedUnder(rows[0].Sealed)
	}
	turn := keys.Ask()
	if discard {
		turn = keys.Discard(rows)
	}
	if owner == deputy.PlatformID {
		turn.Make = []deputy.SigningAlgorithm{deputy.ES256} // the only one it signs with
	}
	now := d.now()
	to.Once = true
	task := to.Task(deputy.ZoneID(zone), now)
	task.RunAt = now.Add(keys.PublishedAhead)
	made, err := d.turnKeys(ctx, keys.NewPool(1), turn, owner, to, now, task)
	if err != nil {
		return err
	}
	for _, row := range made {
		fmt.Fprintf(out, "%s %s %s\n", row.Algorithm, row.ID, row.State)
	}
	if discard {
		fmt.Fprintf(out, "%d keys are withdrawn: nothing that they signed is valid here any more; elsewhere, once verifiers have read the key set again\n", len(turn.Remove))
		return nil
	}
	fmt.Fprintf(out, "they sign from %s on\n", task.RunAt.UTC().Format("15:04:05 MST"))
	return nil
}

// keyOwner returns whose keys are to be rotated and what the log and the vault
// need to know of them.
func (d *data) keyOwner(ctx context.Context, zone deputy.ZoneID) (owner deputy.ID, to deputy.KeyRotation, err error) {
	all, err := d.store.Organizations().List(ctx, deputy.Scope{}, deputy.Query{All: true, Sort: []deputy.Sort{{Field: "created_at"}}})
	if err != nil {
		return "", to, err
	}
	if len(all.Items) == 0 {
		return "", to, fmt.Errorf("the database is empty")
	}
	if zone == "" {
		to.OrganizationID = all.Items[0].ID
		return deputy.PlatformID, to, nil
	}
	for _, o := range all.Items {
		z, err := d.store.Zones().Get(ctx, deputy.Scope{Organization: o.ID}, deputy.ID(zone))
		if err == nil {
			return deputy.ID(z.ID), deputy.KeyRotation{OrganizationID: o.ID, KeyID: z.KeyID}, nil
		}
		if deputy.KindOf(err) != deputy.NotFound {
			return "", to, err
		}
	}
	return "", to, fmt.Errorf("there is no zone %s", zone)
}
