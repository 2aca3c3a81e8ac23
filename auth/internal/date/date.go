// Package date has the times of our own tokens: whole seconds, bounded. It does not know which claims they are.
package date

import (
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Max bounds times in claims, to year 36812; beyond it arithmetic on times is not to be trusted.
const Max = 1 << 40

// Numeric gives a time as the JWT library wants it: nil for one that is absent, an error for one that is not between 1 and
// [Max].
func Numeric(seconds *int64) (*jwt.NumericDate, error) {
	if seconds == nil {
		return nil, nil
	}
	if *seconds <= 0 || *seconds > Max {
		return nil, jwt.ErrTokenInvalidClaims
	}
	return jwt.NewNumericDate(time.Unix(*seconds, 0)), nil
}
