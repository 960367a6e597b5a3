package builtins

import (
	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/engine"
)

func resultType() *Type {
	return &Type{
		Name: "result", Doc: "What `with_job` returns: plain values, good after the machine is gone.",
		Fields: []Field{
			{Name: "ok", Kind: "bool", Doc: "whether the job exited with 0"},
			{Name: "status", Kind: "str", Doc: `"succeeded", "failed", "timeout", "cancelled" or "lost"`},
			{Name: "exit_code", Kind: "int", Doc: "the job's own; 124 at its timeout"},
			{Name: "value", Kind: "any", Doc: "what the function returned; None without one"},
			{Name: "job_id", Kind: "str", Doc: "names the job in every command of bifrost"},
			{Name: "node_id", Kind: "str", Doc: "the machine that it ran on"},
			{Name: "duration", Kind: "float", Doc: "seconds"},
			{Name: "cost", Kind: "float", Doc: "USD, of the machine while this run had it"},
			{Name: "files", Kind: "int", Doc: "files that the results brought"},
		},
	}
}

func (l *Library) result(r engine.Result, value star.Value) *object {
	return l.make("result", star.StringDict{
		"ok": star.Bool(r.Status == "succeeded"), "status": star.String(r.Status), "exit_code": star.MakeInt(r.ExitCode), "value": value,
		"job_id": star.String(r.JobID), "node_id": star.String(r.NodeID), "duration": star.Float(r.Duration.Seconds()),
		"cost": star.Float(r.Cost), "files": star.MakeInt(r.Files()),
	}, nil)
}
