# The node's half of a push. W is set to the workspace, C to the client as one word, A to the attempt.
# It writes lines to stdout and reads lines, then a tar stream, from stdin. Comments and indentation
# are taken off before it is sent. Starting a program is what takes time here, so builtins come first.
LC_ALL=C
TAR_OPTIONS=-b128
export LC_ALL TAR_OPTIONS EXTRACT_UNSAFE_SYMLINKS=1
set -f
B=.bifrost
M=$B/manifest
P=$B/pending
S=$B/stage
say() { printf '%s\n' "$*"; }
# sum leaves the sha256 of a file in x, dec what an encoded word stands for.
sum() { x=$(sha256sum <"$1"); x=${x%% *}; }
dec() { x=$(printf '%b.' "$1"); x=${x%.}; }
die() {
  k=$1
  shift
  case $* in
  *"o space left"*|*"uota exceeded"*|*"Wrote only"*|*"hort write"*) k=full ;;
  esac
  [ $k != full ] || set -- $(df -kP . | sed 1d) "| $*"
  say fail $k $(printf %s "$*" | tr '\n' ' ')
  exit 0
}
for t in sha256sum tar find sed awk stat xargs readlink; do
  command -v $t >/dev/null || die missing $t
done
[ ! -e "$W" ] || [ -d "$W" ] || die notdir
[ -d "$W" ] || e=$(mkdir -p "$W" 2>&1) || die write "$e"
cd "$W" 2>/dev/null || { e=$(cd "$W" 2>&1); die write "$e"; }
W=$PWD
umask 022
[ -d $B ] || e=$(umask 077; mkdir -p $B 2>&1) || die write "$e"

# The lock is a link whose target says who holds it: it comes into being with its content.
# start sets s to when process $1 started, so that a number used again is not taken for it.
start() {
  s=-
  [ -r /proc/$1/stat ] && read -r s </proc/$1/stat && set -- ${s##*) } && s=${20}
}
stale() {
  set -- $1
  [ "$4" = "$H" ] || { [ $((N - ${5:-0})) -gt 3600 ]; return; }
  [ "$3" = "$O" ] || return 0
  start $1
  [ "$s" = "$2" ] || return 0
  [ -d /proc/$1 ] || kill -0 $1 2>/dev/null || return 0
  # An earlier attempt of this push: its client is gone, it waits for what will not come.
  [ "$A" ] && [ "$7" = "$A" ] || return 1
  kill -9 -$1 2>/dev/null || kill -9 $1
}
{ read -r H </proc/sys/kernel/hostname; } 2>/dev/null || H=$(uname -n)
{ read -r O </proc/sys/kernel/random/boot_id; } 2>/dev/null || O=-
N=$(date +%s)
start $$
l="$$ $s $O $H $N $C${A:+ $A}"
lock() { e=$(ln -s "$l" $B/lock 2>&1); }
i=0
until lock; do
  i=$((i+1))
  h=$(readlink $B/lock) || {
    # It was freed this very moment, or it cannot be made.
    [ $i -lt 9 ] || die write "$e"
    continue
  }
  find $B/unlock -prune -mmin +1 -exec rmdir {} \; 2>/dev/null
  # Only one may take a dead one's lock away: a second would take that of the first.
  [ $i -lt 9 ] && stale "$h" || die locked "$h"
  mkdir $B/unlock 2>/dev/null || continue
  [ "$(readlink $B/lock)" != "$h" ] || rm -f $B/lock
  rmdir $B/unlock
done
trap '[ "$(readlink $B/lock)" != "$l" ] || rm -rf $S $B/lock' EXIT
trap 'exit 1' HUP INT TERM PIPE
[ ! -e $S ] || rm -rf $S

say workspace "$W"
say home "$HOME"
o=
[ ! -f $B/owner ] || { read -r o <$B/owner; say owner "$o"; }
set +f
for f in $B/steps/*; do
  [ ! -f "$f" ] || { read -r k <"$f"; say key "${f##*/}" "$k"; }
done
set -f
[ ! -f $P ] || { sum $P; say pending $x; }

# The index has a line for each file that was found to be as recorded: what stat says of it. As long as
# it says the same the file need not be read, because nothing can set the time of the last change (%Z) but
# the clock. A time is in seconds, so that of a file which changed a moment ago does not tell yet; and
# what a crash of the machine has left is read again. The lock is this moment, by the same clock.
seen() { sed -n -e "1s|.*|$B/lock|p" -e 's/^f [0-7]* [0-9]* [0-9a-f]* //p' $M | tr '\n' '\0' | xargs -0 stat -c '%f %a %i %s %Y %Z %n' 2>/dev/null; }
judge='
function name() { return substr($0, index($0, " ./") + 1) }
BEGIN { if (settle) print head }
part == 1 { if (FNR == 1) use = $0 == head; else { stale++; if (use) known[$0] } next }
part == 2 && FNR == 1 { now = $6; next }
part == 2 {
  n = name()
  if ($0 in known) { same[n]; if (settle) print; next }
  line[n] = $0; type[n] = substr($1, 1, 1); mode[n] = $2; size[n] = $4; changed[n] = $6
  next
}
/^f / {
  n = name()
  if (n in same) { stale--; next }
  if (type[n] != "8" || size[n] != $3) { if (!settle) print "bad " n; next }
  settled = mode[n] == $2 && changed[n] + 1 < now
  if (settled) fresh++
  if (settle) { if (settled) print line[n]; next }
  if (mode[n] != $2) print "mode " n
  print "read " $4 "  " n
}
END { if (!settle && fresh + stale) print "settle " fresh + stale }'
judge() {
  x=$B/index
  [ -s $x ] && [ "$O" != - ] || x=/dev/null
  seen | awk -v settle=$1 -v head="index $O" "$judge" part=1 $x part=2 - part=3 $M
}
# differ says what in the workspace is not as recorded, and sets D if there is anything. It sets u to how
# many lines of the index are not up to date.
differ() {
  j=$(judge 0) || die write "$j"
  case $j in *settle\ *) u=${j##*settle } ;; esac
  case $j in *bad\ *|*mode\ *) tell "$(say "$j" | sed -n -e '/^bad /p' -e '/^mode /p')" ;; esac
  case $j in
  *read\ *)
    x=$(say "$j" | sed -n 's/^read //p' | sha256sum -c 2>/dev/null | sed -n 's/^\(.*\): FAILED.*/bad \1/p')
    tell "$x"
    [ -z "$x" ] || u=0
    ;;
  esac
  tell "$(odd)"
}
tell() { [ -z "$1" ] || { D=y; say "$1"; }; }
# settle brings the index up to date where more than so many lines of it are not. No push needs it.
settle() { [ $u -le $1 ] || { judge 1 >$B/index.new && mv -f $B/index.new $B/index || rm -f $B/index.new; } 2>/dev/null; }
# odd is differ for what stat and sha256sum have no plain line for.
odd() {
  sed -n '/^[Fld] /p' $M | while read -r t a b c d; do
    case $t in
    F)
      dec "$d"
      n=$x
      [ -f "$n" ] && [ ! -L "$n" ] && sum "$n" && [ "$x" = "$c" ] || say badx "$d"
      [ "$(find "$n" -prune -perm "$a" -exec echo y \; 2>/dev/null)" ] || say modex "$d"
      ;;
    l)
      dec "$a"
      y=$x
      dec "$b"
      [ -L "$x" ] && [ "$(readlink "$x"; echo .)" = "$y
." ] || say badx "$b"
      ;;
    d)
      dec "$a"
      [ -d "$x" ] && [ ! -L "$x" ] || say badx "$a"
      ;;
    esac
  done
}
I= D= u=0
if [ -f $M ]; then
  sum $M
  I=$x
  say manifest $I
  differ
fi
! command -v gzip >/dev/null || say gzip
say ask

# prov writes the provenance; the push counts without it.
prov() { dec "$1"; printf '%s\n' "$x" >$B/provenance.new && mv -f $B/provenance.new $B/provenance.json; }
# match checks files against the sums in $1. Where openssl is, it is twice as fast as the coreutils of most
# systems, but takes longer to start; it is sha256sum that has the last word.
match() {
  command -v openssl >/dev/null &&
    [ "$(cut -c67- $1 | tr '\n' '\0' | xargs -0 openssl dgst -sha256 -r 2>/dev/null)" = "$(sed 's/  / */' $1)" ] ||
    sha256sum -c $1 2>&1 >/dev/null
}
# intact checks so many bytes of content against their sums: much of it in a part for each processor, up to four.
intact() {
  [ $1 -gt 9999999 ] || { sha256sum -c sums 2>&1 >/dev/null; return; }
  n=$(nproc 2>/dev/null) || n=2
  [ $n -lt 4 ] || n=4
  split -l $(($(wc -l <sums) / n + 1)) sums sums- 2>/dev/null || mv sums sums-aa
  p=
  for i in a b c d; do
    [ ! -f sums-a$i ] || { match sums-a$i & p="$p $!"; }
  done
  r=0
  for i in $p; do wait $i || r=1; done
  return $r
}
# edit applies a delta to the manifest.
edit='
NR == FNR {
  n = substr($1, 2)
  if (/^-/) cut[n]
  if (/^[+]/) add[n, count[n]++] = substr($0, index($0, " ") + 1)
  next
}
function added(n, i) { for (i = 0; i < count[n]; i++) print add[n, i] }
{ added(FNR); if (!(FNR in cut)) print }
END { added(FNR + 1) }'
while read -r a b c d e; do
  case $a in
  get)
    for f in $M $P; do
      [ -f $f ] || continue
      say file $(wc -c <$f)
      cat $f
    done
    say ask
    ;;
  is)
    if [ "$I" = "$b" ] && [ -z "$D" ] && [ ! -f $P ] && [ "$o" = "$c $d" ]; then
      prov "$e" 2>/dev/null
      say done
      settle 0
      exit 0
    fi
    say no
    settle 200
    ;;
  tar|tgz)
    size=$b
    e=$(umask 077; mkdir $S 2>&1) || die write "$e"
    x="tar xpof - -C $S"
    e=$(umask 0; { if [ $a = tgz ]; then gzip -dc | $x; else $x; fi; } 2>&1) || die stream "$e"
    [ ! -f $S/delta ] || e=$(awk "$edit" $S/delta $M 2>&1 >$S/manifest) || die stream "$e"
    { read -r b c origin <$S/seal; } 2>/dev/null && [ "$c" ] || die stream
    set -- $(sha256sum $S/sums $S/manifest)
    [ "$1 $3" = "$b $c" ] || die stream
    e=$(cd $S && intact $size) || die stream "$e"
    . ./$S/apply
    prov "$origin" 2>/dev/null
    say done
    exit 0
    ;;
  *) exit 0 ;;
  esac
done
