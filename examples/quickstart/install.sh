# Stands for "uv sync": whatever makes the machine ready for the program.
set -eu
echo "installing nothing on $(uname -s), $(nproc 2>/dev/null || echo '?') cores"
