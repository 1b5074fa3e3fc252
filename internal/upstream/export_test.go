package upstream

// Freshness is freshness, whose input strangers write.
var Freshness = freshness
