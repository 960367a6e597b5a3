package starlark

import "testing"

// TestKeys has scripts use keys whose hash would end the process or take for ever.
func TestKeys(t *testing.T) {
	t.Parallel()
	const deep = "def main():\n    k = ()\n    for _ in range(100000):\n        k = (k,)\n"
	const twice = "def main():\n    k = ()\n    for _ in range(64):\n        k = (k, k)\n"
	for _, use := range []string{
		"{}[k]", "d = {}\n    d[k] = 1", "d = {1: 2}\n    d[k] += 1", "{k: 1}", "{x: 1 for x in [k]}", "k in {}", "k not in set()", "k in [k] or {}[k]",
		"{}.get(k)", "{}.pop(k, 1)", "{}.setdefault(k)", "{}.update([(k, 1)])", "{}.update([[k, 1]])", "{}.get(*[k])", "f = {}.get\n    f(k)", "getattr({}, 'get')(k)",
		"set([k])", "set().add(k)", "set([1]).union([k])", "set([1]).remove(k)", "set([1]).discard(k)", "set([1]).issuperset([k])", "dict([(k, 1)])", "dict([[k, 1]])",
	} {
		for script, want := range map[string]string{deep: "nesting", twice: "value"} {
			limit, text := limited(t, Limits{}, script+"    "+use+"\n")
			if limit == nil || limit.Limit != want {
				t.Errorf("%s: got %q, want the limit of %s", use, text, want)
			}
		}
	}
	for _, script := range []string{
		"d = {(1, (2, 3)): 4}\nd[(1, (2, 3))] *= 2\nd[(1, (2, 3))] += 1\nd.get((1, 2)) == None or fail()\nd[(1, (2, 3))] == 9 or fail(d)\n",
		"x = [[1], [2]]\nx[x.index([2])][0] -= 1\nx == [[1], [1]] or fail(x)\n",
		"s = set(['a'])\ns.add((1, 2))\n(1, 2) in s and 'b' not in s or fail(s)\ns.update([[1]]) if False else None\n",
		"'a' in 'abc' and {}.pop('x', 3) == 3 or fail()\n[1].pop(0) == 1 or fail()\n",
	} {
		if limit, text := limited(t, Limits{}, script); limit != nil || text != "" {
			t.Errorf("%s: got %s", script, text)
		}
	}
}
