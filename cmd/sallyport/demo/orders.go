package demo

import (
	_ "embed"
	"fmt"
	"strings"
	"time"

	"github.com/mark3labs/mcp-go/mcp"

	"sallyport.dev/cmd/sallyport/agent"
	"sallyport.dev/connector"
)

// ordersSQL fills the private database.
//
//go:embed orders.sql
var ordersSQL string

// ordersServer is a private database, without an MCP server of its own: the connector speaks MCP for it.
func ordersServer() connector.Server {
	return connector.Server{SQLite: &connector.SQLite{Memory: ordersSQL}}
}

// ordersQuery is what the demo asks, and what it tells newcomers to ask.
const ordersQuery = `SELECT name, count(*) AS orders, sum(cents) AS cents FROM orders JOIN customers ON customers.id = customer GROUP BY name ORDER BY cents DESC`

// stepsOnOrders ask the database, and try to change it.
func stepsOnOrders() []step {
	sql := func(text string) agent.RawObject { return agent.RawObject(fmt.Sprintf(`{"sql":%q}`, text)) }
	return []step{
		{agent.Call{Tool: "query", Arguments: sql(ordersQuery)}, checkOrders},
		{agent.Call{Tool: "query", Arguments: sql(`DELETE FROM orders RETURNING id`)}, checkUnchanged},
	}
}

func checkOrders(_ *round, result *mcp.CallToolResult, _ *progress, _ time.Time) (string, error) {
	lines := strings.Split(strings.TrimSpace(textOf(result)), "\n")
	if result.IsError || len(lines) != 5 || lines[1] != `["Barbara",1,32900]` {
		return "", fmt.Errorf("%w: the database answers otherwise", ErrProof)
	}
	return fmt.Sprintf("SELECT …: %d rows, the first %s", len(lines)-1, lines[1]), nil
}

func checkUnchanged(_ *round, result *mcp.CallToolResult, _ *progress, _ time.Time) (string, error) {
	if !result.IsError {
		return "", fmt.Errorf("%w: a query has changed the database", ErrProof)
	}
	return "DELETE …: refused, nothing is changed", nil
}
