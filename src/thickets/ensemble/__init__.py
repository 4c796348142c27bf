"""Members vote. Knows how to answer with a kept ensemble; knows nothing of how its members were found."""

from thickets.ensemble.ensemble import Answer, Ensemble, MemberAnswer
from thickets.ensemble.file import EnsembleFile, Member, read_ensemble
from thickets.ensemble.votes import Vote, VoteRule, vote_names, vote_rule

__all__ = [
    "Answer",
    "Ensemble",
    "EnsembleFile",
    "Member",
    "MemberAnswer",
    "Vote",
    "VoteRule",
    "read_ensemble",
    "vote_names",
    "vote_rule",
]
