// Package moneytest has the tests of the one promise that costs money when it is broken: whatever happens
// between the first request to a provider and the last, no machine is lost and none is rented twice. Its
// tests are tables of faults and of crashes against the cloud for tests; make money prints them.
package moneytest
