package credential

import "fmt"

// Binding ties one credential to who may use it, the one place where it may go, and the way in which it is put in.
type Binding struct {
	Who         Who
	Destination Destination
	Injector    Injector
	Source      Source
}

// Validate checks that the binding is complete.
func (b Binding) Validate() error {
	if b.Injector == nil {
		return fmt.Errorf("%w: a credential does not say how it is put in", ErrConfig)
	}
	if b.Source == nil {
		return fmt.Errorf("%w: %s: the credential has no secret; write secret: file:/absolute/path or env:NAME", ErrConfig, b.Injector.Place())
	}
	if err := b.Who.Validate(); err != nil {
		return err
	}
	if err := b.Injector.Validate(); err != nil {
		return err
	}
	return b.Destination.Validate()
}
