"""A benchmark definition: dataset, label map, split, protocol, tracks, criteria, budget."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from benchbcss import names, registry, yaml_text
from benchbcss.contract import (
    COARSEST,
    FINEST,
    PROMPT_VERSION,
    SCOPES,
    STRATEGIES,
    TRACKS,
    Postprocess,
    Prompting,
    Scope,
    Strategy,
    TissuePrompt,
    Track,
    Views,
)
from benchbcss.data.class_maps import plain_name
from benchbcss.data.formats import Colour
from benchbcss.data.labels import LabelMap, build_label_map, label_map, official_codes
from benchbcss.data.reader import Reading, known_readers
from benchbcss.errors import BenchError, InputError, SuiteError, UnknownNameError
from benchbcss.mistakes import entries, explain
from benchbcss.presets import merge
from benchbcss.recipes import Strict
from benchbcss.results.schema import Criterion

Preset = Literal["full", "smoke"]
MOST_BYTES = 1_000_000  # of a suite file


class Phantom(Strict):
    """Parameters of the embedded phantom."""

    rois: int = Field(24, ge=6, le=10_000)
    size: int = Field(512, ge=64, le=8192)
    seed: int = Field(0, ge=0, lt=2**63)

    @property
    def folder(self) -> str:
        """Its name in a workspace's ``data``."""
        return f"phantom-{self.rois}x{self.size}-seed{self.seed}"


class Tile(Strict):
    """Side and overlap of tiles in pixels, for training and for stitched inference."""

    size: int = Field(1024, ge=32)
    overlap: int = Field(256, ge=0)
    accumulate: Literal["float32", "float16"] = Field(
        "float32", description="precision in which overlapping tiles are summed"
    )


class Budget(Strict):
    """What every dense backend of the suite may spend in training: epochs, steps or seconds.

    Under ``seconds`` the learning rate follows the time spent, and runs are not repeatable to the
    bit; where several are given, training ends at whichever comes first.
    """

    epochs: int | None = Field(None, ge=1)
    steps: int | None = Field(None, ge=1)
    seconds: float | None = Field(None, gt=0)


class PromptingSet(Strict):
    """Which oracle prompts the prompted track uses: every strategy with every scope, with and
    without averaged views. The ``headline`` one is ranked and judged."""

    version: int = PROMPT_VERSION
    strategies: tuple[Strategy, ...] = STRATEGIES
    scopes: tuple[Scope, ...] = SCOPES
    tta: tuple[bool, ...] = (False, True)
    headline: str = "box-class"
    postprocess: Postprocess = Field(
        "none",
        description="of each scored mask: none; largest keeps its largest component alone; "
        "close_fill is the brief's, a 7 x 7 closing on a square of 1024 x 1024, then the largest "
        "contour, filled",
    )
    views: Views = Field(
        "mean_logits",
        description="how averaged views are combined: mean_logits before the threshold, or a vote "
        "of their masks, in which more than half must agree",
    )
    tissue_prompt: TissuePrompt = Field(
        "per_class",
        description="what any-tissue Dice of validation compares: the union of the classes' masks "
        "with the classes of the mean (per_class), or the mask of one prompt on all pixels of a "
        "code above 0 with those pixels (one, as the brief's authors did)",
    )

    @model_validator(mode="before")
    @classmethod
    def _only_largest_is_an_older_name(cls, value: Any) -> Any:
        if not isinstance(value, dict) or "only_largest" not in value:
            return value
        rest = {name: setting for name, setting in value.items() if name != "only_largest"}
        if not value["only_largest"]:
            return rest
        if rest.setdefault("postprocess", "largest") != "largest":
            raise ValueError("only_largest means postprocess: largest; give postprocess alone")
        return rest

    @model_validator(mode="after")
    def _headline_is_one_of_them(self) -> PromptingSet:
        Prompting.parse(self.headline)
        if self.headline not in [prompting.key for prompting in self.all()]:
            raise ValueError(f"the headline '{self.headline}' is not among the promptings")
        return self

    def all(self) -> list[Prompting]:
        """The headline first."""
        every = [
            Prompting(strategy, scope, tta)
            for tta in self.tta
            for scope in self.scopes
            for strategy in self.strategies
        ]
        return sorted(every, key=lambda prompting: prompting.key != self.headline)

    def numbers(self) -> dict[str, Any]:
        """What can change a number, as the fingerprints of stored results have it: ``postprocess``
        was called ``only_largest``, and newer settings count only where they are set."""
        newer = {"postprocess", "views", "tissue_prompt"}
        content = self.model_dump(exclude=newer)
        content["only_largest"] = self.postprocess == "largest"
        content |= self.model_dump(include=newer, exclude_defaults=True)
        if content["only_largest"]:
            del content["postprocess"]
        return content


class Clip(Strict):
    """How regions are named by CLIP: an open_clip model ('ViT-B-32', 'hf-hub:OWNER/NAME',
    'local-dir:PATH', or the path of a model configuration in JSON), a weights tag or path, and a
    prompt set by name or path. A crop is the region's bounding box and ``margin`` of its longer
    side around it; ``outside`` of the region it is white, or keeps the tissue as context."""

    model: str = "ViT-B-32"
    weights: str = "openai"
    prompts: str = "several"
    margin: float = Field(0.0, ge=0, le=4)
    outside: Literal["white", "context"] = "white"


class ClipSpec(Strict):
    """``Clip`` with its files read: what a run needs, and what its fingerprint is made of."""

    model: str
    weights: str
    weights_sha256: str | None = None
    prompts_name: str
    prompts: dict[str, list[str]]
    margin: float = 0.0
    outside: Literal["white", "context"] = "white"


class CustomLabelMap(Strict):
    """Classes of a suite's own: class name -> code names or codes; every code used once."""

    codes: dict[str, int] | None = None
    classes: dict[str, list[str | int]]
    ignore: tuple[str | int, ...] = ()
    mean: list[str] | None = None

    @field_validator("codes", "classes", mode="before")
    @classmethod
    def _names_are_text(cls, value: Any) -> Any:
        for key, code in value.items() if isinstance(value, dict) else ():
            if isinstance(code, str) and not code.strip().isdecimal():
                if not isinstance(key, str) or key.strip().isdecimal():
                    raise ValueError(f"the name comes first: '{code}: {key}', not '{key}: {code}'")
            elif not isinstance(key, str):
                raise ValueError(
                    f"the name {key!r} is no text to YAML, as numbers, yes, no, on, off and null "
                    f"are not: write it in quotes"
                )
        return value


class Files(Strict):
    """Which files of a plain folder are images and which masks: two folders, or what a mask's stem
    has beyond its image's, or a CSV of pairs (columns image, mask, and patient, site if known)."""

    images: str | None = None
    masks: str | None = None
    mask_suffix: str | None = None
    pairs: str | None = None
    instances: bool | None = Field(
        None, description="masks number objects from 1: every number above 0 is code 1"
    )


def _kind_of_label_map(value: Any) -> str:
    return "(mapping)" if isinstance(value, dict | CustomLabelMap) else "(name)"


#: what can change a number. The second row is newer: it counts only where it is set, so that
#: suites that do not set it keep the fingerprints of their results
NUMBERS = (
    *("name", "phantom", "label_map", "split", "protocol", "mpp", "tile", "tracks", "prompting"),
    *("clip", "budget"),
)
NUMBERS_IF_SET = ("reader", "files", "colours", "patient_pattern", "site_pattern")

_HEX = re.compile(r"#?([0-9a-fA-F]{6})$")


class Suite(Strict):
    """A validated suite, preset applied."""

    name: Annotated[str, AfterValidator(names.validator("suite"))]  # a folder of the workspace
    summary: str = ""
    phantom: Phantom | None = None
    label_map: Annotated[
        Annotated[str, Tag("(name)")] | Annotated[CustomLabelMap, Tag("(mapping)")],
        Discriminator(_kind_of_label_map),
    ]
    split: str = "brief"
    protocol: Literal["native", "squash1024"] = "native"
    mpp: float = Field(0.30, gt=0, description="um per pixel; BCSS file names say 0.25, see docs")
    tile: Tile = Tile()
    tracks: tuple[Track, ...] = Field(TRACKS, min_length=1)
    prompting: PromptingSet = PromptingSet()
    clip: Clip = Clip()
    budget: Budget = Budget(epochs=100)
    floors: tuple[str, ...] | None = Field(
        None, description="backends run beside every other; default: all that are floors"
    )
    criteria: tuple[Criterion, ...] = ()
    highlight: str | None = Field(
        None, description="a class to light up wherever results are shown; it changes no number"
    )
    default_preset: Preset = "full"
    flaws: tuple[str, ...] = Field((), description="known faults; with any, nothing is ranked")
    file: str | None = Field(None, description="set when read: the suite file of a user's own")
    reader: str | None = Field(None, description="of the data; by default the one that fits")
    files: Files | None = None
    colours: dict[str, str] | None = Field(
        None, description="of colour-coded masks: code or its name -> '#rrggbb'"
    )
    patient_pattern: str | None = Field(
        None, description="regular expression: its group, searched in an ROI's name, is the patient"
    )
    site_pattern: str | None = Field(None, description="likewise for the institute")

    @field_validator("patient_pattern", "site_pattern")
    @classmethod
    def _pattern_compiles(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        return value

    @field_validator("colours", mode="before")
    @classmethod
    def _codes_are_text(cls, value: Any) -> Any:
        """YAML reads a code as a number, JSON as text: text it is."""
        for key, colour in value.items() if isinstance(value, dict) else ():
            if colour is None:
                raise ValueError(f"{key} has no colour: after '#' YAML reads nothing; use quotes")
        return (
            {str(key): colour for key, colour in value.items()}
            if isinstance(value, dict)
            else value
        )

    @field_validator("colours")
    @classmethod
    def _colours_are_distinct(cls, value: dict[str, str] | None) -> dict[str, str] | None:
        seen: dict[str, str] = {}
        for code, colour in (value or {}).items():
            if not _HEX.match(colour):
                raise ValueError(f"'{colour}' of {code} is not a colour such as '#ff8800'")
            if (other := seen.setdefault(colour.lstrip("#").lower(), code)) != code:
                raise ValueError(f"{code} and {other} have one colour, {colour}")
        return value

    def labels(self, table: dict[str, int] | None = None) -> LabelMap:
        """The label map, resolved through the dataset's code table."""
        if isinstance(self.label_map, str):
            return label_map(self.label_map, table)
        raw = self.label_map.model_dump()
        return build_label_map(self.name, raw, self.label_map.codes or table or official_codes())

    @property
    def has_bcss_codes(self) -> bool:
        """Whether masks are read with BCSS's codes, unless the data has a table of its own."""
        return isinstance(self.label_map, str) or self.label_map.codes is None

    def reading(self) -> Reading:
        """How the suite's files are read. Raises SuiteError for a colour of no code."""
        files = self.files or Files()
        return Reading(
            reader=self.reader,
            patient_pattern=self.patient_pattern,
            site_pattern=self.site_pattern,
            colours=self._colour_table(),
            **files.model_dump(),
        )

    def _colour_table(self) -> dict[Colour, int]:
        custom = self.label_map if isinstance(self.label_map, CustomLabelMap) else None
        codes = (custom.codes if custom else None) or official_codes()
        table: dict[Colour, int] = {}
        for key, text in (self.colours or {}).items():
            code = int(key) if key.isdecimal() else codes.get(key)
            if code is None:
                raise SuiteError(
                    f"Suite '{self.name}', colours: there is no code named '{key}'. "
                    f"Known: {', '.join(codes)}."
                )
            red, green, blue = bytes.fromhex(text.lstrip("#"))
            table[red, green, blue] = code
        return table

    def fingerprint(self) -> str:
        """SHA-256 of what can change a number: NUMBERS, and NUMBERS_IF_SET where set."""
        content = self.model_dump(include=set(NUMBERS))
        content["prompting"] = self.prompting.numbers()
        content |= self.model_dump(include=set(NUMBERS_IF_SET), exclude_none=True)
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def load_suite(path: Path, preset: Preset | None = None) -> tuple[Suite, Preset]:
    """Read a suite file, apply ``preset`` (default: the suite's own). Raises SuiteError."""
    raw = _mapping(path)
    presets = raw.pop("presets", None) or {}
    if wrong := _presets_problem(presets):
        raise SuiteError(f"Suite {path}: presets{wrong[0]}: {wrong[1]}")
    chosen: Preset = preset or raw.get("default_preset", "full")
    raw.setdefault("name", path.stem)
    try:
        suite = Suite.model_validate(merge(raw, presets.get(str(chosen)) or {}))
    except ValidationError as error:
        raise SuiteError(f"Suite {path}: {explain(error, Suite)}") from error
    try:
        labels = suite.labels()
    except InputError as error:  # a label map that nobody knows
        raise SuiteError(f"Suite {path}: label_map: {error}") from error
    for criterion in suite.criteria:
        _check_metric(criterion, labels, path)
    for setting, problem in _misfits(suite, labels):
        raise SuiteError(f"Suite {path}: {setting}: {problem}")
    return suite, chosen


def _mapping(path: Path) -> dict[str, Any]:
    """The settings in a suite file. Raises SuiteError."""
    try:
        raw = yaml_text.load(_text(path))
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise SuiteError(f"The suite file {path} cannot be read: {_first_line(error)}") from error
    if not isinstance(raw, dict):
        raise SuiteError(f"The suite file {path} is not a mapping of settings.")
    return raw


def _text(path: Path) -> str:
    """Raises OSError and ValueError: for folders, pipes and devices too, which may never end."""
    if path.exists() and not path.is_file():
        raise ValueError("it is no regular file")
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"it has more than {MOST_BYTES:,} bytes, which is no suite")
    return path.read_text(encoding="utf-8")


def _first_line(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return str(error)


def _presets_problem(presets: Any) -> tuple[str, str] | None:
    """(where, what) is wrong with a ``presets`` section, or None."""
    if not isinstance(presets, dict):
        return "", "they must map full or smoke to settings"
    for name, over in presets.items():
        if not isinstance(over, (dict, type(None))):
            return f".{name}", "must be a mapping of settings"
    return None


def _misfits(suite: Suite, labels: LabelMap) -> Iterator[tuple[str, str]]:
    """(setting, sentence) for what a suite says of data that its other settings contradict."""
    readers = known_readers()
    if suite.reader is not None and suite.reader not in readers:
        yield "reader", str(UnknownNameError("reader", suite.reader, readers))
    try:
        suite.reading()
    except SuiteError as error:
        yield "colours", str(error)
    if not FINEST <= suite.mpp <= COARSEST:
        # Every size in um follows from it. ``Suite`` itself takes it: records may hold it.
        unit, factor = ("nanometres", 1e-3) if suite.mpp > COARSEST else ("millimetres", 1e3)
        yield (
            "mpp",
            f"expected um per pixel, from {FINEST:g} to {COARSEST:g}: {suite.mpp:g} {unit} are "
            f"{suite.mpp * factor:g}",
        )
    for name in labels.mean:
        if labels.mean.count(name) > 1:
            yield "label_map", f"'{name}' is in 'mean' twice, and would count twice. Keep one."
            break
    plain: dict[str, str] = {}
    for name in labels.class_names:
        if (other := plain.setdefault(plain_name(name), name)) != name:
            yield (
                "label_map",
                f"the classes '{other}' and '{name}' differ in capitals, blanks or dashes alone, "
                f"by which label maps of others are not told apart. Rename one.",
            )
    if suite.tile.overlap >= suite.tile.size:
        yield (
            "tile",
            f"tiles of {suite.tile.size} px cannot overlap by {suite.tile.overlap} px. Give both, "
            f"such as {{size: {suite.tile.size}, overlap: {suite.tile.size // 4}}}.",
        )
    if suite.highlight is not None and suite.highlight not in labels.class_names:
        known = ", ".join(labels.class_names)
        yield "highlight", f"there is no class '{suite.highlight}'. Known: {known}."


def _check_metric(criterion: Criterion, labels: LabelMap, path: Path) -> None:
    """Raises SuiteError for a metric that nobody registered, a class that is not one, a bound on
    the wrong side, or none."""
    metrics = registry.load().metrics
    known = ["mean_dice", "clip_accuracy", "stability"]
    known += [f"{metric}.{name}" for metric in metrics for name in labels.class_names]
    if criterion.metric not in known:
        near = UnknownNameError("metric", criterion.metric, known)
        raise SuiteError(f"Suite {path}: {near}")
    entry = metrics.get(criterion.metric.partition(".")[0])
    lower = entry is not None and entry.info.direction == "lower"
    bounds = criterion.at_least, criterion.at_most
    right, wrong = reversed(bounds) if lower else bounds
    if criterion.metric == "stability":
        if bounds != (None, None):
            raise SuiteError(f"Suite {path}: stability is judged without a bound: leave it out.")
    elif wrong is not None or right is None:
        better, bound = ("lower", "at_most") if lower else ("higher", "at_least")
        raise SuiteError(
            f"Suite {path}: {criterion.metric} is better {better}: give its bound as {bound}."
        )


def find_suite(name: str, known: dict[str, Path]) -> Path:
    """A registered suite's file, or the path of a user's own. Raises UnknownNameError."""
    if name in known:
        return known[name]
    if name.lower().endswith(yaml_text.ENDINGS):
        return Path(name)
    left_out = registry.load().left_out
    without = f" BENCHBCSS_PLUGINS leaves out: {', '.join(left_out)}." if left_out else ""
    hint = f"Or pass the path of a suite file (.yaml).{without}"
    raise UnknownNameError("suite", name, known, hint)


def mistakes(path: Path) -> list[str]:
    """Every mistake in a suite file, as "FILE:LINE: what"; empty for a valid one."""
    try:
        text = _text(path)
    except (OSError, ValueError) as error:
        return [f"{path}: cannot be read: {error}"]
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        raw = yaml_text.load(text)
    except (ValueError, RecursionError) as error:  # a date that is none, brackets without end
        return [f"{path}:1: cannot be read: {_first_line(error)}"]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        return [f"{path}:{line}: not YAML: {getattr(error, 'problem', None) or error}"]
    if not isinstance(raw, dict) or node is None:
        return [f"{path}:1: not a mapping of settings"]
    raw.setdefault("name", path.stem)
    presets = raw.pop("presets", None) or {}
    if not isinstance(presets, dict):
        return [f"{path}:{_line(node, ('presets',))}: presets must map full or smoke to settings"]
    problems: dict[str, None] = {}
    if wrong := _presets_problem(presets):
        line = _line(node, ("presets", wrong[0].removeprefix(".")))
        return [f"{path}:{line}: presets{wrong[0]}: {wrong[1]}"]
    for name in presets:
        if name not in get_args(Preset):
            line = _line(node, ("presets", name))
            problems[f"{path}:{line}: presets: there is no '{name}'. Known: full, smoke"] = None
    for name in get_args(Preset):
        over = presets.get(name) or {}
        try:
            suite = Suite.model_validate(merge(raw, over))
        except ValidationError as error:
            for where, what in entries(error, Suite):
                # What a preset overrides is to be mended there.
                in_preset = ("presets", name, *where)
                line = _line(node, in_preset if _has(over, where) else where)
                label = ".".join(str(step) for step in where) or "top level"
                problems[f"{path}:{line}: {label}: {what}"] = None
            continue
        try:
            labels = suite.labels()
        except BenchError as error:
            problems[f"{path}:{_line(node, ('label_map',))}: label_map: {error}"] = None
            continue
        for index, criterion in enumerate(suite.criteria):
            try:
                _check_metric(criterion, labels, path)
            except SuiteError as error:
                line = _line(node, ("criteria", index, "metric"))
                what = str(error).removeprefix(f"Suite {path}: ")
                problems[f"{path}:{line}: criteria: {what}"] = None
        for setting, problem in _misfits(suite, labels):
            problems[f"{path}:{_line(node, (setting,))}: {setting}: {problem}"] = None
    return list(problems)


def _has(content: Any, where: tuple[str | int, ...]) -> bool:
    """Whether nested ``content`` says anything on the way to ``where``."""
    return bool(where) and isinstance(content, dict) and where[0] in content


def _line(node: yaml.Node, where: tuple[str | int, ...]) -> int:
    """Line (from 1) of the deepest node of ``where`` that the file has."""
    line = node.start_mark.line + 1
    for step in where:
        if isinstance(node, yaml.MappingNode):
            pairs = {key.value: (key, value) for key, value in node.value}
            if str(step) not in pairs:
                return line
            key, node = pairs[str(step)]
            line = key.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            if step >= len(node.value):
                return line
            node = node.value[step]
            line = node.start_mark.line + 1
    return int(line)
