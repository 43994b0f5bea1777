"""What a table says, in words: which model is best, by how much, whether that is certain, and
whether it meets the criteria. Shared by every exporter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile

from benchbcss.board.cells import interval
from benchbcss.board.model import Board, Outcome, Row, Table, by_outcome
from benchbcss.board.ties import MOST
from benchbcss.results.judge import estimands, invalid_file
from benchbcss.scoring.limits import LIMITS
from benchbcss.scoring.verdicts import FAIL, NOT_APPLICABLE, PASS, UNDECIDED, unmet
from benchbcss.tracks.base import number

#: names written out in a sentence
NAMED = 3


def about(table: Table) -> str:
    """What all rows of a table share: preset, split, ROIs, and whether images are synthetic."""
    row = next(iter((*table.rows, *table.hidden)), None)
    if row is None:
        return ""
    split = row.result.split
    words = [f"preset {row.result.preset}"]
    if split.name:
        words.append(f"split {split.name}")
    words.append(_rois(row))
    if row.result.data.phantom:
        words.append("synthetic images (phantom), not BCSS")
    return ", ".join(words)


def sentence(table: Table) -> str:
    """One or two clauses that answer what most readers came for."""
    ranked = table.ranked
    if not ranked:
        return _unranked(table)
    criteria = _criteria(ranked)
    return _standing(ranked) + (f"; {criteria}." if criteria else ".")


def _unranked(table: Table) -> str:
    why = next((row.not_ranked for row in table.rows if row.not_ranked), None)
    if why:
        return f"Nothing is ranked here: {why}."
    if table.rows and any(not row.floor for row, _ in table.not_comparable):
        return "Only baselines can be compared here: every model stands apart."
    return "No model yet, only baselines." if table.rows else "Nothing comparable yet."


@dataclass(frozen=True)
class Lead:
    """Who is first of several, and whether that is certain: the words of every sentence on it.

    ``level`` are the first and those of the same mean, ``sharing`` those of rank 1 (none where that
    is not known), ``gap`` how far the first is above the next that matters, ``finding`` what the
    tests say of it, and ``certain`` whether it is the only best (None: not tested)."""

    level: Sequence[Row]
    sharing: Sequence[Row]
    gap: str
    finding: str
    certain: bool | None


def lead(ranked: Sequence[Row]) -> Lead:
    """Of at least two ranked rows, the first of which has a mean."""
    first = ranked[0]
    sharing = [row for row in ranked if row.tied and row.tied[0] == 1]
    level = list(takewhile(lambda row: _level(first, row), ranked))
    # The next by score may be significantly worse while one below it, with more spread, is not.
    second = sharing[1] if len(sharing) > 1 else ranked[1]
    gap = _gap(first, second)
    if len(level) > 1:
        mean = number(first.scores.headline.per_roi.mean)
        gap = f"{names(level)} have the same mean Dice {mean}"
    if first.tied is None:
        why = (
            f"of more than {MOST} results none are tested: benchbcss compare"
            if len(ranked) > MOST
            else "records of an older edition: benchbcss rescore"
        )
        return Lead(level, sharing, gap, f"not known whether that is certain ({why})", None)
    if first.tied == (1, 1):
        return Lead(level, sharing, gap, "the difference is significant", True)
    if len(sharing) == 1:  # with few ROIs, some further down may still not be told from it
        others = first.tied[1] - 1
        finding = (
            f"that difference is significant, but {others} further down cannot be told from it"
        )
        return Lead(level, sharing, gap, finding, False)
    if len(level) == len(sharing) > 1:
        return Lead(level, sharing, gap, "", False)
    alone = lone_class(first)
    whose = " to the others" if len(level) > 1 else ""
    what = f"cannot be tested: only one ROI has {alone}" if alone else "is not significant"
    return Lead(level, sharing, gap, f"the difference{whose} {what}", False)


def _standing(ranked: Sequence[Row]) -> str:
    first, rois = ranked[0], _rois(ranked[0])
    headline = first.scores.headline.per_roi
    bounds = interval(headline.mean_interval, headline.mean)
    mean = f"mean Dice {number(headline.mean)} {bounds}".rstrip()
    if len(ranked) == 1:
        if headline.mean is None:
            mean = f"no mean Dice ({headline.mean_reason or 'it is undefined'})"
        return f"{first.name} is the only ranked model: {mean} on {rois}"
    noun = "models" if len({row.backend for row in ranked}) == len(ranked) else "results"
    total = f"{len(ranked)} {noun} on {rois}"
    if headline.mean is None:
        return f"None of {total} has a mean Dice: {headline.mean_reason or 'it is undefined'}"
    ahead = lead(ranked)
    several = len(ahead.level) > 1
    if ahead.certain:
        return f"{first.name} is best of {total}: {mean}, {ahead.gap}, and {ahead.finding}"
    if len(ahead.sharing) < 2:
        who = "; " if ahead.certain is None else ", and "
        how = f"the same mean Dice {number(headline.mean)}" if several else f"{mean}, {ahead.gap}"
        leads = f"{names(ahead.level)} lead{'' if several else 's'}"
        return f"{leads} {total}: {how}{who}{ahead.finding}"
    said = f"{names(ahead.sharing)} share rank 1 of {total}"
    if several and ahead.finding:
        return f"{said}: {ahead.gap}, and {ahead.finding}"
    if several:
        return f"{said}: they have the same mean Dice {number(headline.mean)}"
    return f"{said}: {first.name} leads with {mean}, {ahead.gap}, but {ahead.finding}"


def lone_class(row: Row) -> str | None:
    """A class of the mean that a single ROI has: without that ROI there is no mean, so no two
    models can be told apart."""
    present = row.scores.rois_with_class
    return next((name for name in row.scores.classes if present.get(name) == 1), None)


def _gap(first: Row, second: Row) -> str:
    """How far one row is above another that is below it."""
    more = first.sort_value() - second.sort_value()
    return f"{f'{more:.3f}' if more >= 0.0005 else 'less than 0.001'} above {second.name}"


def _level(first: Row, second: Row) -> bool:
    """Records keep twelve digits."""
    return abs(first.sort_value() - second.sort_value()) < 1e-11


def _rois(row: Row) -> str:
    kind = "validation" if row.result.split.scored == "val" else "test"
    return f"{row.scores.rois} {kind} ROI" + "s" * (row.scores.rois != 1)


def _criteria(ranked: Sequence[Row]) -> str:
    rows = [row for row in ranked if row.outcome]
    kinds = by_outcome(rows)
    able = {label for kind in kinds for _, label, status in kind if status != NOT_APPLICABLE}
    if not able:
        return ""
    total = {1: "the criterion", 2: "both criteria"}.get(len(able), f"all {len(able)} criteria")
    full: set[Outcome] = set()
    part: set[Outcome] = set()
    for kind in kinds:  # weights that were evaluated, say, had no training to be stable
        passed = {label for _, label, status in kind if status == PASS}
        if passed and all(status in (PASS, NOT_APPLICABLE) for *_, status in kind):
            (full if able <= passed else part).add(kind)
    if full or part:
        by_extent = {total: full, "every criterion that applies": part}
        return "; ".join(
            f"{names(meeting)} meet{'s' * (len(meeting) == 1)} {extent}"
            for extent, good in by_extent.items()
            if (meeting := [row for row in rows if row.outcome in good])
        )
    best = rows[0]
    counts = Counter(v.status for v in unmet(best.verdicts))
    words = [f"{count} {'failed' if s == FAIL else s}" for s, count in sorted(counts.items())]
    return f"no model meets {total} ({best.name}: {', '.join(words)})"


def names(rows: Iterable[Row], every: bool = False) -> str:
    """'a and b', 'a, b, c and 4 more'; ``every`` leaves none out."""
    unique = list(dict.fromkeys(row.name for row in rows))
    if len(unique) > NAMED + 1 and not every:
        return f"{', '.join(unique[:NAMED])} and {len(unique) - NAMED} more"
    *head, last = unique
    return f"{', '.join(head)} and {last}" if head else last


def warnings(table: Table, every: bool = False) -> list[str]:
    """What a reader must know beside the numbers, a line for each kind of thing; ``every`` names
    all rows that it is said of."""
    lines = []
    for flaw in table.rows[0].result.suite.flaws if table.rows else []:
        lines.append(f"flaw of the suite: {flaw}")
    suites = {(id(row.result.suite), row.result.preset): row.result.suite for row in table.rows}
    files = {invalid_file(used, preset) for (_, preset), used in suites.items()} - {None}
    lines += [f"no valid criteria in {file}: judged by those of the records" for file in files]
    withheld = {row.scores.headline.per_roi.mean_reason for row in table.rows} - {None}
    lines += [f"no interval: {why}" for why in sorted(withheld, key=str)]
    lines += untestable(table)
    lines += _few_rois(table)
    lines += _below_floor(table, every)
    unstable: dict[str, list[Row]] = {}
    for row in _with(table, "stability", FAIL):
        if row.result.stability:
            unstable.setdefault(row.result.stability.status, []).append(row)
    for status, rows in unstable.items():
        shows = " shows" * status.startswith("no ")  # 'training collapsed' needs no verb
        lines.append(f"training{shows} {status}: {names(rows, every)}")
    trapped = [row for row in table.rows if row.result.training.monitor == "any_tissue_dice"]
    if trapped:
        lines.append(f"weights chosen by any-tissue Dice, which misleads: {names(trapped, every)}")
    lines += _seen_before(table, every)
    lines += _swept(table)
    apart = Counter(why.partition(" differs")[0] for _, why in table.not_comparable)
    if apart:
        total = sum(apart.values())
        lines.append(f"{total} not comparable, by {', '.join(apart)}: {_apart(table, every)}")
    return lines


def _with(table: Table, metric: str, status: str) -> list[Row]:
    """Rows of which a criterion on ``metric`` stands so."""
    kinds = {
        kind
        for kind in table.outcomes
        if any((name, stands) == (metric, status) for name, _, stands in kind)
    }
    return [row for row in table.judged if row.outcome in kinds] if kinds else []


def untestable(table: Table) -> list[str]:
    """Whether so few ROIs are compared so often that no difference at all could be significant: the
    smallest p-value of k ROIs whose signs are flipped is 2 / 2^k, before Holm's adjustment."""
    ranked = table.ranked
    if any(row.tied is None or lone_class(row) for row in ranked):
        return []
    rois = max((row.scores.rois for row in ranked), default=0)
    pairs = len(ranked) * (len(ranked) - 1) // 2
    smallest = pairs * 2 / 2**rois
    if rois > LIMITS.exact_up_to_rois or smallest < 1 - LIMITS.level:
        return []
    return [
        f"{rois} ROIs cannot tell {len(ranked)} models apart, however far they are: adjusted for "
        f"{pairs} pairs, no p-value is below {min(1.0, smallest):.2g}; compare fewer of them"
    ]


def _few_rois(table: Table) -> list[str]:
    """Why a mean far from its bound may be undecided."""
    fewest = [
        part.mean_effective_rois
        for row in _with(table, "mean_dice", UNDECIDED)
        for part in estimands(row.scores.headline).values()
        if part.mean_effective_rois is not None
    ]
    enough = LIMITS.fewest_rois_for_a_verdict
    if not fewest or min(fewest) >= enough:
        return []
    return [
        f"too few ROIs to decide: a verdict needs effectively {enough:g}, the mean rests on "
        f"{min(fewest):.1f}"
    ]


def _apart(table: Table, every: bool) -> str:
    return names((row for row, _ in table.not_comparable), every)


def _seen_before(table: Table, every: bool) -> list[str]:
    """BCSS's slides are TCGA's: weights that were pretrained on those may have seen the test's."""
    rows = [row for row in table.rows if row.result.weights.tcga_overlap == "yes"]
    said = "pretrained on TCGA slides, from which BCSS was taken"
    return [f"{said}: {names(rows, every)}"] if rows else []


def _swept(table: Table) -> list[str]:
    """Rows whose settings were chosen among others, and by what."""
    lines: dict[str, None] = {}
    for row in table.rows:
        if chosen := row.result.selection:
            said = f"{row.backend}: best of {chosen.settings} settings by validation"
            if chosen.tested:
                said += f", {chosen.tested} of the others scored on the test ROIs as well"
            lines[f"{said} (sweep {chosen.sweep})"] = None
    return list(lines)


def _below_floor(table: Table, every: bool) -> list[str]:
    """Models that do not beat a trivial baseline have learned nothing beyond it."""
    best = best_floor(table)
    if best is None:
        return []
    least = best.sort_value()
    below = [row for row in table.rows if row.sort_value() <= least and not row.floor]
    if not below:
        return []
    return [f"not above the floor {best.name} ({number(best.sort_value())}): {names(below, every)}"]


def best_floor(table: Table) -> Row | None:
    """The best trivial baseline whose mean is defined, also where it is hidden."""
    floors = [row for row in (*table.rows, *table.hidden) if row.floor and row.sort_value() >= 0]
    return max(floors, key=Row.sort_value, default=None)


_SECTION = {"--prompts": "promptings"}  # options named otherwise than their section


def more(board: Board) -> str:
    """Which options show what the board has beside this."""
    options = ["--details", "--costs"] if board.rows else []
    if any(row.scores.other_promptings for row in board.rows):
        options.append("--prompts")
    options.append("--reported")
    left = [option for option in options if _SECTION.get(option, option[2:]) not in board.sections]
    if not left:
        return ""
    everything = " or --all" if len(left) > 1 else ""
    return f"more: benchbcss leaderboard {', '.join(left)}{everything}"
