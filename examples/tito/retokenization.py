"""Tokens in, tokens out: text that a server returns has the tokens that the server counted."""

import json
import sys
import time
import urllib.request
from pathlib import Path

MODEL, PORT = "{{MODEL}}", "{{PORT}}"
PROMPTS = [
    "Count to five.",
    'Write a JSON object with the keys "a" and "b": {"a": 1, "b": [2, 3]}',
    "What does ${HOME:-/root} mean in a shell? And `$(date)`? And '$1'?",
    "Repeat exactly: \\n is not a line break, {braces} are not a format, 100% is not %d.",
]


def post(path, body):
    request = urllib.request.Request(
        f"http://127.0.0.1:{PORT}{path}",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=300) as answer:
        return json.load(answer)


def tokens(text):
    return post("/tokenize", {"model": MODEL, "prompt": text, "add_special_tokens": False})["tokens"]


def check(prompt):
    body = {"model": MODEL, "prompt": prompt, "max_tokens": 128, "temperature": 0, "logprobs": 1}
    choice = post("/v1/completions", body)["choices"][0]
    generated = choice["logprobs"]["tokens"]
    again = tokens(choice["text"])
    return {"prompt": prompt, "generated": len(generated), "again": len(again), "same": len(generated) == len(again)}


def main():
    began = time.time()
    results = [check(prompt) for prompt in PROMPTS]
    for result in results:
        print(f"{'ok  ' if result['same'] else 'FAIL'} {result['generated']:4d} {result['prompt'][:50]!r}")
    Path("results/tito-test").mkdir(parents=True, exist_ok=True)
    Path("results/tito-test/retokenization.json").write_text(json.dumps(results, indent=2))
    print(f"{sum(r['same'] for r in results)} of {len(results)} in {time.time() - began:.1f} s")
    return 0 if all(r["same"] for r in results) else 1


if __name__ == "__main__":
    sys.exit(main())
