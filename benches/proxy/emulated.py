#!/usr/bin/env python3
"""How many instructions does one proxied request take in the proxy *and* in the kernel, next to nginx?

Where the processor's counters cannot be read, a whole machine is emulated: QEMU with `-icount shift=0`
lets its clock go on by one nanosecond per executed instruction, so what the guest's Linux accounts to a
process as nanoseconds (`/proc/PID/task/*/schedstat`) are instructions, its own and the kernel's on its
behalf. The count does not depend on what else this machine does. wrk, the proxy and its endpoints share
the one processor of the guest; each contestant is started afresh for each kind of request.

First comes a judge of the method: work whose user instructions callgrind counted outside must cost the
same inside. Tools count a copying `rep movsq` once per eight bytes, a processor once: a request of
16 KiB carries some 4,000 such counts, nginx's as well as ours.

    CARGO_PROFILE_RELEASE_LTO=thin CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1 \\
        cargo build --release -p lb-core --example serve_gateway --all-features
    apt-get install --no-install-recommends qemu-system-x86 busybox-static nginx wrk valgrind gcc
    apt-get download linux-image-6.1.0-56-cloud-amd64 && dpkg -x linux-image-*.deb kernel
    python3 benches/proxy/emulated.py target/release/examples/serve_gateway kernel/boot/vmlinuz-*

Under icount the guest has one processor, so waits are batched as on a busy machine with one.
"""
import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

from contestants import BODY, NO_REP_MOVSB, PORT, UPSTREAMS, contestants, upstream

TOOLS = "sh mount ip cat awk sleep poweroff wget kill".split()
PROGRAMS = "nginx", "wrk"
PATHS = {"get128": "/s", "post1k": "/s", "get16k": "/big"}
POST = f"""wrk.method = "POST"
wrk.body = string.rep("x", {len(BODY)})
wrk.headers["Content-Type"] = "text/plain"
"""
KNOWN_WORK = """
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
int main(int count, char **words) {
    char said[64] = "";
    struct timespec moment = {0, 1000000};
    for (volatile unsigned long left = count > 1 ? strtoul(words[1], 0, 10) : 0; left; left--) {}
    nanosleep(&moment, 0); /* the kernel adds up what a process has used when it rests */
    FILE *used = fopen("/proc/self/schedstat", "r");
    if (used && fgets(said, sizeof said, used)) fputs(said, stdout);
    return 0;
}
"""
KNOWN_STEPS = 1_000_000, 11_000_000
# What lies between is the guest's timer ticks, which only the emulator sees.
TOLERANCE = 0.01

PRELUDE = f"""#!/bin/sh
export PATH=/bin GLIBC_TUNABLES={NO_REP_MOVSB}
mount -t proc proc /proc
mount -t devtmpfs dev /dev
ip link set lo up
used() {{ cat /proc/$1/task/*/schedstat | awk '{{ sum += $1 }} END {{ print sum }}'; }}
answers() {{ n=0; until wget -q -O /dev/null http://$1/s 2>/dev/null; do n=$((n+1)); [ $n -lt 100 ] || return; sleep 0.1; done; }}
measure() {{
    name=$1; kind=$2; path=$3; shift 3
    "$@" >/tmp/out 2>&1 & proxy=$!
    answers 127.0.0.1:{PORT}
    script=; [ $kind = post1k ] && script="-s /post.lua"
    load="wrk -t1 -c$connections $script http://127.0.0.1:{PORT}$path"
    $load -d1 >/tmp/warm
    before=$(used $proxy)
    $load -d$seconds >/tmp/load
    echo "MEASURED $name $kind $before $(used $proxy)"
    cat /tmp/load; echo END
    kill $proxy; wait $proxy
}}
"""


def guest_script(here, commands):
    """What the guest does, in order; then it switches itself off."""
    lines = [PRELUDE, f"connections={A.connections} seconds={A.seconds}"]
    for steps in KNOWN_STEPS:
        lines.append(f"echo; echo KNOWN {steps} $(known {steps})")
    lines += [f"{shlex.join(commands['upstream'])} >/dev/null 2>&1 &", f"answers {UPSTREAMS[0]}"]
    for name, words in commands["proxies"]:
        for kind in A.kinds.split(","):
            lines.append(f"measure {name} {kind} {PATHS[kind]} {shlex.join(words)}")
    return "\n".join(lines + ["poweroff -f", ""])


def add(root, program):
    """A program with the libraries it asks for."""
    shutil.copy(program, os.path.join(root, "bin"))
    asked = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
    for library in re.findall(r"(/\S+) \(0x", asked):
        os.makedirs(root + os.path.dirname(library), exist_ok=True)
        shutil.copy(library, root + library)


def image(here):
    """The guest's files as an initial RAM disk: busybox, the contestants and their configuration."""
    root = os.path.join(here, "guest")
    work = os.path.join(here, "run")
    for folder in ("bin", "proc", "dev", "etc", "tmp"):
        os.makedirs(os.path.join(root, folder))
    os.mkdir(work)
    known = os.path.join(here, "known")
    subprocess.run([found("cc"), "-O1", "-x", "c", "-o", known, "-"], input=KNOWN_WORK, text=True, check=True)
    for program in (known, found("busybox"), *map(found, PROGRAMS), A.gateway):
        add(root, program)
    for tool in TOOLS:
        os.symlink("busybox", os.path.join(root, "bin", tool))
    gateway = "/bin/" + os.path.basename(A.gateway)
    commands = {"upstream": upstream(work), "proxies": list(contestants(work, gateway, A.only))}
    shutil.copytree(work, root + work)
    texts = {"init": guest_script(here, commands), "post.lua": POST,
             "etc/passwd": "root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n",
             "etc/group": "root:x:0:\nnogroup:x:65534:\n"}
    for name, text in texts.items():
        with open(os.path.join(root, name), "w") as file:
            file.write(text)
    os.chmod(os.path.join(root, "init"), 0o755)
    return packed(here, root)


def packed(here, root):
    disk = os.path.join(here, "disk")
    with open(disk, "wb") as out:
        names = subprocess.run(["find", "."], cwd=root, capture_output=True, check=True).stdout
        subprocess.run([found("busybox"), "cpio", "-o", "-H", "newc"], cwd=root, input=names, stdout=out, check=True,
                       stderr=subprocess.DEVNULL)
    return disk


def machine(disk):
    """Runs the guest until it switches itself off; what it says, line by line."""
    command = [found("qemu-system-x86_64"), "-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off",
               "-cpu", "max,-erms,-fsrm", "-smp", "1", "-m", "1024", "-nographic", "-no-reboot", "-nic", "none",
               "-kernel", A.kernel, "-initrd", disk, "-append", f"console=ttyS0 quiet panic=-1 {A.boot}"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace") as guest:
        try:
            for line in guest.stdout:
                yield line.strip()
        finally:
            guest.kill()


def callgrind_difference(here):
    """User instructions between the two amounts of known work."""
    counts = []
    for steps in KNOWN_STEPS:
        out = os.path.join(here, "callgrind.out")
        subprocess.run([found("valgrind"), "--tool=callgrind", f"--callgrind-out-file={out}",
                        os.path.join(here, "known"), str(steps)], check=True, capture_output=True)
        with open(out) as profile:
            counts.append(int(re.search(r"^(?:summary|totals): (\d+)", profile.read(), re.M)[1]))
    return counts[1] - counts[0]


def judge_method(here, known):
    """The emulator's count of known work against callgrind's."""
    inside, outside = known[KNOWN_STEPS[1]] - known[KNOWN_STEPS[0]], callgrind_difference(here)
    ratio = inside / outside
    print(f"known work | {outside} by callgrind | {inside} in the guest | {ratio:.4f} x", flush=True)
    if abs(ratio - 1) > TOLERANCE:
        sys.exit("the guest does not count instructions: no figure of it is worth anything")


def requests_of(said):
    """How many requests wrk made; every one must have been answered well."""
    text = "\n".join(said)
    if "Non-2xx" in text or "Socket errors" in text or not (found := re.search(r"(\d+) requests in", text)):
        sys.exit(f"the load failed:\n{text}")
    return int(found[1])


def found(program):
    if path := shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin"):
        return path
    sys.exit(f"{program} is missing; see the head of this file for what to install")


def main(here):
    known, base, rows, lines = {}, {}, 0, machine(image(here))
    for line in lines:
        words = line.split()
        if words[:1] == ["KNOWN"]:
            known[int(words[1])] = int(words[2])
            if len(known) == len(KNOWN_STEPS):
                judge_method(here, known)
        elif words[:1] == ["MEASURED"]:
            name, kind, before, after = words[1:]
            said = list(iter(lambda: next(lines), "END"))
            count = requests_of(said)
            per = (int(after) - int(before)) / count
            ratio = per / base.setdefault(kind, per)
            rows += 1
            print(f"{name} | {kind} | {count} requests | {per:.0f} instructions | {ratio:.3f} x", flush=True)
        elif A.verbose:
            print(line)
    if rows < len(A.kinds.split(",")) * len(A.only.split(",")):
        sys.exit("the guest ended early: look with --verbose")


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("gateway", help="the example serve_gateway")
parser.add_argument("kernel", help="a Linux image with its drivers built in, such as Debian's for clouds")
parser.add_argument("--only", default="nginx,bare,full,axum-full", help="nginx first: ratios are to the first")
parser.add_argument("--kinds", default=",".join(PATHS))
parser.add_argument("--connections", type=int, default=64)
parser.add_argument("--seconds", type=int, default=2, help="of the guest's time, a thousand million instructions each")
parser.add_argument("--boot", default="", help="more words for the kernel, such as mitigations=off")
parser.add_argument("--verbose", action="store_true", help="print whatever the guest says")
A = parser.parse_args()

with tempfile.TemporaryDirectory(prefix="proxy-emulated-") as folder:
    os.chmod(folder, 0o755)
    main(folder)
