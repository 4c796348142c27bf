"""A reward and an answer as a user would write them, for TRL and for `thickets` alike."""


def length(completions, **columns):
    """Longer is better, up to ten characters."""
    assert len(columns["prompts"]) == len(completions)
    return [min(len(text), 10) / 10 for text in completions]


def exact(completions, target):
    """Names its one column and takes no others."""
    return [1.0 if text == want else 0.25 for text, want in zip(completions, target, strict=True)]


def chat_exact(prompts, completions, target, **_):
    """As TRL's conversational rewards are written."""
    assert all(prompt[-1]["role"] == "user" for prompt in prompts)
    assert all(turns[0]["role"] == "assistant" for turns in completions)
    return [float(turns[0]["content"] == want) for turns, want in zip(completions, target, strict=True)]


def first_word(completion):
    """What votes."""
    words = completion.split()
    return words[0].lower() if words else None
