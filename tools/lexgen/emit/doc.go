// Package emit writes Go code from the model of package ir. All code is built
// with jennifer, which is used nowhere else.
//
// It is pure: a model goes in, file names and bytes come out. Text from a lexicon
// reaches the code in two ways only: as a quoted string literal, and as a comment
// through the function comment. Every file is parsed again after it was written
// and its declarations are compared with what was planned.
package emit
