"""Success from few demonstrations: from how many T2S or LoRA is ahead, and everyone's success by their number."""

from __future__ import annotations

from collections.abc import Mapping

from skilltokens.escaping import markdown
from skilltokens.report import text
from skilltokens.report.comparison import sheets
from skilltokens.report.comparison.model import Comparisons, Contender, Table
from skilltokens.report.comparison.standing import pair_of
from skilltokens.report.finding import name_of
from skilltokens.report.sheets import markdown_table

FEW = "metaworld-few-demonstrations"
"""The experiment that README.md shows: the same stream from several numbers of demonstrations."""


def table(many: Mapping[str, Comparisons]) -> str:
    """Final success in FEW, a row a method and a column a number of demonstrations, with its note; or nothing."""
    across = sheets.by_demonstrations(many[FEW]) if FEW in many else None
    return "" if across is None else f"{markdown_table(across)}\n\n{markdown(across.note)}"


def sentence(many: Mapping[str, Comparisons]) -> str:
    """From how many demonstrations T2S or LoRA is ahead of the other in FEW, by the exact test; or nothing."""
    verdicts: dict[str, list[str]] = {}
    for one in many[FEW].tables if FEW in many else ():
        verdict = _verdict(one)
        if verdict is not None:
            words, count, rates = verdict
            verdicts.setdefault(words, []).append(f"{count:g} ({rates})")
    if not verdicts:
        return ""
    parts = [f"{words} from {text.listed(counts)}" for words, counts in verdicts.items()]
    protocol = many[FEW].tables[0].conditions.get("protocol", "")
    place = f"[With fewer demonstrations](results/{FEW}/README.md), protocol {markdown(protocol)},"
    return f"{place} {'; '.join(parts)}."


def _verdict(one: Table) -> tuple[str, float, str] | None:
    """What the test of T2S against LoRA says in a table, its demonstrations, and both rates, the leader's first."""
    contenders = {contender.label: contender for contender in one.contenders}
    if not {"t2s", "lora"} <= set(contenders):
        return None
    t2s, lora = contenders["t2s"], contenders["lora"]
    pair = pair_of(one, t2s, lora)
    if pair is None or t2s.costs.demonstrations is None:
        return None
    ahead, behind = (pair.a, pair.b) if pair.difference >= 0 else (pair.b, pair.a)
    if pair.verdict == "open":
        words = "they can't be told apart"
    elif pair.verdict in ("ahead", "behind"):
        words = f"**{_name(ahead)} is ahead of {_name(behind)}**"
    else:  # the test says so of these runs, the interval over their seeds does not of others
        words = f"{_name(ahead)}'s runs do better than {_name(behind)}'s, which seeds differ too much to say of others,"
    return words, t2s.costs.demonstrations, f"{text.rate(ahead.final.value)} to {text.rate(behind.final.value)}"


def _name(one: Contender) -> str:
    return markdown(name_of(one.group))
