"""
Prove what is said of autoscaling: the table that `make bench-autoscaling` prints and keeps under results.

Exit status: 0 all that is claimed was shown, 1 something was not.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from bench.model.verdict import Verdict
from tests.lab.running import ROOT, RunningLab, running_lab, unique_name
from tests.scenarios import autoscaling_trial, reaction_proof, stage_proof
from tests.scenarios.autoscaling_faults import MORE, WRONG
from tests.scenarios.autoscaling_trial import Wrong
from tests.scenarios.proof_table import Row, keep
from tests.scenarios.reaction_proof import FEWEST, REFUSED_BELOW, ReactionProof
from tests.scenarios.stage_proof import DELAY_SECONDS, StageProof
from tests.scenarios.trying import judged

SOUND_TIMES: Final = 5
FOLDER: Final = ROOT / "results" / "bench-autoscaling"
WATCHED_BOUND_SECONDS: Final = 0.05
POLLED_BOUND_SECONDS: Final = 0.1
POLLED: Final = ("device", "exporter", "device-free")
"""By probes, ten times a second, and by asking the exporter; the other stages are told by watches."""


def main() -> int:
    """All proofs, each on a lab of its own."""
    with running_lab(unique_name("stages"), *stage_proof.LAB) as lab:
        stages = stage_proof.prove_stages(lab)
    with running_lab(unique_name("reactions"), *reaction_proof.LAB) as lab:
        reactions = reaction_proof.prove_reactions(lab)
    with running_lab(unique_name("faults"), *autoscaling_trial.LAB) as lab:
        sound = [_tried(lab) for _ in range(SOUND_TIMES)]
        wrong = {what: _tried(lab, each) for what, each in {**WRONG, **MORE}.items()}
    rows = [*stage_rows(stages), *reaction_rows(reactions), *trial_rows(sound, wrong)]
    told = {"stages": stages.to_json(), "reactions": reactions.to_json(), "sound": sound, "wrong": wrong}
    return 0 if keep(FOLDER, "Autoscaling", rows, told) else 1


def _tried(lab: RunningLab, wrong: Wrong | None = None) -> dict[str, list[str]]:
    """The checks by verdict."""
    judgement = judged(*autoscaling_trial.tried(lab, wrong))
    return {
        verdict.value: sorted({check.measurement for check in judgement.checks if check.verdict is verdict})
        for verdict in (Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE)
    }


def trial_rows(sound: Sequence[Mapping[str, list[str]]], wrong: Mapping[str, Mapping[str, list[str]]]) -> Iterator[Row]:
    """Whether what is wrong is found by what is meant for it, and nothing where nothing is."""
    alarms = sorted({name for each in sound for name in each["fail"]})
    yield f"{len(sound)} runs with nothing wrong", f"failed: {', '.join(alarms) or 'nothing'}", not alarms
    for what, each in {**WRONG, **MORE}.items():
        failed = set(wrong[what]["fail"])
        yield what, f"failed: {', '.join(sorted(failed)) or 'nothing'}", each.found_by <= failed


def stage_rows(proof: StageProof) -> Iterator[Row]:
    """Named stages, sums, and sightings against the lab's log."""
    for each in proof.named:
        if each.planted:
            longer = "not seen" if each.longer_seconds is None else f"{each.longer_seconds:.2f} s longer"
            what = f"{DELAY_SECONDS:g} s planted in {each.planted}, {each.direction}"
            yield what, f"named: {', '.join(each.named) or 'none'}; {longer}", each.is_right
    sound = [each for each in proof.named if not each.planted]
    named = [stage for each in sound for stage in each.named]
    yield f"{len(sound)} courses without a delay", f"named: {', '.join(named) or 'none'}", not named
    off = max(abs(each.sum_less_total_seconds) for each in proof.named)
    yield "the stages sum to the total", f"off by {off:g} s", off == 0.0
    for stage in dict.fromkeys(each.stage for each in proof.off):
        worst = max((each.off_seconds for each in proof.off if each.stage == stage), key=abs)
        bound = POLLED_BOUND_SECONDS if stage in POLLED else WATCHED_BOUND_SECONDS
        what = f"{stage} against the lab's log, at most {bound:g} s"
        yield what, f"off by {worst:.3f} s at most", abs(worst) <= bound


def reaction_rows(proof: ReactionProof) -> Iterator[Row]:
    """The two tests."""
    count = len(proof.sound_seconds)
    what = f"{count} reactions come from the predicted distribution"
    without = f"; steps without one: {len(proof.not_seen)}" if proof.not_seen else ""
    yield what, f"p = {proof.sound_p_value:.3f}{without}", proof.sound_p_value >= REFUSED_BELOW and count >= FEWEST
    what = f"{len(proof.doubled_seconds)} reactions with the collect interval doubled do not"
    yield what, f"p = {proof.doubled_p_value:.2g}", proof.doubled_p_value < REFUSED_BELOW


if __name__ == "__main__":
    sys.exit(main())
