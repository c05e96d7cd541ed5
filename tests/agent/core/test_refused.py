"""What was refused is counted, in all, in a row and by its reason."""

from poolhand.agent.core.refused import Refused
from poolhand.config.refusals import NodeDraining, SlotsBusy


def test_refusals_are_counted_by_reason_and_in_a_row() -> None:
    refused = Refused()
    assert (refused.last, refused.total, dict(refused.by_reason)) == (None, 0, {})
    for at_s in (1.0, 2.0):
        refused.note("a", SlotsBusy(model="a", slots=1), at_s)
    assert refused.last is not None
    assert (refused.last.count, refused.last.at_s) == (2, 2.0)
    refused.note("b", SlotsBusy(model="b", slots=1), 3.0)
    assert refused.last.count == 1, "another model"
    refused.note("b", NodeDraining(), 4.0)
    assert refused.last.count == 1, "another reason"
    assert refused.total == 4
    assert dict(refused.by_reason) == {"slots_busy": 3, "node_draining": 1}
