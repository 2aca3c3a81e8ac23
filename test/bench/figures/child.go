package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
)

// child is a role in a process of its own. It ends when its standard input does, and so with this process.
type child struct {
	cmd     *exec.Cmd
	orders  io.WriteCloser
	answers *json.Decoder
	up      ready
}

// start runs self in the role of j and waits until it is ready.
func start(ctx context.Context, self string, j job) (*child, error) {
	cmd := exec.CommandContext(ctx, self, roleArgument)
	cmd.Stderr = os.Stderr
	orders, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &child{cmd: cmd, orders: orders, answers: json.NewDecoder(bufio.NewReader(out))}
	if err := json.NewEncoder(orders).Encode(j); err != nil {
		return nil, c.failed(j.Role, err)
	}
	if err := c.answers.Decode(&c.up); err != nil {
		return nil, c.failed(j.Role, err)
	}
	return c, nil
}

func (c *child) failed(role string, err error) error {
	_ = c.orders.Close()
	return fmt.Errorf("start the %s: %w (%w)", role, err, c.cmd.Wait())
}

// order sends one order and returns what the child has used so far.
func (c *child) order(text string) (usage, error) {
	var u usage
	if _, err := io.WriteString(c.orders, text+"\n"); err != nil {
		return u, err
	}
	err := c.answers.Decode(&u)
	return u, err
}

// stop ends the child and waits for it.
func (c *child) stop() error {
	_ = c.orders.Close()
	return c.cmd.Wait()
}
