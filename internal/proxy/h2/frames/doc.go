// Package frames is what both sides of HTTP/2 share: header fields to and from
// exchanges, windows of flow control, and the writing of frames.
package frames
