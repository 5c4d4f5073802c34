"""English words that say nothing, and a light stemmer."""

STOP_WORDS = frozenset(
    """
    a about above after again against all also am an and any are as at be because been
    before being below between both but by can cannot could did do does doing down
    during each few for from further had has have having he her here hers herself him
    himself his how i if in into is it its itself just let may me might more most must
    my myself no nor not now of off on once only or other our ours ourselves out over
    own same shall she should so some such than that the their theirs them themselves
    then there these they this those through to too under until up upon us very was we
    were what when where whether which while who whom whose why will with within
    without would yet you your yours yourself yourselves
    """.split()  # noqa: SIM905 - read by people
)

_SHORTEST = 4
_VOWELS = frozenset("aeiouy")


def stem(word: str) -> str:
    """Return ``word`` without the commonest English endings; other words pass."""
    if len(word) < _SHORTEST or not word.isascii() or not word.isalpha():
        return word
    return _without_e(_without_verb_ending(_without_plural(word)))


def _without_plural(word: str) -> str:
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "ches", "shes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def _without_verb_ending(word: str) -> str:
    for ending in ("ing", "ed"):
        root = word.removesuffix(ending)
        if root != word and len(root) >= _SHORTEST - 1 and _VOWELS.intersection(root):
            twice = root[-1] == root[-2] and root[-1] not in "lsz"
            return root[:-1] if twice else root
    return word


def _without_e(word: str) -> str:
    # "store", "stored" and "storing" meet in "stor".
    return word[:-1] if word.endswith("e") and len(word) >= _SHORTEST else word
