package main

import "strings"

// shellWord makes one word of a text for a POSIX shell, to stand in a command line that is printed for somebody to paste. The text has
// no character that steers a terminal: that is for whoever chose it to see to.
func shellWord(text string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._@:-"
	if text != "" && !strings.HasPrefix(text, "-") && strings.Trim(text, plain) == "" {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
