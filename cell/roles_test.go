package cell_test

// roles are what this binary can be told to be by its first argument, beside a test binary.
var roles = map[string]func(args []string){"parent": parent}
