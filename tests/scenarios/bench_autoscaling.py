"""
Prove what is said of autoscaling: the table that `make bench-autoscaling` prints and keeps under results.

Exit status: 0 all that is claimed was shown, 1 something was not.
"""

import sys
from collections.abc import Iterator
from typing import Final

from tests.lab.running import ROOT, running_lab, unique_name
from tests.scenarios import reaction_proof, stage_proof
from tests.scenarios.proof_table import Row, keep
from tests.scenarios.reaction_proof import REFUSED_BELOW, ReactionProof
from tests.scenarios.stage_proof import DELAY_SECONDS, StageProof

FOLDER: Final = ROOT / "results" / "bench-autoscaling"
WATCHED_BOUND_SECONDS: Final = 0.05
POLLED_BOUND_SECONDS: Final = 0.1
POLLED: Final = ("device", "exporter", "device-free")
"""By probes, ten times a second, and by asking the exporter; the other stages are told by watches."""


def main() -> int:
    """Both proofs, each on a lab of its own."""
    with running_lab(unique_name("stages"), *stage_proof.LAB) as lab:
        stages = stage_proof.prove_stages(lab)
    with running_lab(unique_name("reactions"), *reaction_proof.LAB) as lab:
        reactions = reaction_proof.prove_reactions(lab)
    rows = [*stage_rows(stages), *reaction_rows(reactions)]
    is_shown = keep(FOLDER, "Autoscaling", rows, {"stages": stages.to_json(), "reactions": reactions.to_json()})
    return 0 if is_shown else 1


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
    yield what, f"p = {proof.sound_p_value:.3f}", proof.sound_p_value >= REFUSED_BELOW
    what = f"{len(proof.doubled_seconds)} reactions with the collect interval doubled do not"
    yield what, f"p = {proof.doubled_p_value:.2g}", proof.doubled_p_value < REFUSED_BELOW


if __name__ == "__main__":
    sys.exit(main())
