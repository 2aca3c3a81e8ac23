package inject

// IsVariant is what oracles of fuzz tests need.
var IsVariant = isVariant
