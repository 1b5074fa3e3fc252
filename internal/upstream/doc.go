// Package upstream is Deputy's one way out: every URL that a tenant can name
// (jwks_uri, client metadata documents, discovery, upstream token endpoints,
// logos, webhooks) is fetched by a [Fetcher], and no other HTTP client exists
// in the tree. It owns where a connection may go, how long an answer may take,
// how large it may be, how long it is remembered, and when a failing host is
// left alone. What an answer means (a key set, a token response) is for the
// callers, oauth above all.
//
// The way of one fetch:
//
//	URL        checked as written: https, no userinfo, one spelling of a host
//	cache      [Fetcher.Get] only: fresh document, or remembered failure
//	flight     one fetch per document, however many wait for it
//	circuit    a host that keeps failing is not asked for a while
//	dial       every address actually dialled is checked after resolution
//	answer     total time, size, encoding; redirects within the origin only
//
// Invariants:
//
//   - Address rules hold at the socket, not at the name: they run in the
//     dialer for each address, after resolution, so that neither a name that
//     resolves inward nor one that changes its answer between a check and its
//     use (rebinding) opens a connection. The check of the URL before is for a
//     better message and for hosts that resolvers read in different ways.
//   - A tenant reaches public unicast addresses, at any port. Everything of
//     special purpose (RFC 6890 and the IANA registries) is refused: loopback,
//     private, link-local, shared, documentation, multicast, and the IPv6 forms
//     that carry an IPv4 address (mapped, NAT64, 6to4, Teredo). [Allow] opens
//     more, address by address and port by port. Dev opens loopback and private
//     networks, and still no metadata service of a cloud.
//   - Plain http is for Dev, and for the addresses of Allow: there the operator
//     has said that the network between is trusted, and an answer can come from
//     nowhere else.
//   - What a tenant is told never depends on the inside: an address refused
//     after resolution reads like one that nobody answers at. The reason is the
//     error's cause, which only the log shows. Errors are [deputy.Error]:
//     Invalid when the URL can never do, Unavailable otherwise.
//   - One zone's failures do not shut another zone out: circuits are kept per
//     zone and origin. Documents are shared; they are fetched without
//     credentials and are the same for all.
//   - No proxy, cookie, referrer or compression: neither the environment nor an
//     answer changes where a request goes or how much it costs.
//
// Endpoints that the operator configures are reached by [Fetcher.Operator],
// the same transport without the address rules.
//
// Standards: RFC 9110 §15.4 (redirects), RFC 9111 §4.2 and §4.3 (freshness,
// revalidation), RFC 6890 (special-purpose addresses), RFC 6052 (NAT64).
package upstream
