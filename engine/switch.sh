#!/bin/sh
# Ends this machine when its time is up: bifrost starts it beside a job and moves the end as long as it can.
# Arguments: the folder, a token, and the seconds that are left. Seconds are counted, not read from a clock
# that somebody may set. It ends when the folder names another token, and goes on when it names none: then
# the folder was lost, and the machine would cost for ever.
dir=$1 token=$2 left=$3
end=$(cat "$dir/end") || exit 1 # kept here: the disk may fill up
current() {
	now=$(cat "$dir/token" 2>/dev/null)
	[ -z "$now" ] || [ "$now" = "$token" ]
}
echo "$token $$ $left" >"$dir/armed.new" && mv "$dir/armed.new" "$dir/armed"
while [ "$left" -gt 0 ]; do
	step=10
	[ "$left" -ge 10 ] || step=$left
	sleep "$step"
	left=$((left - step))
	current || exit 0
done
while current; do
	sh -c "$end" end
	sleep 30
done
