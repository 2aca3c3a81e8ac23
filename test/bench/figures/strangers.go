package main

import (
	"cmp"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of /proc/stat.
const tick = 10 * time.Millisecond

// busy is how long the machine's processors have worked since it started. Where /proc/stat does not tell, it is 0, and all
// rounds look alike.
func busy() time.Duration {
	stat, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(stat), "\n")
	var all time.Duration
	for i, field := range strings.Fields(line) {
		// cpu user nice system idle iowait irq softirq steal; what follows is counted in user already.
		if n, err := strconv.Atoi(field); err == nil && i <= 8 && i != 4 && i != 5 {
			all += time.Duration(n) * tick
		}
	}
	return all
}

// quietest keeps the half of the rounds in which other processes of the machine took the least time from any path: the
// numbers of a machine that is shared with, say, a compiler are those of the compiler.
func quietest(results []result) (kept []result, strangers float64) {
	worst := make([]float64, len(results[0].samples))
	order := make([]int, len(worst))
	for round := range worst {
		order[round] = round
		for _, r := range results {
			worst[round] = max(worst[round], r.samples[round].strangers)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(worst[a], worst[b]) })
	order = order[:(len(order)+1)/2]
	for _, r := range results {
		quiet := result{name: r.name, idle: r.idle}
		for _, round := range order {
			quiet.samples = append(quiet.samples, r.samples[round])
		}
		kept = append(kept, quiet)
	}
	return kept, worst[order[len(order)-1]]
}
