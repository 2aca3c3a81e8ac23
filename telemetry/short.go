package telemetry

// maxShort bounds what a line repeats of a stranger's words, in bytes.
const maxShort = 128

// Short cuts a stranger's word, such as the name of a tool, to 128 bytes.
func Short(s string) string {
	if len(s) > maxShort {
		return s[:maxShort] + "…"
	}
	return s
}
