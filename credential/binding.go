package credential

import "fmt"

// Binding ties one secret to the way it is put in and the one place it may go. Who may use it is said by where the
// binding is: it belongs to one server, and policy decides who may call that.
type Binding struct {
	Source      Source
	Header      Header
	Destination Destination
}

// Validate checks that the binding is complete.
func (b Binding) Validate() error {
	if b.Source == nil {
		return fmt.Errorf("%w: credential for header %s has no secret; write secret: file:/absolute/path or env:NAME", ErrConfig, b.Header.Name)
	}
	if err := b.Header.Validate(); err != nil {
		return err
	}
	return b.Destination.Validate()
}
