package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

// Whoever hears of lines hears what stands in the file, of each call's line and of nothing else, even if hearing it fails.
func TestEventsAreHandedOn(t *testing.T) {
	dir := t.TempDir()
	var told []map[string]any
	l := open(t, strict(dir), Options{StateDir: dir, OnEvent: func(at time.Time, attrs []slog.Attr) {
		var text bytes.Buffer
		line := slog.NewRecord(time.Time{}, slog.LevelInfo, "", 0)
		line.AddAttrs(attrs...)
		if err := slog.NewJSONHandler(&text, nil).Handle(context.Background(), line); err != nil {
			t.Error(err)
		}
		members := make(map[string]any)
		if err := json.Unmarshal(text.Bytes(), &members); err != nil {
			t.Error(err)
		}
		delete(members, "level")
		delete(members, "msg")
		members["time"] = at.UTC().Format(timeLayout)
		told = append(told, members)
		panic("whoever hears it is broken")
	}})
	long := sample()
	long.Tool, long.Credentials = strings.Repeat("é", 200)+"\x1b\xff", strings.Split(strings.Repeat("c,", 40), ",")
	for _, e := range []Event{sample(), long, {}} {
		if err := l.Begin(e); err != nil {
			t.Fatal(err)
		}
		if err := l.End(e); err != nil {
			t.Fatal(err)
		}
	}
	closeLog(t, l)
	text, err := os.ReadFile(strict(dir).File)
	if err != nil {
		t.Fatal(err)
	}
	var written []map[string]any
	for line := range bytes.Lines(text) {
		members := make(map[string]any)
		if err := json.Unmarshal(line, &members); err != nil {
			t.Fatal(err)
		}
		if kind := members["type"]; kind == typeBegin || kind == typeEvent {
			delete(members, "prev")
			written = append(written, members)
		}
	}
	if len(told) != 6 || !reflect.DeepEqual(told, written) {
		t.Errorf("told was\n%v\nwritten is\n%v", told, written)
	}
}

// What is not written is not told.
func TestLostEventsAreNotHandedOn(t *testing.T) {
	dir := t.TempDir()
	l := open(t, strict(dir), Options{StateDir: dir, OnEvent: func(time.Time, []slog.Attr) { t.Error("an event of a closed log") }})
	closeLog(t, l)
	if err := l.End(sample()); err == nil {
		t.Error("a closed log takes events")
	}
}
