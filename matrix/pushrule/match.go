package pushrule

import "strings"

// Glob is a compiled pattern, for those outside who compare with the same kind. Appendices #glob-style-matching
type Glob struct{ g glob }

// CompileGlob never fails: each text is a pattern.
func CompileGlob(pattern string) Glob { return Glob{compileGlob(pattern)} }

// Match says whether the pattern matches all of a text. Case makes no difference.
func (g *Glob) Match(text string) bool { return g.g.match(strings.ToLower(text)) }
