// Package startest runs tests of scripts: the functions test_… of files *_test.star, each in a run of its
// own, with the module assert. It knows no other builtin: what a test sees of the world is made by
// the caller for each test.
//
//	files, err := startest.Find([]string{"./..."})
//	summary := startest.Run(ctx, files, startest.Config{New: newWorld, Report: show})
package startest
