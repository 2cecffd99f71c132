"""Captions as people type them: keywords for sentences, wishes and extra words, odd case and punctuation, slips."""

import re

import numpy as np

FILLERS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "en": (
        ("please make a video of", "generate", "show me", "create a short clip of", "I want to see", "make"),
        ("high quality", "4k", "cinematic", "please", "beautiful, detailed", "in HD"),
    ),
    "zh": (
        ("请生成", "帮我做一个视频：", "我想看", "生成一段视频，", "画"),
        ("高清", "电影感", "高质量", "谢谢", "4k"),
    ),
    "es": (
        ("por favor haz un vídeo de", "genera", "muéstrame", "quiero ver", "crea un clip de"),
        ("alta calidad", "4k", "cinematográfico", "por favor", "en HD"),
    ),
    "ar": (
        ("من فضلك اصنع فيديو", "أنشئ", "أرني", "أريد أن أرى", "اصنع مقطع"),
        ("جودة عالية", "4k", "سينمائي", "من فضلك"),
    ),
}
"""What people put before and after what they describe."""

SMALL_WORDS = {
    "en": frozenset(["a", "an", "the", "is", "are", "there", "video", "clip", "of", "which"]),
    "zh": frozenset("有正的一"),
    "es": frozenset(["un", "una", "el", "la", "hay", "que", "vídeo", "video"]),
    "ar": frozenset(["هناك", "مشهد", "فيه", "نرى"]),
}
"""Words that say nothing about the picture; keyword prompts leave them out."""

STRAYS = {
    "en": ("cute", "fluffy", "happy", "shiny", "old", "beautiful", "funny", "slowly", "quickly", "quietly", "lonely"),
    "zh": ("可爱的", "毛茸茸的", "快乐的", "漂亮的", "老", "孤独的", "有趣的", "闪亮的"),
    "es": ("bonito", "adorable", "feliz", "brillante", "viejo", "gracioso", "lentamente", "rápido", "solitario"),
    "ar": ("لطيف", "جميل", "سعيد", "لامع", "قديم", "مضحك", "ببطء", "بسرعة", "وحيد"),
}
"""Words that the world does not know, or that change nothing in it."""


def retype(text: str, language: str, rng: np.random.Generator) -> str:
    """The caption with one to three changes that keep its meaning; ``language`` is one of FILLERS."""
    changes = (_keywords, _shuffle, _filler, _stray, _case, _punctuation, _typo)
    for i in sorted(rng.choice(len(changes), int(rng.integers(1, 4)), replace=False)):
        text = changes[i](text, language, rng)
    return text


def _keywords(text: str, language: str, rng: np.random.Generator) -> str:
    if language == "zh":
        return "".join(c for c in text if c not in SMALL_WORDS["zh"])
    return " ".join(w for w in text.split() if w.lower() not in SMALL_WORDS[language])


def _shuffle(text: str, language: str, rng: np.random.Generator) -> str:
    comma = {"zh": "，", "ar": "، "}.get(language, ", ")
    parts = text.rstrip(".。").split(comma)
    return comma.join(parts[i] for i in rng.permutation(len(parts)))


def _filler(text: str, language: str, rng: np.random.Generator) -> str:
    before, after = FILLERS[language]
    if rng.random() < 0.5:
        return before[int(rng.integers(len(before)))] + ("" if language == "zh" else " ") + text
    comma = {"zh": "，", "ar": "، "}.get(language, ", ")
    return text.rstrip(".。") + comma + after[int(rng.integers(len(after)))]


def _stray(text: str, language: str, rng: np.random.Generator) -> str:
    words = STRAYS[language]
    word = words[int(rng.integers(len(words)))]
    if language != "zh" and rng.random() < 0.4:  # a word that nobody knows
        word = "".join(chr(ord("a") + int(i)) for i in rng.integers(26, size=rng.integers(3, 9)))
    if language == "zh":  # before the name, behind its measure word
        return re.sub("(一[^，。：一])", lambda m: m[1] + word, text, count=1)
    parts = text.split(" ")
    parts.insert(int(rng.integers(len(parts) + 1)), word)
    return " ".join(parts)


def _case(text: str, language: str, rng: np.random.Generator) -> str:
    return (str.upper, str.lower, str.title)[int(rng.integers(3))](text)


def _punctuation(text: str, language: str, rng: np.random.Generator) -> str:
    if rng.random() < 0.3:
        return text.rstrip(".。") + ("!", "!!!", "...", " .")[int(rng.integers(4))]
    return re.sub(r"\s+", " ", re.sub(r"[.,，。،:：]", "" if language == "zh" else " ", text)).strip()


def _typo(text: str, language: str, rng: np.random.Generator) -> str:
    """Swap, drop, or double one letter inside a word of five letters or more, so that it can still be read."""
    places = [m.start() + i for m in re.finditer(r"[^\W\d_一-鿿]{5,}", text) for i in range(1, len(m[0]) - 2)]
    if not places:
        return text
    i = places[int(rng.integers(len(places)))]
    middle = (text[i + 1] + text[i], text[i + 1], text[i] * 2 + text[i + 1])[int(rng.integers(3))]
    return text[:i] + middle + text[i + 2 :]
