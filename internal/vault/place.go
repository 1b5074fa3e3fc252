package vault

import "deputy/internal/deputy"

// SecretPlace is where what a vaulted secret consists of is sealed, under the
// zone's key.
func SecretPlace(zone deputy.ZoneID, id deputy.ID) Place {
	return Place{Zone: zone, Table: "secrets", Column: "sealed", Row: string(id)}
}

// ClientSecretPlace is where a provider's client secret is sealed, under the
// zone's key.
func ClientSecretPlace(zone deputy.ZoneID, id deputy.ProviderID) Place {
	return Place{Zone: zone, Table: "providers", Column: "sealed_secret", Row: string(id)}
}

// StreamPlace is where a receiver's Authorization header is sealed, under the
// zone's key.
func StreamPlace(zone deputy.ZoneID, id deputy.ID) Place {
	return Place{Zone: zone, Table: "streams", Column: "sealed", Row: string(id)}
}

// GrantPlace is where the tokens of an outside provider are sealed, under the
// person's key.
func GrantPlace(zone deputy.ZoneID, id deputy.ID) Place {
	return Place{Zone: zone, Table: "grants", Column: "sealed", Row: string(id)}
}
