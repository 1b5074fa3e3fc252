// Package bundle is the form in which the policies of one target travel: an
// archive for the wire and a directory for a git repository, both of the same
// files.
//
//	manifest.json           schema, target, and one entry for each policy
//	schema.cedarschema      the schema, for readers and editors
//	policies/<key>.cedar    one policy; key is its id, or a name of its own
//	                        for a policy that has no id yet
//
// Writing is deterministic to the byte, up to the compression: the same policies
// give the same tar. The [Bundle.Digest] identifies what a bundle says: names
// are advice and do not count, neither does the order of entries, and hashes are
// always made here, of the bytes, whatever the manifest claims.
//
// Reading is strict, because archives come from strangers: anything but the
// files above is refused, as is what is there twice, entries without a file, and
// more than [MaxSize] bytes once unpacked. In an archive a policy without an
// entry is how a policy is left out; in a directory it is a mistake, and an
// error.
//
// What the policies say, and who may send them, is for others.
package bundle
