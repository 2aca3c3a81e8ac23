package mcp

import (
	"fmt"
	"slices"
)

// maxHeldList is how much is held of an event that may be the answer to be filtered, in bytes: a list, and the rest of the
// event's lines.
const maxHeldList = MaxList + 64<<10

var (
	errListTooLong = fmt.Errorf("%w: an event that may hold a list is longer than 4 MiB", ErrEventStream)
	// The beginning of the event has passed, but no reader acts on it without its end.
	errListLate = fmt.Errorf("%w: a list begins behind the first 64 KiB of its event", ErrEventStream)
)

// holdsOn reports whether the open event is held even though it is long, because it could be the answer to be filtered.
func (f *EventFilter) holdsOn() bool {
	return f.Lists != nil && f.event.HasData && f.Lists.mayAnswer(&f.scan)
}

// filterList takes out of the event that ends what Lists refuses. It returns the data with the event's own edited, or nil.
func (f *EventFilter) filterList(data []byte, begin int) (edited []byte, dropped int, err error) {
	switch {
	case !f.Lists.answersList(f.event.Messages, &f.scan):
		return nil, 0, nil
	case f.passing && f.Lists.rules.Tolerant:
		return nil, 0, nil
	case f.passing:
		return nil, 0, errListLate
	}
	edits, dropped, err := f.Lists.edits(joined(data[begin:], f.lines))
	switch {
	case err != nil && f.Lists.rules.Tolerant:
		return nil, 0, nil
	case err != nil:
		return nil, 0, fmt.Errorf("%w: %w", ErrEventStream, err)
	case len(edits) == 0:
		return nil, dropped, nil
	}
	return Splice(data, inLines(edits, f.lines, begin)...), dropped, nil
}

// joined is the data of an event as a reader puts it together: the values of its lines, with a LF between any two.
func joined(event []byte, lines []Span) []byte {
	if len(lines) == 1 {
		return lines[0].Of(event)
	}
	var text []byte
	for i, line := range lines {
		if i > 0 {
			text = append(text, '\n')
		}
		text = append(text, line.Of(event)...)
	}
	return text
}

// inLines moves edits of the joined data of an event to where its lines stand. The line ends stay: between two tokens of JSON
// they are white space, and the edits begin and end there.
func inLines(edits []Edit, lines []Span, begin int) (moved []Edit) {
	slices.SortFunc(edits, func(a, b Edit) int { return a.From - b.From })
	start, rest := 0, edits // start is where the line begins in the joined data
	for _, line := range lines {
		end := start + line.To - line.From
		for len(rest) > 0 && rest[0].From <= end {
			e := rest[0]
			to := min(e.To, end)
			shift := begin + line.From - start
			moved = append(moved, Edit{Span{e.From + shift, to + shift}, e.With})
			if e.To <= end {
				rest = rest[1:]
			} else { // it goes on in the next line; what replaces it has come
				rest[0].From, rest[0].With = end+1, nil
			}
		}
		start = end + 1
	}
	return moved
}
