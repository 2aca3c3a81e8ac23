package cell

// Descendants lets tests find a cell's processes as the host counts them.
func Descendants(pid int) []int { return descendants(pid) }
