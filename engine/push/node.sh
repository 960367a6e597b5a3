# The node's half of a push. W is set to the workspace, C to the client as one word, A to the attempt.
# It writes lines to stdout and reads lines, then a tar stream, from stdin. Comments and indentation
# are taken off before it is sent.
LC_ALL=C
export LC_ALL EXTRACT_UNSAFE_SYMLINKS=1
set -f
say() { printf '%s\n' "$*"; }
sum() { sha256sum <"$1" | cut -c1-64; }
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
for t in sha256sum tar find sed xargs readlink; do
  command -v $t >/dev/null || die missing $t
done
[ ! -e "$W" ] || [ -d "$W" ] || die notdir
[ -d "$W" ] || e=$(mkdir -p "$W" 2>&1) || die write "$e"
e=$(cd "$W" 2>&1) || die write "$e"
cd "$W"
W=$(pwd)
umask 022
e=$(umask 077; mkdir -p .bifrost 2>&1) || die write "$e"

# The lock is a link whose target says who holds it: it comes into being with its content.
# start sets s to when process $1 started, so that a number used again is not taken for it.
start() {
  s=-
  [ -r /proc/$1/stat ] && read -r s </proc/$1/stat && set -- ${s##*) } && s=${20}
}
stale() {
  set -- $1
  [ "$4" = "$H" ] || { [ $(($(date +%s) - ${5:-0})) -gt 3600 ]; return; }
  [ "$3" = "$O" ] || return 0
  start $1
  [ "$s" = "$2" ] || return 0
  [ -d /proc/$1 ] || kill -0 $1 2>/dev/null || return 0
  # An earlier attempt of this push: its client is gone, it waits for what will not come.
  [ "$A" ] && [ "$7" = "$A" ] || return 1
  kill -9 -$1 2>/dev/null || kill -9 $1
}
H=$(uname -n)
O=$(cat /proc/sys/kernel/random/boot_id 2>/dev/null || echo -)
start $$
l="$$ $s $O $H $(date +%s) $C${A:+ $A}"
lock() { e=$(ln -s "$l" .bifrost/lock 2>&1); }
i=0
until lock; do
  i=$((i+1))
  h=$(readlink .bifrost/lock) || {
    # It was freed this very moment, or it cannot be made.
    [ $i -lt 9 ] || die write "$e"
    continue
  }
  find .bifrost/unlock -prune -mmin +1 -exec rmdir {} \; 2>/dev/null
  # Only one may take a dead one's lock away: a second would take that of the first.
  [ $i -lt 9 ] && stale "$h" || die locked "$h"
  mkdir .bifrost/unlock 2>/dev/null || continue
  [ "$(readlink .bifrost/lock)" != "$h" ] || rm -f .bifrost/lock
  rmdir .bifrost/unlock
done
trap '[ "$(readlink .bifrost/lock)" != "$l" ] || { rm -rf .bifrost/stage; rm -f .bifrost/lock; }' EXIT
trap 'exit 1' HUP INT TERM PIPE
rm -rf .bifrost/stage

say workspace "$W"
say home "$HOME"
[ ! -f .bifrost/owner ] || say owner "$(cat .bifrost/owner)"
set +f
for f in .bifrost/steps/*; do
  [ ! -f "$f" ] || say key "${f##*/}" "$(cat "$f")"
done
set -f
M=.bifrost/manifest
P=.bifrost/pending
[ ! -f $P ] || say pending $(sum $P)
names() { sed -n "s/^f $1 [0-9]* [0-9a-f]* //p" $M | tr '\n' '\0'; }
# differ says what in the workspace is not as recorded.
differ() {
  sed -n 's/^f [0-7]* [0-9]* \([0-9a-f]*\) /\1  /p' $M | sha256sum -c 2>/dev/null | sed -n 's/^\(.*\): FAILED.*/bad \1/p'
  for m in $(sed -n 's/^f \([0-7]*\) .*/\1/p' $M | sort -u); do
    names $m | xargs -0 sh -c 'find "$@" -prune ! -type f' sh 2>/dev/null | sed 's/^/bad /'
    names $m | xargs -0 sh -c 'm=$1; shift; find "$@" -prune ! -perm $m' sh $m 2>/dev/null | sed 's/^/mode /'
  done
  sed -n '/^[Fld] /p' $M | while read -r t a b c d; do
    case $t in
    F)
      dec "$d"
      [ -f "$x" ] && [ ! -L "$x" ] && [ "$(sum "$x")" = "$c" ] || say badx "$d"
      [ "$(find "$x" -prune -perm "$a" -exec echo y \; 2>/dev/null)" ] || say modex "$d"
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
I= D=
if [ -f $M ]; then
  I=$(sum $M)
  say manifest $I
  D=$(differ)
  [ -z "$D" ] || say "$D"
fi
! command -v gzip >/dev/null || say gzip
say ask

# prov writes the provenance; the push counts without it.
prov() { dec "$1"; printf '%s\n' "$x" >.bifrost/provenance.new && mv -f .bifrost/provenance.new .bifrost/provenance.json; }
S=.bifrost/stage
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
    if [ "$I" = "$b" ] && [ -z "$D" ] && [ ! -f $P ] && [ "$(cat .bifrost/owner)" = "$c $d" ]; then
      prov "$e" 2>/dev/null
      say done
      exit 0
    fi
    say no
    ;;
  tar|tgz)
    e=$(umask 077; mkdir $S 2>&1) || die write "$e"
    x="tar xpof - -C $S"
    e=$(umask 0; { if [ $a = tgz ]; then gzip -dc | $x; else $x; fi; } 2>&1) || die stream "$e"
    [ "$(sum $S/sums)" = "$b" ] || die stream
    e=$(cd $S && sha256sum -c sums 2>&1 >/dev/null) || die stream "$e"
    . ./$S/apply
    prov "$c" 2>/dev/null
    say done
    exit 0
    ;;
  *) exit 0 ;;
  esac
done
