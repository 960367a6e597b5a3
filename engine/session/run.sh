#!/bin/sh
# The supervisor of one bifrost job, and everything that asks about it.
#
#   . run.sh start DIR UMASK      checks, replaces, starts; prints the facts as key=value lines
#   sh run.sh read DIR            prints the status, after checking that the job is alive
#   sh run.sh cancel DIR REASON   ends the job, prints the final status
# and, among themselves: supervise, watch, job, view.
#
# Needs a POSIX sh (dash, bash, busybox ash), coreutils or busybox, setsid and /proc. Names begin with
# b_ because assigning to a variable that the login environment exports would change it for the job.

set +Cefu
unset IFS
b_mode=$1
b_dir=$2

# ---- facts about processes -------------------------------------------------------------------------

b_nap() { sleep "$1" 2>/dev/null || sleep 1; }

# b_began PID: start time of a process in clock ticks since boot, in b_ticks; fails for a zombie too.
# With the pid it names a process for good, pids alone are used again.
b_began() {
	b_ticks=
	{ IFS= read -r b_line <"/proc/$1/stat"; } 2>/dev/null || return 1
	set -- ${b_line##*) }
	case $1 in Z | X) return 1 ;; esac
	b_ticks=${20}
}

# b_alive PID TICKS: that very process is there; empty TICKS match any.
b_alive() {
	[ -n "$1" ] && b_began "$1" && { [ -z "$2" ] || [ "$2" = "$b_ticks" ]; }
}

# b_group: a process of the job's group lives. Zombies do not count: in a container whose first
# process reaps nobody they stay for ever, and kill -0 is true for them.
b_group() {
	[ -n "$b_pgid" ] || return 1
	case $(
		LC_ALL=C
		kill -0 "-$b_pgid" 2>&1 && echo yes
	) in
	yes | *ermitted*) ;;
	*) return 1 ;;
	esac
	if b_began "$b_pgid" && [ "$b_ticks" != "$b_pgticks" ]; then
		return 1 # the number belongs to somebody else by now
	fi
	set -f
	IFS='
'
	b_found=1
	for b_line in $(
		set +f
		cat /proc/[0-9]*/stat 2>/dev/null
	); do
		b_line=${b_line##*) }
		case $b_line in [ZX]\ *) continue ;; esac
		b_line=${b_line#* }
		case ${b_line#* } in "$b_pgid "*)
			b_found=0
			break
			;;
		esac
	done
	unset IFS
	set +f
	return $b_found
}

# b_end_group: TERM, the grace, KILL. CONT, because a stopped process takes no TERM.
b_end_group() {
	kill -TERM "-$b_pgid" 2>/dev/null
	kill -CONT "-$b_pgid" 2>/dev/null
	b_nap "$b_grace"
	while b_group; do
		kill -KILL "-$b_pgid" 2>/dev/null
		b_nap 0.2
	done
}

b_here() {
	b_myboot= b_mypidns=
	{ IFS= read -r b_myboot </proc/sys/kernel/random/boot_id; } 2>/dev/null
	b_mypidns=$(readlink /proc/self/ns/pid 2>/dev/null)
}

# b_sizeof FILE: its length in bytes, in b_size. wc would read it all with busybox.
b_sizeof() {
	b_size=$(ls -lnLd -- "$1" 2>/dev/null) || { b_size=0; return 1; }
	set -f
	set -- $b_size
	set +f
	b_size=$5
}

# b_full PATH: no space left on its file system.
b_full() {
	b_avail=$(df -Pk -- "$1" 2>/dev/null | tail -n 1)
	set -f
	set -- $b_avail
	set +f
	while [ $# -gt 2 ]; do # the device's name may hold spaces: look for "<avail> <n>% "
		case $2 in *[0-9]%)
			[ "$1" -lt 64 ] # kB; less is kept back by some file systems
			return
			;;
		esac
		shift
	done
	return 1
}

# ---- the status file -------------------------------------------------------------------------------

# b_load [FILE]: reads a status into variables.
b_load() {
	b_state= b_exit= b_signal= b_start= b_end= b_boot= b_pidns= b_sup= b_supticks=
	b_pgid= b_pgticks= b_bytes= b_reason= b_diskfull=
	[ -f "${1:-$b_dir/status}" ] || return 1
	while IFS= read -r b_line; do
		b_value=${b_line#*=}
		case $b_line in
		state=*) b_state=$b_value ;;
		exit_code=*) b_exit=$b_value ;;
		signal=*) b_signal=$b_value ;;
		start=*) b_start=$b_value ;;
		end=*) b_end=$b_value ;;
		boot_id=*) b_boot=$b_value ;;
		pid_ns=*) b_pidns=$b_value ;;
		supervisor=*) b_sup=$b_value ;;
		supervisor_ticks=*) b_supticks=$b_value ;;
		group=*) b_pgid=$b_value ;;
		group_ticks=*) b_pgticks=$b_value ;;
		log_bytes=*) b_bytes=$b_value ;;
		reason=*) b_reason=$b_value ;;
		disk_full=*) b_diskfull=$b_value ;;
		esac
	done 2>/dev/null <"${1:-$b_dir/status}"
	[ -n "$b_state" ]
}

# b_compose: the status as text, in b_text.
b_compose() {
	b_text="state=$b_state
exit_code=$b_exit
signal=$b_signal
start=$b_start
end=$b_end
boot_id=$b_boot
pid_ns=$b_pidns
supervisor=$b_sup
supervisor_ticks=$b_supticks
group=$b_pgid
group_ticks=$b_pgticks
log_bytes=$b_bytes
reason=$b_reason
disk_full=$b_diskfull"
}

# b_save: writes the status whole and renames it.
b_save() {
	b_compose
	printf '%s\n' "$b_text" >"$b_dir/status.new" && b_same "$b_dir/status.new" && mv -f -- "$b_dir/status.new" "$b_dir/status"
} 2>/dev/null

# b_same FILE: it begins with the lines of b_text. Not every shell's printf reports a full disk.
b_same() {
	b_value=
	while IFS= read -r b_line; do
		b_value="$b_value$b_line"
		[ "$b_value" != "$b_text" ] || return 0
		b_value="$b_value
"
	done <"$1"
	return 1
} 2>/dev/null

b_final() {
	case $b_state in exited | timeout | cancelled | refused) return 0 ;; esac
	return 1
}

# b_verdict STATE REASON: why the group is about to be ended; the first one stays. The file was
# allocated at the start, so this works on a full disk.
b_verdict() {
	case $(cat -- "$b_dir/verdict" 2>/dev/null) in state=*) return ;; esac
	printf 'state=%s\nreason=%s\n' "$1" "$2" 2>/dev/null 1<>"$b_dir/verdict"
}

# b_look: the status as it is now: a job that nobody can finish any more is lost.
b_look() {
	if ! b_load; then
		b_state=lost b_reason="it has no status file"
		return
	fi
	b_final && return
	b_here
	if [ -n "$b_myboot" ] && [ -n "$b_boot" ] && [ "$b_boot" != "$b_myboot" ]; then
		b_state=lost b_reason="the node was restarted"
	elif [ -n "$b_mypidns" ] && [ -n "$b_pidns" ] && [ "$b_pidns" != "$b_mypidns" ]; then
		b_state=lost b_reason="the container was restarted"
	elif b_alive "$b_sup" "$b_supticks"; then
		:
	elif b_group; then
		b_reason="its supervisor was killed: the exit code will not be known"
	else
		b_load # it may have become final in between
		if ! b_final; then
			b_reason="its supervisor and its processes are gone without an exit record"
			[ "$b_state" != starting ] || b_reason="its start was interrupted"
			b_state=lost
			rm -f -- "$b_dir/env"
		fi
	fi
}

b_print() {
	b_compose
	b_sizeof "$b_dir/log"
	printf '%s\nlog_size=%s\nnow=%s\n.\n' "$b_text" "$b_size" "$(date +%s)"
}

# ---- modes -----------------------------------------------------------------------------------------

# b_refuse FAULT CAUSE: a start that fails leaves nothing behind.
b_refuse() {
	trap '' HUP INT TERM
	# Moved first: a supervisor or a job that is just about to start fails from then on.
	mv -f -- "$b_dir" "$b_dir.refused" && b_dir=$b_dir.refused
	if [ -n "$b_launched" ] && b_load && [ "$b_sup" != $$ ]; then
		b_alive "$b_sup" "$b_supticks" && kill -KILL "-$b_sup"
		[ -z "$b_pgid" ] || kill -KILL "-$b_pgid"
		IFS= read -r b_value <"$b_dir/watch" && kill -KILL "-$b_value"
	fi 2>/dev/null
	[ -z "$b_launched" ] || [ "$b_tmux" != 1 ] || tmux -L bifrost kill-session -t "=$b_name" >/dev/null 2>&1
	[ -z "$b_newlog" ] || rm -f -- "$b_logfile"
	rm -rf -- "$b_dir"
	b_unlock
	rmdir -- "${b_dir%/*}" "$b_sessions" "${b_sessions%/*}" 2>/dev/null
	printf 'fault=%s\ncause=%s\n' "$1" "$(printf %s "$2" | tr '\n' ' ')"
	exit 3
}

# One start at a time per session name. The lock is a symlink, made in one step with its owner in it;
# whoever breaks the lock of a dead owner holds a second lock while doing so.
b_lock() {
	b_began $$
	b_here
	b_tries=0
	b_self=$$:$b_ticks:$b_myboot:$b_mypidns
	until ln -s "$b_self" "$b_lockfile" 2>/dev/null; do
		b_owner=$(readlink -- "$b_lockfile") || b_owner=
		b_pid=${b_owner%%:*}
		b_value=${b_owner#*:}
		if [ -n "$b_owner" ] && { [ "${b_value#*:}" != "$b_myboot:$b_mypidns" ] || ! b_alive "$b_pid" "${b_value%%:*}"; } &&
			mkdir -- "$b_lockfile.break" 2>/dev/null; then
			[ "$(readlink -- "$b_lockfile")" != "$b_owner" ] || rm -f -- "$b_lockfile"
			rmdir -- "$b_lockfile.break"
			continue
		fi
		[ -d "$b_sessions" ] || b_refuse internal "cannot make $b_lockfile"
		b_tries=$((b_tries + 1))
		[ $b_tries -lt 1200 ] || b_refuse busy "$b_lockfile is held by process $b_pid"
		b_nap 0.1
	done
	b_locked=1
}

b_unlock() {
	[ -z "$b_locked" ] || rm -f -- "$b_lockfile"
	b_locked=
}

b_start_job() {
	b_launched= b_newlog= b_locked= b_replaced= b_intmux=0 b_note=
	b_sessions=$HOME/.bifrost/sessions
	trap 'b_refuse interrupted "the start was interrupted"' HUP INT TERM
	. "$b_dir/spec"
	unset TMUX TMUX_PANE
	for b_tool in setsid mkfifo tail df ls wc mv rm cat ln readlink tr date sleep; do
		command -v "$b_tool" >/dev/null 2>&1 || b_refuse tool "$b_tool"
	done
	b_began $$ || b_refuse tool /proc
	[ -d "$b_workdir" ] || b_refuse workdir "no such folder on the node"
	[ -x "$b_workdir" ] || b_value=$(cd "$b_workdir" 2>&1) || b_refuse workdir_denied "$b_value"
	for b_value in "${b_dir%/*}"/*/env; do # secrets of starts that a crash of the node cut short
		[ ! -f "$b_value" ] || [ "$b_value" = "$b_dir/env" ] || (b_dir=${b_value%/env} && b_look)
	done
	b_lockfile=$b_sessions/$b_name.lock
	[ -d "$b_sessions" ] || mkdir -p -- "$b_sessions" 2>/dev/null || b_refuse internal "cannot make $b_sessions"
	b_lock

	b_old=
	{ IFS= read -r b_old <"$b_sessions/$b_name"; } 2>/dev/null
	b_olddir=${b_dir%/*}/$b_old
	if [ -n "$b_old" ] && [ -f "$b_olddir/run.sh" ] && { ! b_load "$b_olddir/status" || ! b_final; }; then
		b_value=$(sh "$b_olddir/run.sh" read "$b_olddir")
		case $b_value in "state=running"* | "state=starting"*)
			[ "$b_replace" = 1 ] || b_refuse conflict "$b_old"
			sh "$b_olddir/run.sh" cancel "$b_olddir" "replaced by $b_id" >"$b_dir/replaced" &
			wait $! # not in the foreground: a trap must not wait for it
			case $(cat -- "$b_dir/replaced") in "state=running"* | "state=starting"* | "") b_refuse stuck "$b_old" ;; esac
			b_replaced=$b_old
			rm -f -- "$b_dir/replaced"
			;;
		esac
	fi

	b_log=$b_dir/log
	if [ -n "$b_logfile" ]; then
		[ -e "$b_logfile" ] || b_newlog=1
		[ -n "$b_newlog" ] || [ -f "$b_logfile" ] || { b_newlog= ; b_refuse log "it is no regular file"; }
		b_value=$({
			umask "$b_umask"
			mkdir -p -- "${b_logfile%/*}/" && : >>"$b_logfile"
		} 2>&1) || { b_newlog= ; b_refuse log "$b_value"; }
		[ -w "$b_logfile" ] || b_refuse log "permission denied"
		ln -s -- "$b_logfile" "$b_log"
	fi
	printf '%s\n' "$b_id" >"$b_sessions/$b_name.new" && mv -f -- "$b_sessions/$b_name.new" "$b_sessions/$b_name" ||
		b_refuse space "$b_sessions"

	# The outer setsid makes a group leader, the inner one cannot become one and so forks: the
	# supervisor leaves the session without "&", which would make it ignore INT and QUIT for ever.
	# The job says on the pipe that it is recorded as running; where nobody gets that far, the pipe ends.
	b_launched=1
	b_note=$(
		setsid setsid sh "$b_dir/run.sh" supervise "$b_dir" "$b_umask" $$ "$b_myboot" "$b_mypidns" </dev/null 2>"$b_dir/messages" | {
			[ "$b_tmux" != 1 ] || b_open_window
			read -r b_line
		}
	)
	b_tries=0
	while :; do
		b_load
		case $b_state in
		running | exited | timeout | cancelled) break ;;
		refused) b_refuse "${b_signal:-internal}" "$b_reason" ;;
		esac
		b_tries=$((b_tries + 1))
		if [ $b_tries -gt 50 ]; then
			if [ "$b_sup" = $$ ] || ! b_alive "$b_sup" "$b_supticks"; then
				b_load
				[ "$b_state" = starting ] || continue
				b_full "$b_dir" && b_refuse space "$b_dir"
				[ $b_tries -lt 200 ] || b_refuse internal "the supervisor did not start: $(cat -- "$b_dir/messages" 2>/dev/null)"
			fi
			b_nap 0.1
		else
			b_nap 0.02
		fi
	done
	trap : HUP INT TERM # from here on it runs, whatever happens to this connection

	[ "$b_tmux" != 1 ] || [ -n "$b_note" ] || b_intmux=1
	b_unlock
	b_load
	# Should the answer be lost, the client reads it here.
	b_text="replaced=$b_replaced
tmux=$b_intmux
note=$b_note"
	printf '%s\n' "$b_text" 2>/dev/null >"$b_dir/started"
	printf 'home=%s\n%s\n' "$HOME" "$b_text"
	b_compose
	printf '%s\n.\n' "$b_text"
}

# b_open_window: a tmux session in which the log is shown; prints why there is none. It takes as long as
# the start of the job does, and so happens beside it.
b_open_window() {
	command -v tmux >/dev/null 2>&1 || {
		printf 'tmux is not installed'
		return
	}
	# A session that shows an earlier job goes first. A server that ends just now, with its last
	# session, takes the new one along: again.
	b_tries=0
	until b_note=$(tmux -u -L bifrost -f /dev/null new-session -d -s "$b_name" -x 200 -y 50 \
		sh "$b_dir/run.sh" view "$b_dir" 2>&1 </dev/null); do
		b_tries=$((b_tries + 1))
		[ $b_tries -lt 5 ] || {
			printf %s "${b_note:-tmux failed}" | tr '\n' ' '
			return
		}
		tmux -L bifrost kill-session -t "=$b_name" >/dev/null 2>&1 || b_nap 0.1
	done
}

# The supervisor. It is the parent of the job and waits for it in the foreground: children started
# with "&" by a script ignore INT and QUIT. Handlers, not '': what is ignored stays so in children.
b_supervise() {
	trap : HUP INT QUIT TERM
	b_umask=$1
	umask 077
	cd "$b_dir" || exit 1
	. "$b_dir/spec"
	b_load
	[ "$b_sup" = "$2" ] || exit 1 # the start that wanted this was given up, and another made the folder
	b_myboot=$3 b_mypidns=$4
	b_began $$
	b_boot=$b_myboot b_pidns=$b_mypidns b_sup=$$ b_supticks=$b_ticks b_start=$(date +%s)
	b_save || exit 1

	# Allocated now, overwritten in place at the end: a full disk must not hide how the job ended.
	printf '%4096s\n' ' ' >"$b_dir/final"
	printf '%1024s\n' ' ' >"$b_dir/verdict"
	printf 'bifrost\n' >"$b_dir/events"
	set -- $(wc -c final verdict)
	[ "$1 $3" = "4097 1025" ] || exit 1

	b_log=$b_dir/log
	true >"$b_log" || b_give_up log "$({ : >"$b_log"; } 2>&1)"
	mkfifo "$b_dir/control" || b_give_up internal "cannot make a fifo in $b_dir"
	exec 9<>"$b_dir/control"
	setsid sh "$b_dir/run.sh" watch "$b_dir" $$ "$b_supticks" 8<"$b_dir/control" 9>&- </dev/null >/dev/null 2>&1 &
	b_watch=$!
	printf '%s\n' "$b_watch" >"$b_dir/watch"

	# The shell itself writes to "messages", and does so exactly when the child was killed by a
	# signal (INT and PIPE excepted): this tells "exit 143" from SIGTERM. The job opens its log by
	# itself, because a redirection here would send the shell's own message there too.
	exec 2>"$b_dir/messages"
	setsid sh "$b_dir/run.sh" job "$b_dir" "$b_umask" 9>&-
	b_code=$?
	b_killed=
	[ ! -s "$b_dir/messages" ] || b_killed=1
	case $b_code in 130 | 141) b_killed=1 ;; esac
	exec 2>/dev/null

	b_load
	if [ "$b_state" != running ]; then
		b_stop_watch
		b_value=
		{ IFS= read -r b_value <"$b_dir/refused"; }
		b_give_up "${b_value%% *}" "${b_value#* }"
	fi
	b_pause=0.02
	while b_group; do
		b_nap $b_pause
		case $b_pause in 0.02) b_pause=0.05 ;; 0.05) b_pause=0.2 ;; 0.2) b_pause=0.5 ;; 0.5) b_pause=1 ;; esac
	done
	b_stop_watch

	b_exit=$b_code b_signal=
	if [ -n "$b_killed" ] && [ $b_code -gt 128 ]; then
		b_signal=$(kill -l $((b_code - 128)) 2>/dev/null) || b_signal=$((b_code - 128))
		b_signal=${b_signal#SIG}
	fi
	b_state=exited
	while IFS= read -r b_line; do
		case $b_line in
		state=*) b_state=${b_line#*=} ;;
		reason=*) b_reason=${b_line#*=} ;;
		esac
	done <"$b_dir/verdict"
	b_end=$(date +%s)
	b_sizeof "$b_log"
	b_bytes=$b_size
	b_diskfull=0
	b_full "$b_log" && b_diskfull=1
	b_finish
}

# b_finish: the last word. Nobody else can say it, so it is tried again where the disk refuses.
b_finish() {
	b_compose
	b_tries=0
	until { printf '%s\n' "$b_text" 1<>"$b_dir/final" && b_same "$b_dir/final"; } 2>/dev/null; do
		b_tries=$((b_tries + 1))
		[ $b_tries -lt 600 ] && [ -d "$b_dir" ] || exit 1
		rm -f -- "$b_dir/messages" "$b_dir/command" "$b_dir/command.sh"
		sleep 1
	done
	mv -f -- "$b_dir/final" "$b_dir/status"
	# Followers wait for this line; it fits into the block that the file has already.
	printf '%s\n.\n' "$b_text" >>"$b_dir/events"
	rm -f -- "$b_dir/env" "$b_dir/control" "$b_dir/verdict" "$b_dir/messages" "$b_dir/command" "$b_dir/command.sh" \
		"$b_dir/watch" "$b_dir/refused"
	exit 0
}

# b_give_up FAULT CAUSE: the job did not start; the start script reads this and removes the folder.
b_give_up() {
	rm -f -- "$b_dir/env"
	b_state=refused b_signal=$1 b_reason=$(printf %s "$2" | tr '\n' ' ')
	b_finish
}

# The watch and its sleeps are one process group, which goes in one blow; a watch that did not yet
# get as far as setsid is hit by its pid. It is reaped last, so that its number stays its own.
b_stop_watch() {
	kill -KILL $b_watch
	kill -KILL -$b_watch
	wait $b_watch
} 2>/dev/null

# The watch ends the group when the time is over or somebody cancels. Both arrive as a line in the
# fifo, so that nothing polls. End of file there means that the supervisor was killed: then it stays
# until the group has gone, for the timeout, and for nothing to be left.
b_watch_job() {
	trap : HUP INT QUIT TERM
	. "$b_dir/spec"
	b_timer=
	if [ "$b_timeout" != 0 ]; then
		(
			b_nap "$b_timeout"
			printf 'timeout\n' 1<>"$b_dir/control"
		) &
		b_due=$(($(date +%s) + ${b_timeout%%.*} + 1))
	fi
	while IFS= read -r b_command <&8 || b_alive "$1" "$2"; do
		case $b_command in
		timeout) b_verdict timeout "it ran into its timeout" ;;
		cancel\ *) b_verdict cancelled "${b_command#cancel }" ;;
		*) continue ;;
		esac
		until b_load && [ -n "$b_pgid" ]; do
			b_alive "$1" "$2" || break 2
			b_nap 0.02
		done
		b_end_group
	done
	b_load
	while b_group; do
		if [ "$b_timeout" != 0 ] && [ "$(date +%s)" -ge $b_due ]; then
			b_end_group
		fi
		b_nap 2
	done
	kill -KILL -$$
}

# The job's own process: says who it is, takes the environment, becomes the command. From setsid
# on, this is the leader of the group that the supervisor judges.
b_become_job() {
	b_umask=$1
	exec 8>&1 </dev/null >>"$b_dir/log" 2>&1
	. "$b_dir/spec"
	b_load
	cd "$b_workdir" || b_deny workdir "no such folder on the node"
	[ -r "$b_dir/env" ] || b_deny internal "cannot read the environment"
	. "$b_dir/env"
	rm -f -- "$b_dir/env"
	[ ! -e "$b_dir/env" ] || b_deny internal "cannot remove the environment's file"
	b_value=$(exec 2>&1; eval "$b_env") || b_deny env "$b_value"
	. "$b_dir/command"
	b_began $$
	b_state=running b_pgid=$$ b_pgticks=$b_ticks
	b_save || b_deny space "$b_dir"
	trap : PIPE # whoever started it may be gone
	echo running >&8 2>/dev/null
	trap - PIPE
	exec 8>&-
	umask "$b_umask"
	# Nothing but the command may be looked up with the PATH and the libraries of the job.
	eval "$b_env"
	exec "$@"
}

b_deny() {
	printf '%s %s\n' "$1" "$(printf %s "$2" | tr '\n' ' ')" >"$b_dir/refused"
	exit 97
}

b_cancel() {
	b_request=$1
	b_grace=10
	[ ! -f "$b_dir/spec" ] || . "$b_dir/spec"
	b_asked=
	b_waited=0
	b_limit=$((${b_grace%%.*} + 5))
	b_since=$(date +%s)
	while :; do
		b_look
		case $b_state in running | starting) ;; *) break ;; esac
		if ! b_alive "$b_sup" "$b_supticks"; then
			[ -z "$b_pgid" ] || b_end_group
		elif [ -z "$b_asked" ] && [ -p "$b_dir/control" ]; then
			# Opened for both so that it never blocks; the supervisor holds it open as well.
			printf 'cancel %s\n' "$b_request" 1<>"$b_dir/control"
			[ -p "$b_dir/control" ] || rm -f -- "$b_dir/control" # it ended this very moment
			b_asked=1
		elif [ -n "$b_asked" ] && [ $(($(date +%s) - b_since)) -gt $b_limit ] && [ -n "$b_pgid" ]; then
			b_verdict cancelled "$b_request" # the watch is gone
			b_end_group
		fi
		b_nap 0.05
	done
	b_print
}

# What the tmux session shows to whoever attaches: it is a window on the log, no part of the job.
b_view() {
	trap : INT QUIT TSTP
	while b_load && [ "$b_state" = starting ] && b_alive "$b_sup" "$b_supticks"; do
		b_nap 0.1
	done
	tail -n 1000 -f "$b_dir/log" &
	b_tail=$!
	while b_load && ! b_final && b_alive "$b_sup" "$b_supticks"; do
		sleep 1
	done
	kill $b_tail
}

case $b_mode in
start)
	b_umask=$3
	b_start_job
	;;
supervise) b_supervise "$3" "$4" "$5" "$6" ;;
watch) b_watch_job "$3" "$4" ;;
job)
	b_begin=$3
	set --
	b_become_job "$b_begin"
	;;
read)
	b_look
	b_print
	;;
cancel) b_cancel "$3" ;;
view) b_view ;;
*) exit 2 ;;
esac
