package tunnel

import "sync"

// crew runs short background tasks whose end somebody must be able to await,
// and takes no more of them once that wait has begun.
type crew struct {
	mu    sync.Mutex // guards over, and Go against wait
	over  bool
	tasks sync.WaitGroup
}

// run starts task, or reports false if the crew takes no more.
func (c *crew) run(task func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return false
	}
	c.tasks.Go(task)
	return true
}

// wait returns when all tasks have ended; later ones are refused.
func (c *crew) wait() {
	c.mu.Lock()
	c.over = true
	c.mu.Unlock()
	c.tasks.Wait()
}
