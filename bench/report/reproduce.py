"""How to do a run again, and on what it ran."""

from shlex import quote

from bench.evidence.reader import StoredRun


def command(run: StoredRun) -> str:
    """What to type: every parameter that has a value, also where it is the default of today, one a line."""
    record = run.record
    parts = [f"bench run {' '.join(outcome.scenario for outcome in run.outcomes)}".strip()]
    kind, _, name = record.target.partition(" ")
    if kind != "lab":
        parts.append(f"--target {quote(record.target)}")
    elif name:
        parts.append(f"--target {quote(f'lab:{name}')}")
    for outcome in run.outcomes:
        parts += [
            f"--set {quote(f'{outcome.scenario}.{key}={value}')}" for key, value in outcome.parameters.items() if value
        ]
    return " \\\n  ".join(parts)


def facts(run: StoredRun) -> dict[str, str]:
    """On what it ran, and when."""
    record = run.record
    return {
        "target": record.target,
        "fidelity": record.fidelity.value,
        "Kubernetes": record.server_version,
        "cluster uid": record.cluster_uid,
        "bench": record.bench_version,
        "started": record.started.isoformat(timespec="seconds"),
        "ended": record.ended.isoformat(timespec="seconds") if record.ended else "not ended",
        **record.environment,
    }
