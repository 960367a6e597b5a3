cd "$b_dir" 2>/dev/null || {
	printf 'state=missing\n.\n' >&2
	exit 0
}
# The log is made just before the job starts; the client asks again how the start goes on.
[ -e log ] && [ -e events ] || {
	printf 'state=starting\n.\n' >&2
	exit 0
}
# A signal only makes the script go on to its end: all that was started is known there.
trap b_stop=1 HUP INT TERM
# A client that is far gets what there is compressed, where that is much; a line says what comes.
{
	if [ -n "$b_pack" ]; then
		b_size=$(($(wc -c <log)))
		b_count=$((b_size - b_from + 1))
		if [ $b_count -ge 1000000 ] && command -v gzip >/dev/null 2>&1; then
			echo "z$b_count"
			tail -c "+$b_from" log | head -c $b_count | gzip -1
			b_from=$((b_size + 1))
		else
			echo r
		fi
	fi
	exec tail -c "+$b_from" -f log
} </dev/null &
b_log=$!
tail -n +1 -f events </dev/null 1>&2 &
b_events=$!
# Events tell of the end at once; a supervisor that was killed writes none. The sleep must not hold
# the streams open when it outlives this script. When this script is killed, the tails go here.
{
	while kill -0 $$ 2>/dev/null; do
		sh ./run.sh read "$PWD" 1>&2
		sleep 5 >/dev/null 2>&1
	done
	kill -9 $b_log $b_events 2>/dev/null
} </dev/null &
b_life=$!
[ -n "$b_stop" ] || cat >/dev/null
# Not by TERM: one that was started this moment has the trap until it is a program of its own.
kill -9 $b_log $b_events $b_life 2>/dev/null
exit 0
