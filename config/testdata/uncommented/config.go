// Package uncommented is read, never built, by the test of the generator. It does not know what its keys do.
package uncommented

// Config lacks comments.
type Config struct {
	Listen string `yaml:"listen"`
	// Good is good.
	Good  string `yaml:"good"`
	Inner struct {
		Deep int `yaml:"deep"`
	} `yaml:"inner"`
}

// Word is no struct.
type Word string
