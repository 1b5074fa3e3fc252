package vault

import (
	"encoding/binary"

	"deputy/internal/deputy"
)

// Place is where a sealed value lies. A value moved to another place does not
// open there, so a person with access to the database cannot have one row's
// secret served as another's.
type Place struct {
	// Zone is the zone of the row, or empty when the row is in none.
	Zone   deputy.ZoneID
	Table  string
	Column string
	// Row is the row's key within its table.
	Row string
}

// PolicyEntity is where the facts of an entity lie that decisions name: one
// package seals them, another opens them.
func PolicyEntity(zone deputy.ZoneID, id deputy.EntityID) Place {
	return Place{Zone: zone, Table: "policy_entities", Column: "data", Row: id.String()}
}

// associated renders fields as associated data. Each follows its length, so
// that no two lists of fields render alike; the first says what is encrypted,
// so that a value never passes for a wrapped key.
func associated(fields ...string) []byte {
	size := 0
	for _, f := range fields {
		size += len(f) + binary.MaxVarintLen16
	}
	out := make([]byte, 0, size)
	for _, f := range fields {
		out = binary.AppendUvarint(out, uint64(len(f)))
		out = append(out, f...)
	}
	return out
}

// ofValue is the associated data of a value under key at place.
func ofValue(key deputy.ID, place Place) []byte {
	return associated("deputy value", string(key), string(place.Zone), place.Table, place.Column, place.Row)
}

// ofKey is the associated data of a wrapped data key.
func ofKey(k deputy.DataKey) []byte {
	return associated("deputy data key", string(k.ID), string(k.OwnerID), string(k.ParentID))
}
