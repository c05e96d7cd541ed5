"""What a coordinator says of us holds for its line."""

from poolhand.agent.core.standing import Seen, Standing
from poolhand.agent.wire.inbound import RuntimeStatus, TrustStatus, Unknown


def test_the_latest_word_counts_until_the_line_is_lost() -> None:
    standing = Standing()
    standing.heard(TrustStatus(status="online"))
    standing.heard(TrustStatus(status="untrusted"))
    standing.heard(RuntimeStatus())
    standing.heard(Unknown(type="", reason="not JSON"))
    assert standing.trust is not None
    assert standing.trust.status == "untrusted"
    assert standing.runtime == RuntimeStatus()
    standing.challenged(7.0)
    standing.sent_work()
    seen = standing.seen(is_online=True)
    assert (seen.challenged_s, seen.has_sent_work, seen.is_trusted) == (7.0, True, False)
    standing.line_lost()
    assert standing.seen(is_online=False) == Seen()
    assert (standing.trust, standing.runtime) == (None, None)
    assert standing.unknown_frames == 1, "over all lines"
