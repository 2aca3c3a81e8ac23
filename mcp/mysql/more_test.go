package mysql

import "testing"

func testWrite(t *testing.T, b *bench)    {}
func testLogin(t *testing.T, b *bench)    {}
func testLimits(t *testing.T, b *bench)   {}
func testCancel(t *testing.T, b *bench)   {}
func testExplain(t *testing.T, b *bench)  {}
func testBrowse(t *testing.T, b *bench)   {}
func testWarnings(t *testing.T, b *bench) {}
func testFile(t *testing.T, b *bench)     {}
func testSession(t *testing.T, b *bench)  {}
func testLong(t *testing.T, b *bench)     {}
