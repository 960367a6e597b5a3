"""What the bench compares with: a client in the manner of the one in use before bifrost.

usage: predecessor.py HOST PORT USER KEY VERB [ARG...]

    true                 connect and run one command
    push FROM TO         the whole history as a bundle, unpacked on the node
    follow JOB SECONDS   look at a log every 2 seconds, by two commands; print each line with its time

It is written from a description of that client and not from its code: paramiko, one session for each
command, a poll every 2 seconds.
"""

import os
import subprocess
import sys
import tempfile
import time

import paramiko


def run(client, command):
    """Runs a command in a session of its own and returns what it printed."""
    _, stdout, stderr = client.exec_command(command)
    out = stdout.read()
    code = stdout.channel.recv_exit_status()
    if code != 0:
        sys.exit(f"{command}: exit code {code}: {stderr.read().decode()}")
    return out


def push(client, source, target):
    with tempfile.TemporaryDirectory(dir=os.path.dirname(source)) as folder:
        bundle = os.path.join(folder, "all.bundle")
        subprocess.run(["git", "-C", source, "bundle", "create", "-q", bundle, "main"], check=True)
        run(client, f"mkdir -p {target}")
        sftp = client.open_sftp()
        sftp.put(bundle, f"{target}.bundle")
        sftp.close()
    run(client, f"cd {target} && git init -q -b placed 2>/dev/null")
    run(client, f"cd {target} && git fetch -q {target}.bundle main")
    run(client, f"cd {target} && git checkout -q -f --detach FETCH_HEAD")
    run(client, f"rm {target}.bundle")


def follow(client, path, length):
    """Prints every line of the log with the moment at which it was seen."""
    offset, end = 0, time.time() + float(length)
    while time.time() < end:
        size = int(run(client, f"stat -c %s {path}"))
        if size > offset:
            new = run(client, f"tail -c +{offset + 1} {path}")
            offset += len(new)
            now = time.time()
            for line in new.decode().splitlines():
                print(f"{now:.6f} {line}", flush=True)
        time.sleep(2)


def main(host, port, user, key, verb, *args):
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    client.connect(host, int(port), user, key_filename=key, allow_agent=False, look_for_keys=False)
    try:
        if verb == "true":
            run(client, "true")
        else:
            {"push": push, "follow": follow}[verb](client, *args)
    finally:
        client.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
