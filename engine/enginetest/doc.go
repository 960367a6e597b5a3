// Package enginetest holds what tests of the engine run on: real SSH servers on loopback, a proxy
// that breaks connections, and a Shell that needs neither. It is imported by tests only.
package enginetest
