"""Tokens in, tokens out over several turns: what an agent sends again is what it was sent."""

import json
import sys
import urllib.request
from pathlib import Path

MODEL, PORT = "{{MODEL}}", "{{PORT}}"
TURNS = [
    "You may call tools as <tool>{\"name\": \"ls\", \"args\": {}}</tool>. List the files.",
    "<result>$ ls\nREADME.md 'my file' \"quoted\"</result> Which of them has a space?",
    "Thank you. Say done.",
]


def post(path, body):
    data = json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}{path}", data=data, headers=headers)
    with urllib.request.urlopen(request, timeout=300) as answer:
        return json.load(answer)


def count(messages):
    body = {"model": MODEL, "messages": messages, "add_generation_prompt": False}
    return len(post("/tokenize", body)["tokens"])


def main():
    messages, counted = [], []
    for turn in TURNS:
        messages.append({"role": "user", "content": turn})
        answer = post("/v1/chat/completions", {"model": MODEL, "messages": messages, "temperature": 0})
        usage = answer["usage"]
        messages.append(answer["choices"][0]["message"])
        counted.append({"usage": usage["prompt_tokens"] + usage["completion_tokens"], "again": count(messages)})
        print(f"turn {len(counted)}: {counted[-1]}")
    Path("results/tito-test").mkdir(parents=True, exist_ok=True)
    Path("results/tito-test/agent-loop.json").write_text(json.dumps(counted, indent=2))
    # The template may close the last turn with a token or two that nobody generated.
    return 0 if all(0 <= c["again"] - c["usage"] <= 2 for c in counted) else 1


if __name__ == "__main__":
    sys.exit(main())
