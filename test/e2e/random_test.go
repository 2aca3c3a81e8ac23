package e2e_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"sallyport.dev/connector"
	"sallyport.dev/test/stack"
)

const randomBodies = 150 // for each transport and version

// Bodies that nobody has thought of pass unchanged as well. The seed is in the
// failure.
func TestRandomBodiesPass(t *testing.T) {
	t.Parallel()
	exact := newExact(t)
	seed := rand.Uint64()
	eachWay(t, func(*testing.T) map[string]connector.Server { return one("exact", exact.url) },
		func(t *testing.T, s *stack.Stack, agent *http.Client) {
			g := &generator{rand.New(rand.NewPCG(seed, 1))}
			for range randomBodies {
				body := g.message()
				got := post(t, s, agent, "exact", body)
				if got.status != http.StatusOK {
					t.Fatalf("seed %d: body %q was refused: %s", seed, body, got.body)
				}
				if arrived := exact.take(t).body; !bytes.Equal(arrived, []byte(body)) {
					t.Fatalf("seed %d: body %q arrived as %q", seed, body, arrived)
				}
			}
		})
}

// generator makes random JSON-RPC messages in random spellings.
type generator struct{ *rand.Rand }

// message makes a request or a notification, its members in any order.
func (g *generator) message() string {
	members := []string{
		`"jsonrpc"` + g.space() + ":" + g.space() + `"2.0"`,
		`"method"` + g.space() + ":" + g.space() + g.pick(`"tools/list"`, `"x/y-z_1"`, `"notifications/n"`, `"ping"`),
	}
	if g.IntN(4) > 0 {
		members = append(members, `"id":`+g.space()+g.pick(g.number(), g.text()))
	}
	if g.IntN(4) > 0 {
		members = append(members, `"params":`+g.object(1, "p"))
	}
	for i := range g.IntN(3) {
		members = append(members, g.key("extra", i)+":"+g.value(1))
	}
	g.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
	return g.space() + "{" + g.space() + strings.Join(members, g.space()+","+g.space()) + g.space() + "}" + g.space()
}

func (g *generator) value(depth int) string {
	kinds := 7
	if depth > 8 {
		kinds = 5
	}
	switch g.IntN(kinds) {
	case 0:
		return g.pick("null", "true", "false")
	case 1, 2:
		return g.number()
	case 3, 4:
		return g.text()
	case 5:
		return g.object(depth, "k")
	}
	items := make([]string, g.IntN(4))
	for i := range items {
		items[i] = g.space() + g.value(depth+1) + g.space()
	}
	return "[" + strings.Join(items, ",") + "]"
}

func (g *generator) object(depth int, prefix string) string {
	members := make([]string, g.IntN(4))
	for i := range members {
		members[i] = g.space() + g.key(prefix, i) + g.space() + ":" + g.space() + g.value(depth+1)
	}
	return "{" + strings.Join(members, ",") + g.space() + "}"
}

// key makes names that differ within an object and from every word of the
// protocol. One with a NUL would rightly be refused.
func (g *generator) key(prefix string, i int) string {
	return `"` + prefix + strconv.Itoa(i) + strings.ReplaceAll(g.characters(), `\u0000`, "") + `"`
}

func (g *generator) text() string { return `"` + g.characters() + `"` }

func (g *generator) characters() string {
	var b strings.Builder
	for range g.IntN(8) {
		switch g.IntN(5) {
		case 0:
			b.WriteString(g.pick(`\n`, `\/`, `\"`, `\\`, `\b`, `\f`, `\r`, `\t`))
		case 1:
			fmt.Fprintf(&b, g.pick(`\u%04x`, `\u%04X`), g.pickRune(0, 0x7f, 0x20ac, 0xfffd, 0xffff))
		case 2:
			b.WriteString(`\ud83d\uDE00`)
		case 3:
			b.WriteRune(g.pickRune('é', '€', '😀', 0x2028, 0x7f, 0xfeff))
		default:
			b.WriteByte("abcXYZ019 -_/<>&'"[g.IntN(17)])
		}
	}
	return b.String()
}

func (g *generator) number() string {
	n := g.pick("", "-") + g.pick("0", "1", "7", "10", "9007199254740993", strconv.FormatUint(g.Uint64()|1, 10)+strconv.FormatUint(g.Uint64(), 10))
	if g.IntN(3) == 0 {
		n += "." + g.pick("0", "00", "5", "10", "000000000000000000001")
	}
	if g.IntN(4) == 0 {
		n += g.pick("e", "E") + g.pick("", "+", "-") + g.pick("0", "3", "03", "999")
	}
	return n
}

func (g *generator) space() string {
	return g.pick("", "", "", " ", "\n", "\t", "\r\n", "  ")
}

func (g *generator) pick(of ...string) string { return of[g.IntN(len(of))] }

func (g *generator) pickRune(of ...rune) rune { return of[g.IntN(len(of))] }
