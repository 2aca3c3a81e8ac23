package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"sallyport.dev/audit"
)

// printReport prints what verify found: problems first, since they are what it was asked for.
func printReport(w io.Writer, r *audit.Report, kept bool) error {
	var b strings.Builder
	for _, p := range r.Problems {
		fmt.Fprintln(&b, plain(p.String()))
	}
	if r.More > 0 {
		fmt.Fprintf(&b, "and %d more problems\n", r.More)
	}
	verdict := "intact"
	if !r.Intact() {
		verdict = "NOT INTACT"
	}
	fmt.Fprintf(&b, "%s: %d lines in %d files", verdict, r.Records, r.Files)
	if r.Records > 0 {
		fmt.Fprintf(&b, ", numbers %d to %d, %s to %s", r.First, r.Last, r.FirstTime.Format(time.RFC3339), r.LastTime.Format(time.RFC3339))
	}
	fmt.Fprintf(&b, "\n  calls       %d events, %d begun; %d starts, %d checkpoints\n", r.Events, r.Begins, r.Starts, r.Checkpoints)
	if r.Signed == 0 {
		fmt.Fprintf(&b, "  signed      NOTHING: no checkpoint of this key vouches for any line\n")
	} else {
		fmt.Fprintf(&b, "  signed      up to number %d, %s; %d lines behind it are not signed yet\n", r.Signed, r.SignedTime.Format(time.RFC3339), r.Last-r.Signed)
	}
	if kept {
		fmt.Fprintf(&b, "  kept        %d checkpoints are in the log, %d are from before its first line\n", r.Matched, r.Earlier)
	} else {
		fmt.Fprintf(&b, "  kept        no checkpoint was given: an end that was cut off does not show\n")
	}
	if r.First > 1 {
		fmt.Fprintf(&b, "  before      lines 1 to %d are not here: rotated away, or not given\n", r.First-1)
	}
	if r.Lost > 0 {
		fmt.Fprintf(&b, "  lost        %d events could not be written, and the log says so\n", r.Lost)
	}
	if r.Recovered > 0 {
		fmt.Fprintf(&b, "  recovered   %d lines were cut short by a crash or a full disk, and the log says so\n", r.Recovered)
	}
	if r.Unfinished > 0 {
		fmt.Fprintf(&b, "  unfinished  the last line has no end after %d bytes: its writer was stopped, or it was cut\n", r.Unfinished)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// printRecord prints one line of a log, for people or as it is. unread is why it is no line.
func printRecord(w io.Writer, r *audit.Record, line []byte, raw bool, unread error) error {
	var text string
	switch {
	case raw:
		text = string(line)
	case unread != nil:
		text = fmt.Sprintf("not a line of a log: %.200s", line)
	default:
		text = recordText(r)
	}
	_, err := fmt.Fprintln(w, plain(text))
	return err
}

func recordText(r *audit.Record) string {
	at := r.Time.UTC().Format("2006-01-02T15:04:05.000Z")
	switch r.Type {
	case "start":
		return fmt.Sprintf("%s -- start %d, %s, version %s", at, r.Seq, r.Reason, cmp.Or(r.Version, "unknown"))
	case "checkpoint":
		return fmt.Sprintf("%s -- checkpoint %d", at, r.Seq)
	case "lost":
		return fmt.Sprintf("%s -- lost %d events since %s", at, r.Count, r.Since.UTC().Format(time.RFC3339))
	case "recovered":
		return fmt.Sprintf("%s -- recovered: %d bytes before it are no line", at, r.Bytes)
	}
	e := &r.Event
	what := dash(strings.TrimSpace(e.Method + " " + e.Tool))
	became := "begun"
	if r.Type == "event" {
		became = fmt.Sprintf("%s, delivered %s, %d, %s", dash(e.Outcome), dash(e.Delivered), e.Status, e.Duration.Round(10*time.Microsecond))
	}
	text := fmt.Sprintf("%s %-5s %-12s %-28s %-8s %-40s %s|%s %s", at, dash(e.Decision), dash(e.Server), what, dash(e.Rule), became, e.Issuer, e.Subject, dash(e.RequestID))
	if e.Alike > 0 {
		text += fmt.Sprintf(" and %d more like it", e.Alike)
	}
	if len(e.WouldDeny) > 0 {
		text += " would deny: " + strings.Join(e.WouldDeny, ", ")
	}
	return text
}

func dash(text string) string { return cmp.Or(text, "-") }

// plain escapes what a terminal could take for a command, or not show: a log that was changed may hold anything.
func plain(text string) string {
	if !strings.ContainsFunc(text, unprintable) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		switch {
		case !unprintable(r):
			b.WriteRune(r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+(r-0x10000)>>10, 0xdc00+(r-0x10000)&0x3ff)
		}
	}
	return b.String()
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }
