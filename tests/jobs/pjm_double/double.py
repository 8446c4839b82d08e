"""A double of PJM: pjsub, pjstat and pjdel that reject what the manual rejects and run jobs on this machine.

It is no PJM. It knows normal, bulk and step jobs, the environment that the manual documents, and the end of time:
SIGXCPU to every process of the job, SIGKILL 10 s later. PJM_DOUBLE_HOME holds its jobs. PJM_DOUBLE_SCALE makes its
seconds shorter: with 0.1 a limit of 100 s strikes after 10; the job's own `sleep` is scaled likewise (clock/sleep).
In PJM_DOUBLE_HOME, a file `hold` keeps all jobs in the queue, and a file `strike` lets the limit strike at once.
"""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
HOME = Path(os.environ.get("PJM_DOUBLE_HOME", "/nonexistent"))
SCALE = float(os.environ.get("PJM_DOUBLE_SCALE", "1"))
GRACE = 10.0  # seconds of the job between SIGXCPU and SIGKILL

GROUPS = {"small": (1, 384, 72 * 3600), "large": (385, 12288, 24 * 3600)}
RESOURCES = {
    "node",
    "rscgrp",
    "rg",
    "rscunit",
    "elapse",
    "freq",
    "eco_state",
    "retention_state",
    "jobenv",
    "proc-core",
}
MPI = {"proc", "max-proc-per-node", "shape", "rank-map-bynode", "rank-map-bychip"}
WITH_VALUE = {
    "-L",
    "--mpi",
    "-g",
    "-x",
    "-N",
    "--name",
    "-o",
    "-e",
    "-m",
    "--mail-list",
    "--sparam",
    "--llio",
    "--omp",
}
WITH_VALUE |= {"--spath", "-z"}
WITHOUT = {"-j", "-S", "-s", "-X", "--step", "--bulk", "--norestart", "--restart", "--no-check-directory"}
CONDITION = r"(NONE|(ec|pc)(==|!=|<=|>=|<|>)\d+(,\d+)*)(:(one|after|all)(:\d+)*)?"
ENDED = ("EXT", "CCL", "ERR")


class Refusal(Exception):
    """What pjsub says on stderr before it ends with 1."""


# ---- pjsub ---------------------------------------------------------------------------------------------------------


def pjsub(arguments: list[str]) -> int:
    try:
        options, script = read_arguments(arguments)
        text = read_script(script)
        every = read_directives(text) + options
        record = check(every, script)
        ids = store(record, every)
    except Refusal as refusal:
        print(f"[ERR.] PJM 0001 pjsub {refusal}", file=sys.stderr)
        return 1
    shown = ids[0].partition("[")[0]
    print(shown if value(every, "-z") == "jid" else f"[INFO] PJM 0000 pjsub Job {shown} submitted.")
    return 0


def read_arguments(arguments: list[str]) -> tuple[list[tuple[str, str]], str]:
    options, rest = read_options(arguments)
    if len(rest) != 1:
        raise Refusal(f"one script file is needed, found {rest}.")
    return options, rest[0]


def read_options(words: list[str]) -> tuple[list[tuple[str, str]], list[str]]:
    options, words = [], list(words)
    while words and words[0].startswith("-"):
        word = words.pop(0)
        if word in WITHOUT:
            options.append((word, ""))
        elif word in WITH_VALUE:
            if not words:
                raise Refusal(f"option {word} needs an argument.")
            options.append((word, words.pop(0)))
        else:
            raise Refusal(f"invalid option {word}.")
    return options, words


def read_script(script: str) -> str:
    try:
        text = Path(script).read_text()
    except OSError as error:
        raise Refusal(f"{script}: {error.strerror}.") from None
    if not text.startswith("#!"):
        raise Refusal(f"{script}: no interpreter line.")
    return text


def read_directives(text: str) -> list[tuple[str, str]]:
    found = []
    for line in text.splitlines():
        if line.startswith("#PJM"):
            options, rest = read_options(shlex.split(line[4:]))
            if rest:
                raise Refusal(f"invalid directive: {line}")
            found += options
        elif line.strip() and not line.startswith("#"):
            break
    return found


def check(every: list[tuple[str, str]], script: str) -> dict:
    resources = pairs(every, "-L", RESOURCES)
    pairs(every, "--mpi", MPI)
    if not resources.get("node", "").partition(":")[0].replace("x", "").isdigit():
        raise Refusal(f"-L node={resources.get('node')}: a number of nodes or a shape is needed.")
    nodes = 1
    for side in resources["node"].partition(":")[0].split("x"):
        nodes *= int(side)
    group = resources.get("rscgrp", resources.get("rg", "small"))
    if group not in GROUPS:
        raise Refusal(f"resource group {group} does not exist.")
    fewest, most, longest = GROUPS[group]
    if not fewest <= nodes <= most:
        raise Refusal(f"node={nodes} is outside {fewest} to {most} of resource group {group}.")
    elapse = seconds(resources.get("elapse", ""))
    if elapse > longest:
        raise Refusal(f"elapse is over the limit of resource group {group}.")
    if os.environ.get("PJM_DOUBLE_GROUP_NEEDED") and not value(every, "-g"):
        raise Refusal("no group was specified.")
    for word in [text for option, text in every if option == "-x"]:
        if not re.fullmatch(r"[A-Za-z_]\w*=[^,]*(,[A-Za-z_]\w*=[^,]*)*", word):
            raise Refusal(f"-x {word}: VARIABLE=value is needed.")
    if given(every, "--step") and given(every, "--bulk"):
        raise Refusal("--bulk and --step cannot be combined.")
    return {"nodes": nodes, "elapse": elapse, "group": group, "script": os.path.abspath(script)}


def pairs(every: list[tuple[str, str]], option: str, known: set[str]) -> dict[str, str]:
    found = {}
    for name, text in every:
        if name == option:
            for part in text.split(","):
                key, _, entry = part.partition("=")
                if key not in known:
                    raise Refusal(f"invalid {option} parameter {key}.")
                found[key] = entry
    return found


def seconds(text: str) -> int:
    if not re.fullmatch(r"(\d+:)?(\d+:)?\d+", text):
        raise Refusal(f"elapse={text}: HH:MM:SS is needed.")
    total = 0
    for part in text.split(":"):
        total = 60 * total + int(part)
    return total


def given(every: list[tuple[str, str]], option: str) -> bool:
    return any(name == option for name, _ in every)


def value(every: list[tuple[str, str]], *options: str) -> str:
    return next((text for name, text in reversed(every) if name in options), "")


def store(record: dict, every: list[tuple[str, str]]) -> list[str]:
    """Write a record for each sub-job and start what runs it; return their ids."""
    record |= {
        "name": value(every, "-N", "--name") or Path(record["script"]).name,
        "out": value(every, "-o"),
        "join": given(every, "-j"),
        "variables": [part for name, text in every if name == "-x" for part in text.split(",")],
        "mpi": pairs(every, "--mpi", MPI),
        "workdir": os.getcwd(),
        "state": "QUE",
        "ec": None,
        "pc": None,
    }
    if given(every, "--step"):
        subjobs = [step(value(every, "--sparam"))]
    elif given(every, "--bulk"):
        subjobs = bulk(value(every, "--sparam"))
    else:
        subjobs = [{"jid": new_id(), "id": ""}]
        subjobs[0]["id"] = subjobs[0]["jid"]
    for each in subjobs:
        save({**record, **each})
        environment = {**os.environ, "PJM_DOUBLE_HOME": str(HOME)}
        command = [sys.executable, str(HERE / "double.py"), each["id"]]
        quiet = {name: subprocess.DEVNULL for name in ("stdin", "stdout", "stderr")}
        subprocess.Popen(command, env=environment, start_new_session=True, **quiet)
    return [each["id"] for each in subjobs]


def bulk(text: str) -> list[dict]:
    numbers = re.fullmatch(r"(\d{1,6})-(\d{1,6})", text)
    if not numbers or int(numbers[1]) > int(numbers[2]):
        raise Refusal(f"--sparam {text}: startbulkno-endbulkno is needed.")
    jid = new_id()
    return [
        {"jid": jid, "id": f"{jid}[{number}]", "bulk": number}
        for number in range(int(numbers[1]), int(numbers[2]) + 1)
    ]


def step(text: str) -> dict:
    entries = {}
    for part in re.split(r",(?=\s*(?:jid|sn|sd|jnam)=)", text) if text else []:
        key, _, entry = part.strip().partition("=")
        entries[key] = entry
    strange = set(entries) - {"jid", "sn", "sd", "jnam"}
    if strange or not entries.get("sn", "0").isdigit():
        raise Refusal(f"--sparam {text}: invalid.")
    if "sd" in entries and not re.fullmatch(CONDITION, entries["sd"]):
        raise Refusal(f"--sparam sd={entries['sd']}: invalid dependency.")
    jid, earlier = entries.get("jid"), []
    if jid is not None:
        earlier = [each for each in jobs() if each["jid"] == jid and "step" in each]
        if not any(each["state"] not in ENDED for each in earlier):
            raise Refusal(f"step job {jid} does not exist or has ended.")
    jid = jid or new_id()
    number = int(entries.get("sn", max((each["step"] for each in earlier), default=-1) + 1))
    if any(each["step"] >= number for each in earlier):
        raise Refusal(f"--sparam sn={number}: must be above the earlier ones.")
    return {"jid": jid, "id": f"{jid}_{number}", "step": number, "condition": entries.get("sd", "NONE")}


# ---- records -------------------------------------------------------------------------------------------------------


def new_id() -> str:
    HOME.mkdir(parents=True, exist_ok=True)
    number = 1000
    while True:
        try:
            os.close(os.open(HOME / f"id-{number}", os.O_CREAT | os.O_EXCL))
            return str(number)
        except FileExistsError:
            number += 1


def save(record: dict) -> None:
    path = HOME / f"{record['id']}.json"
    beside = path.with_suffix(f".{os.getpid()}")
    beside.write_text(json.dumps(record))
    beside.replace(path)


def load(job: str) -> dict:
    return json.loads((HOME / f"{job}.json").read_text())


def jobs() -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted(HOME.glob("*.json"))]


# ---- running -------------------------------------------------------------------------------------------------------


def run(job: str) -> None:
    """Wait for the earlier sub-jobs of a step job, run the script, and let the limit strike."""
    record = load(job)
    while (HOME / "hold").exists():
        time.sleep(0.05)
    if "step" in record and not may_start(record):
        save({**load(job), "state": "CCL"})
        return
    if load(job)["state"] != "QUE":  # pjdel was faster
        return
    with open(output(record), "ab") as out:
        errors = subprocess.STDOUT if record["join"] else out
        child = subprocess.Popen(
            ["/bin/bash", record["script"]],
            cwd=record["workdir"],
            env=environment(record),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=errors,
            start_new_session=True,
        )
        save({**record, "state": "RUN", "session": child.pid, "began": time.time()})
        code = wait(child, record["elapse"])
    kill_all(child.pid, signal.SIGKILL)  # what the script left behind
    late = code is None
    ec = child.wait() if late else code
    state = "CCL" if load(job)["state"] == "CCL" else "EXT"
    save({**load(job), "state": state, "ec": 128 - ec if ec < 0 else ec, "pc": 11 if late else 0})


def may_start(record: dict) -> bool:
    """Wait until all earlier steps have ended; tell whether the statement leaves this one in the queue."""
    while True:
        earlier = [each for each in jobs() if each["jid"] == record["jid"] and each["step"] < record["step"]]
        if all(each["state"] in ENDED for each in earlier):
            break
        time.sleep(0.05)
    if load(record["id"])["state"] == "CCL":
        return False
    form, _, rest = record["condition"].partition(":")
    if form == "NONE":
        return True
    kind, _, steps = rest.partition(":")
    judged = [each for each in earlier if not steps or str(each["step"]) in steps.split(":")]
    if any(each["ec"] is not None and holds(form, each) for each in judged):
        later = [each for each in jobs() if each["jid"] == record["jid"] and each["step"] > record["step"]]
        for each in later if kind == "all" else []:
            save({**each, "state": "CCL"})
        return False
    return True


def holds(form: str, job: dict) -> bool:
    field, operator, values = re.fullmatch(r"(ec|pc)(==|!=|<=|>=|<|>)(.*)", form).groups()
    found, wanted = job[field], [int(text) for text in values.split(",")]
    return {
        "==": found in wanted,
        "!=": found not in wanted,
        "<": found < wanted[0],
        ">": found > wanted[0],
        "<=": found <= wanted[0],
        ">=": found >= wanted[0],
    }[operator]


def wait(child: subprocess.Popen, elapse: float) -> int | None:
    """Return the exit code of a script, None if SIGKILL had to come."""
    end, strike = time.monotonic() + elapse * SCALE, HOME / "strike"
    while time.monotonic() < end and not strike.exists():
        try:
            return child.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
    strike.unlink(missing_ok=True)
    kill_all(child.pid, signal.SIGXCPU)
    try:
        return child.wait(GRACE * SCALE)
    except subprocess.TimeoutExpired:
        kill_all(child.pid, signal.SIGKILL)
        return None


def kill_all(session: int, number: int) -> None:
    """Send a signal to every process of a session."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == session:
                    os.kill(int(entry.name), number)
            except (OSError, IndexError):
                continue


def environment(record: dict) -> dict[str, str]:
    """Return what a job sees: not the login shell's environment, as there is no -X."""
    kept = {
        name: text
        for name, text in os.environ.items()
        if name.startswith(("OMPI_", "PJM_DOUBLE_", "LC_", "LANG"))
    }
    ranks = record["mpi"].get("proc") or record["nodes"] * int(record["mpi"].get("max-proc-per-node", 1))
    subjob = record["id"]
    variables = {
        "PJM_JOBID": record["jid"],
        "PJM_SUBJOBID": subjob,
        "PJM_JOBNAME": record["name"],
        "PJM_RSCGRP": record["group"],
        "PJM_NODE": record["nodes"],
        "PJM_MPI_PROC": ranks,
        "PJM_ENVIRONMENT": "BATCH",
        "PJM_O_WORKDIR": record["workdir"],
        "PJM_O_LOGNAME": os.environ.get("LOGNAME", "user"),
        "HOME": os.environ.get("HOME", "/"),
        "PATH": f"{HERE / 'clock'}:{os.environ['PATH']}",
    }
    variables |= {"PJM_BULKNUM": record["bulk"]} if "bulk" in record else {}
    variables |= {"PJM_STEPNUM": record["step"]} if "step" in record else {}
    passed = dict(part.partition("=")[::2] for part in record["variables"])
    return kept | {name: str(text) for name, text in variables.items()} | passed


def output(record: dict) -> str:
    pattern = record["out"] or "%n.%J.out"
    parts = {"%n": record["name"], "%j": record["jid"], "%J": record["id"]}
    parts |= {"%b": str(record.get("bulk", "")), "%s": str(record.get("step", ""))}
    for key, text in parts.items():
        pattern = pattern.replace(key, text)
    return os.path.join(record["workdir"], pattern)


# ---- pjstat and pjdel ----------------------------------------------------------------------------------------------


def pjstat(arguments: list[str]) -> int:
    strange = [word for word in arguments if word not in ("-H", "-v", "--step")]
    if strange:
        print(f"[ERR.] PJM 0001 pjstat invalid option {strange[0]}.", file=sys.stderr)
        return 1
    for each in jobs():
        if (each["state"] in ENDED) == ("-H" in arguments):
            print(each["id"], each["name"], each["state"], "-" if each["ec"] is None else each["ec"])
    return 0


def pjdel(arguments: list[str]) -> int:
    code = 0
    for job in arguments:
        found = [each for each in jobs() if job in (each["jid"], each["id"]) and each["state"] not in ENDED]
        if not found:
            print(f"[ERR.] PJM 0181 pjdel Job {job} does not exist.", file=sys.stderr)
            code = 1
        for each in found:
            save({**each, "state": "CCL"})
            if each["state"] == "RUN":
                kill_all(each["session"], signal.SIGKILL)
            print(f"[INFO] PJM 0100 pjdel Accepted job {each['id']}.")
    return code


if __name__ == "__main__":
    run(sys.argv[1])
