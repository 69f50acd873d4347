"""
Remove what runs left in a cluster.

A run removes what it made, also after Ctrl-C; a crash keeps it from that. What is left is found by the journals of the
runs that are kept here, and in the cluster by the label bench.run-id. A run that goes on is let be: its process holds
its journal, and renews a Lease in its namespace, which is watched for up to 20 seconds.

Exits with 0 when nothing is left, 4 when something stays.
"""

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from bench.cluster import journal
from bench.cluster.client import Cluster
from bench.cluster.inventory import cluster_uid
from bench.cluster.leftovers import at_work, find_labelled, in_order, remove_all, still_there
from bench.cluster.objects import Ref
from bench.cluster.sandbox import Leftover
from bench.errors import BadEvidence, RunGoesOn
from bench.evidence.reader import read_record
from bench.model.verdict import Verdict
from bench.targets.options import add_target_arguments, target_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("--run", default="", metavar="ID", help="of this run alone; none: of all")
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR", help="where runs are kept")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_target_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Look, remove, tell."""
    target = target_of(arguments)
    with Cluster.open(kubeconfig=target.kubeconfig, context=target.context) as cluster:
        kept = tuple(_journaled(arguments.results, arguments.run, cluster_uid(cluster)))
        found = find_labelled(cluster, arguments.run)
        done = Cleaning(unseen=found.unseen)
        runs = {each.run_id: each for each in kept} | {run: _Kept(run_id=run) for run in found.refs.keys() - _ids(kept)}
        is_beating = at_work(cluster) if runs else {}
        for run_id, each in sorted(runs.items()):
            refs = in_order((*each.refs, *found.refs.get(run_id, ())))
            why = _why_not(each, is_beating.get(run_id), named=bool(arguments.run))
            if why and arguments.run:
                raise RunGoesOn(f"Run {run_id} is let be: {why}.")
            if why:
                done.let_be[run_id] = why
            else:
                _remove(cluster, run_id, refs, done)
    _tell(done, as_json=arguments.json)
    return Verdict.ERROR.exit_code if done.left else 0


@dataclass(slots=True)
class Cleaning:
    """What came of it, by run."""

    unseen: tuple[str, ...]
    removed: dict[str, tuple[Ref, ...]] = field(default_factory=dict)
    left: dict[str, tuple[Leftover, ...]] = field(default_factory=dict)
    let_be: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """A run as its journal tells of it; one that is known by the label alone has none."""

    run_id: str
    refs: tuple[Ref, ...] = ()
    is_held: bool = False
    has_journal: bool = False


def _ids(kept: tuple[_Kept, ...]) -> set[str]:
    return {each.run_id for each in kept}


def _journaled(results: Path, run_id: str, uid: str) -> Iterator[_Kept]:
    """The runs kept here that were made on this cluster."""
    for path in sorted(results.glob("*/journal.jsonl")):
        if run_id and path.parent.name != run_id:
            continue
        try:
            record = read_record(path.parent)
        except BadEvidence:
            continue
        if record.cluster_uid == uid:
            yield _Kept(
                run_id=record.run_id,
                refs=journal.leftovers(path),
                is_held=journal.is_held(path),
                has_journal=True,
            )


def _why_not(kept: _Kept, is_beating: bool | None, *, named: bool) -> str:
    """Why what is left of a run must not be touched; empty where it may."""
    if kept.is_held:
        return "it goes on in another process, which holds its journal"
    if is_beating:
        return "it goes on in another process: its Lease was renewed a moment ago"
    if is_beating is None and not kept.has_journal and not named:
        return f"it has neither a journal here nor a Lease, so that nobody knows; `--run {kept.run_id}` removes it"
    return ""


def _remove(cluster: Cluster, run_id: str, refs: tuple[Ref, ...], done: Cleaning) -> None:
    there = still_there(cluster, refs, run_id=run_id)
    left = remove_all(cluster, there, run_id=run_id)
    stays = {each.ref for each in left}
    if gone := tuple(ref for ref in there if ref not in stays):
        done.removed[run_id] = gone
    if left:
        done.left[run_id] = left


def _tell(done: Cleaning, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(_document(done), indent=1))
        return
    console = Console(highlight=False, markup=False, soft_wrap=True)
    for run_id, refs in done.removed.items():
        console.print(f"{run_id}: removed {', '.join(map(str, refs))}")
    for run_id, why in done.let_be.items():
        console.print(f"{run_id}: let be, for {why}")
    for run_id, left in done.left.items():
        for each in left:
            console.print(f"{run_id}: {each.ref} stays: {each.reason}")
    if not (done.removed or done.left):
        console.print("Nothing was left." if not done.let_be else "Nothing was removed.")
    if done.unseen:
        Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print(
            f"Could not be looked at, for want of rights or of a server: {', '.join(done.unseen)}."
        )


def _document(done: Cleaning) -> Mapping[str, object]:
    return {
        "removed": {run_id: [str(ref) for ref in refs] for run_id, refs in done.removed.items()},
        "left": {run_id: {str(each.ref): each.reason for each in left} for run_id, left in done.left.items()},
        "let_be": done.let_be,
        "not_looked_at": list(done.unseen),
    }
