package jwk

import (
	"math/big"
	"slices"
)

// soundPoint says whether 32 bytes are the canonical encoding (RFC 8032 section 5.1.3) of a point of edwards25519 whose
// order is not 1, 2, 4 or 8. With a public key of such an order a signature holds for many messages.
func soundPoint(encoded []byte) bool {
	bigEndian := slices.Clone(encoded)
	slices.Reverse(bigEndian)
	bigEndian[0] &= 0x7f // the top bit is the sign of x
	y := new(big.Int).SetBytes(bigEndian)
	p := fieldPrime()
	if y.Cmp(p) >= 0 {
		return false
	}
	one := big.NewInt(1)
	yy := new(big.Int).Mul(y, y)
	yy.Mod(yy, p)
	dyy := new(big.Int).SetBytes(curveD())
	dyy.Mod(dyy.Mul(dyy, yy), p)
	// The curve is -x² + y² = 1 + d x² y², so x² = (y²-1)/(dy²+1), which must be a square; 0 stands for the orders 1 and 2.
	u := new(big.Int).Sub(yy, one)
	v := new(big.Int).Add(dyy, one)
	if big.Jacobi(new(big.Int).Mod(new(big.Int).Mul(u, v), p), p) != 1 {
		return false
	}
	// The order is 4 where y is 0, and 8 where doubling gives y = 0: y(2P) = (y²+x²)/(1-dx²y²), so where x² = -y², which
	// the curve's equation turns into d y⁴ + 2y² - 1 = 0.
	eighth := new(big.Int).Mul(dyy, yy)
	eighth.Add(eighth, yy).Add(eighth, yy).Sub(eighth, one).Mod(eighth, p)
	return y.Sign() != 0 && eighth.Sign() != 0
}

// fieldPrime is 2^255 - 19.
func fieldPrime() *big.Int {
	p := new(big.Int).Lsh(big.NewInt(1), 255)
	return p.Sub(p, big.NewInt(19))
}

// curveD is d of the curve's equation, -121665/121666 modulo the prime (RFC 8032 section 5.1), big-endian.
func curveD() []byte {
	return []byte{
		0x52, 0x03, 0x6c, 0xee, 0x2b, 0x6f, 0xfe, 0x73, 0x8c, 0xc7, 0x40, 0x79, 0x77, 0x79, 0xe8, 0x98,
		0x00, 0x70, 0x0a, 0x4d, 0x41, 0x41, 0xd8, 0xab, 0x75, 0xeb, 0x4d, 0xca, 0x13, 0x59, 0x78, 0xa3,
	}
}
