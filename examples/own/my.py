"""A reward and a vote key for the task of examples/own/words.toml."""


def shouting(completions, word, **columns):
    """TRL's signature: one float per completion. `word` is a column of the data set."""
    return [float(w.upper() in text) for text, w in zip(completions, word, strict=True)]


def key(completion):
    """What votes: equal strings are the same vote, None abstains."""
    words = completion.split()
    return words[0].strip('".').upper() if words else None
