# Brings a Kairos node to the version of the image that this runs from. POSIX sh.
#
# usage: sh -c SCRIPT upgrade preflight
#        sh -c SCRIPT upgrade run [recovery] [active] [debug] [recheck] -- [PATH]...
#        sh -c SCRIPT upgrade verify
#   preflight  writes a reason to the termination log when there is nothing to do, and nothing when there is
#   run        upgrades the recovery system, the active one, or both in this order; PATHs are left out. With recheck, a
#              node that has the version already is left alone: a Pod that is tried again after the node has booted the
#              new system must not overwrite the system to fall back to
#   verify     fails unless the node has booted the new system
#
# HOST_DIR is the node's root. Everything comes in as arguments, and no file of the node is ever run or sourced: what
# it says is read as data. The variables that begin with KAIROS_UPGRADE_ are for tests.
set -eu
unset CDPATH
export LC_ALL=C
host=${HOST_DIR:-/host}
image=${KAIROS_UPGRADE_IMAGE_ROOT:-}
termination_log=${KAIROS_UPGRADE_TERMINATION_LOG:-/dev/termination-log}
tab=$(printf '\t')
carriage=$(printf '\r')
byte_order_mark=$(printf '\357\273\277')
# The longest release file and kernel command line that are read, in bytes.
largest=65536

fail() {
    printf '%s\n' "$*" >&2
    # What stands here is the reason that the node's status shows; without it the end of the log does.
    printf '%s' "$*" > "$termination_log" || true
    exit 1
}

# Sets $found to the file behind a path below a root, links followed as if that root were /. Fails when there is none, and
# where a link leads out of the root: a node's absolute link must not end in this image.
find_below() {
    root=$1 path=$2 found='' hops=0
    while :; do
        folder=$(cd -P "${root:-/}" && cd -P "./${path%/*}" 2> /dev/null && pwd -P) || return 1
        top=$(cd -P "${root:-/}" && pwd -P)
        case ${folder%/}/ in
        "${top%/}"/*) ;;
        *) return 1 ;;
        esac
        file=${folder%/}/${path##*/}
        if [ ! -L "$file" ]; then
            [ -f "$file" ] || return 1
            found=$file
            return 0
        fi
        hops=$((hops + 1))
        [ "$hops" -le 16 ] || return 1
        target=$(readlink "$file") || return 1
        case $target in
        /*) path=$target ;;
        *) path=${folder#"${top%/}"}/$target ;;
        esac
    done
}

# Sets $word to the one shell word that the text is. Fails when it is none, or when a shell would expand something in it.
unquote() {
    rest=$1 word=''
    while [ -n "$rest" ]; do
        case $rest in
        \'*)
            rest=${rest#?}
            case $rest in
            *\'*) ;;
            *) return 1 ;;
            esac
            word=$word${rest%%\'*}
            rest=${rest#*\'}
            ;;
        \"*)
            rest=${rest#?}
            while :; do
                case $rest in
                '' | [\$\`]*) return 1 ;;
                \"*)
                    rest=${rest#?}
                    break
                    ;;
                \\[\"\\\$\`]*) rest=${rest#?} ;;
                esac
                after=${rest#?}
                word=$word${rest%"$after"}
                rest=$after
            done
            ;;
        ' '* | "$tab"*)
            while :; do
                case $rest in
                ' '* | "$tab"*) rest=${rest#?} ;;
                '' | '#'*) return 0 ;;
                *) return 1 ;;
                esac
            done
            ;;
        [\\\$\`\;\&\|\<\>\(\)]* | "$carriage"*) return 1 ;;
        *)
            after=${rest#?}
            word=$word${rest%"$after"}
            rest=$after
            ;;
        esac
    done
}

# Sets $is_kairos (yes or empty), $version, $software, $prefix and $has_version (yes or empty) from one release file. A value
# that is no plain word counts as unknown, and is empty.
read_release() {
    is_kairos='' version='' software='' prefix='' has_version=''
    while IFS= read -r line || [ -n "$line" ]; do
        line=${line#"$byte_order_mark"}
        line=${line%"$carriage"}
        while :; do
            case $line in
            ' '* | "$tab"*) line=${line#?} ;;
            'export '* | "export$tab"*) line=${line#export} ;;
            *) break ;;
            esac
        done
        key=${line%%=*}
        case $line in
        KAIROS_*=* | ID=*) ;;
        *) continue ;;
        esac
        readable=yes
        if ! unquote "${line#*=}"; then
            readable='' word=''
        fi
        case $key in
        ID)
            # As a word of its own: kairos, Kairos-core-ubuntu.
            case -$word- in
            *[!a-zA-Z0-9][Kk][Aa][Ii][Rr][Oo][Ss][!a-zA-Z0-9]*) is_kairos=yes ;;
            esac
            continue
            ;;
        KAIROS_VERSION)
            version=$word has_version=yes
            # Assigned nothing is as good as not assigned; what cannot be read is not looked for elsewhere.
            [ -n "$word" ] || [ -z "$readable" ] || has_version=''
            ;;
        KAIROS_SOFTWARE_VERSION) software=$word ;;
        KAIROS_SOFTWARE_VERSION_PREFIX) prefix=$word ;;
        esac
        is_kairos=yes
    done <<TEXT
$(head -c "$largest" "$1" | tr -d '\000')
TEXT
}

# Sets $seen to the version of the system below a root, with the version of its Kubernetes where it has one, or to nothing;
# and $is_kairos. Kairos before version 3 kept its keys in os-release.
look_at() {
    seen='' known='' version='' software='' prefix=''
    for file in /etc/kairos-release /etc/os-release /usr/lib/os-release; do
        find_below "$1" "$file" || continue
        read_release "$found"
        known=$known$is_kairos
        [ -z "$has_version" ] || break
    done
    is_kairos=$known
    [ -z "$version" ] || seen=$version${software:+-$prefix$software}
}

# Sets $boot to what the node has booted: active, passive, recovery, livecd or unknown. With trusted boot the command line is
# the same for all of them, and only the marker files tell.
look_at_boot() {
    boot=unknown
    # The container's own file is the same kernel's, where the node hides its own.
    for file in "$host/proc/cmdline" /proc/cmdline; do
        command_line=$(head -c "$largest" "$file" 2> /dev/null | tr -d '\000') || command_line=''
        [ -z "$command_line" ] || break
    done
    case $command_line in
    *COS_ACTIVE*) boot=active ;;
    *COS_PASSIVE*) boot=passive ;;
    *COS_RECOVERY* | *COS_SYSTEM* | *recovery-mode*) boot=recovery ;;
    *live:LABEL* | *live:CDLABEL* | *netboot*) boot=livecd ;;
    *)
        for mode in active passive recovery; do
            [ -e "$host/run/cos/${mode}_mode" ] || continue
            if [ "$boot" != unknown ]; then
                # Marker files that contradict each other say nothing.
                boot=unknown
                break
            fi
            boot=$mode
        done
        ;;
    esac
}

# Sets $wanted, $seen, $is_kairos of the node and $boot.
look() {
    [ -d "$host/etc" ] || fail "the node's root file system is not mounted at $host"
    look_at "$image"
    wanted=$seen
    look_at "$host"
    look_at_boot
    printf 'image: %s; node: %s, booted %s\n' "${wanted:-version unknown}" "${seen:-version unknown}" "$boot"
}

is_up_to_date() {
    [ -n "$wanted" ] && [ "$wanted" = "$seen" ]
}

preflight() {
    look
    if [ -z "$is_kairos" ]; then
        printf 'not a Kairos node' > "$termination_log"
        return
    fi
    if is_up_to_date; then
        case $boot in
        active | unknown) printf 'already at %s' "$seen" > "$termination_log" ;;
        *) printf 'already at %s (booted %s)' "$seen" "$boot" > "$termination_log" ;;
        esac
        return
    fi
    command -v kairos-agent > /dev/null || fail "the image has no kairos-agent: it is no Kairos image"
}

# Runs the agent with the systems and paths that were asked for.
upgrade() {
    recovery='' active='' debug='' recheck=''
    while [ "$#" -gt 0 ]; do
        word=$1
        shift
        case $word in
        recovery) recovery=yes ;;
        active) active=yes ;;
        debug) debug=yes ;;
        recheck) recheck=yes ;;
        --) break ;;
        *) fail "unknown word $word" ;;
        esac
    done
    look
    if [ -n "$recheck" ] && is_up_to_date; then
        echo "the node has this version already: nothing to do"
        return
    fi
    command -v kairos-agent > /dev/null || fail "the image has no kairos-agent: it is no Kairos image"
    # Kubernetes mounts these two files into the container, so they are not the image's.
    set -- /etc/hostname /etc/hosts "$@"
    case $(kairos-agent upgrade --help 2>&1 < /dev/null || true) in
    *--exclude-path*) ;;
    *--source*)
        [ "$#" -eq 2 ] || fail "the kairos-agent of this image cannot leave out paths: remove excludePaths"
        echo "the kairos-agent of this image cannot leave out paths"
        set --
        ;;
    esac
    # Each path becomes two arguments: the flag goes in front of it, and both to the end.
    count=$#
    while [ "$count" -gt 0 ]; do
        set -- "$@" --exclude-path "$1"
        shift
        count=$((count - 1))
    done
    # The agent looks for the node's disks in /dev and for their mounts in /run. This hides the termination log.
    for folder in /dev /run; do
        ${KAIROS_UPGRADE_MOUNT:-mount} -o rbind "$host$folder" "$image$folder"
    done
    if [ -n "$recovery" ]; then
        echo "upgrading the recovery system"
        kairos-agent ${debug:+--debug} upgrade --recovery --source dir:/ "$@"
    fi
    if [ -n "$active" ]; then
        echo "upgrading the active system"
        kairos-agent ${debug:+--debug} upgrade --source dir:/ "$@"
    fi
    sync
}

verify() {
    look
    case $boot in
    passive | recovery | livecd)
        fail "node booted $boot: the upgrade fell back (at ${seen:-an unknown version}, expected ${wanted:-that of the image})"
        ;;
    esac
    if [ -n "$wanted" ] && [ "$wanted" != "$seen" ]; then
        fail "still at ${seen:-an unknown version}, expected $wanted"
    fi
    if [ "$boot" = unknown ]; then
        [ -n "$wanted" ] || fail "cannot tell whether the new system has booted: the image names no version, and the node no boot state"
        printf 'at %s; the boot state is unknown' "$seen" > "$termination_log"
        return
    fi
    printf 'at %s' "${seen:-an unknown version}" > "$termination_log"
}

mode=${1:-}
[ "$#" -eq 0 ] || shift
case $mode in
preflight) preflight ;;
run) upgrade "$@" ;;
verify) verify ;;
*) fail "unknown mode $mode" ;;
esac
