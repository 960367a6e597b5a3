#!/usr/bin/env python3
"""Writes what Python says of every case into the files beside this one.

    cd builtins/testdata/python && python3 record.py

A case is a line with an expression that is both Python and Starlark. Below it stands what Python makes
of it, which this program writes: "= repr(value)", or "! message" of the exception. A line "~ text" says
what the builtins make of it where they differ on purpose: the same repr, or "! " and a part of their
message. Lines that start with "#" and empty lines separate. Needs PyYAML for yaml.txt; times are UTC.
"""

import hashlib, json, math, os, re, shlex, sys, time, tomllib, types
from datetime import datetime, timedelta, timezone
from pathlib import Path

os.environ["TZ"] = "UTC"
time.tzset()

try:
    import yaml
except ImportError:
    yaml = None

toml = types.SimpleNamespace(loads=tomllib.loads)


def struct(**fields):
    raise TypeError("no struct in Python")


def outcome(expression):
    try:
        return "= " + repr(eval(expression))
    except Exception as e:
        return "! " + " ".join(str(e).split())


for path in sorted(Path(__file__).parent.glob("*.txt")):
    if path.name == "yaml.txt" and yaml is None:
        continue
    lines = []
    for line in path.read_text().splitlines():
        if line.startswith(("= ", "! ")):
            continue
        lines.append(line)
        if line and not line.startswith(("#", "~ ")):
            lines.append(outcome(line))
    path.write_text("\n".join(lines) + "\n")
