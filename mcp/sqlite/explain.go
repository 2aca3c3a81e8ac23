package sqlite

import (
	"context"
	"strings"

	"sallyport.dev/mcp/database"
)

// maxPlan bounds a plan in bytes.
const maxPlan = 256 << 10

// Explain returns what EXPLAIN QUERY PLAN says of a statement that asks, as a tree: a line is below the last one that is indented less.
func (d *Driver) Explain(ctx context.Context, _ database.Login, s database.Statement) (string, error) {
	var plan strings.Builder
	err := d.do(ctx, s.Timeout, false, func(c *conn) error {
		if _, err := c.query(s.SQL); err != nil { // by itself first, so that what follows cannot change what it is
			return err
		}
		steps, err := c.query("EXPLAIN QUERY PLAN " + s.SQL)
		if err != nil {
			return err
		}
		if len(s.Params) > 0 { // a plan can be had without
			if err := bind(steps, s.Params); err != nil {
				return err
			}
		}
		depths := map[int64]int{0: 0}
		for steps.Step() && plan.Len() < maxPlan {
			depth := depths[steps.ColumnInt64(1)]
			depths[steps.ColumnInt64(0)] = depth + 1
			plan.WriteString(strings.Repeat("  ", min(depth, 20)))
			plan.WriteString(steps.ColumnText(3))
			plan.WriteByte('\n')
		}
		return steps.Err()
	})
	if err != nil {
		return "", err
	}
	return plan.String(), nil
}
