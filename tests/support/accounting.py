"""The law of the figures: each span that was started is open, or its end is accounted for."""

from __future__ import annotations


def law(stats):
    """Return ``stats``; fail, and show them, where they do not obey the law."""
    assert lawful(stats), stats
    return stats


def laws(stats):
    """Return ``stats`` that obey the law, and the one of what was kept for the end of its trace."""
    law(stats)
    kept = stats.buffered + stats.promoted + sum(stats.discarded.values())
    assert stats.recorded == kept, stats
    assert min(stats.recorded, stats.buffered, stats.promoted, *stats.discarded.values()) >= 0
    return stats


def lawful(stats):
    """Return whether the figures obey the law; ``Stats``, or what ``as_dict`` makes of them."""
    told = stats if isinstance(stats, dict) else stats.as_dict()
    lost = sum(told["dropped"].values())
    return (
        told["started"] == told["open"] + told["finished"]
        and told["finished"] == told["sent"] + told["queued"] + told["in_flight"] + lost
        and min(told["open"], told["queued"], told["in_flight"], told["sent"]) >= 0
    )
