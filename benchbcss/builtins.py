"""What ships with the core, registered by the same hooks as anyone's plugin."""

from __future__ import annotations

from collections.abc import Callable

from benchbcss.hookspecs import hookimpl
from benchbcss.protocols import MetricInfo


@hookimpl
def benchbcss_register_metrics(register: Callable[..., None]) -> None:
    for name, label, summary in (
        ("dice", "Dice", "2 TP / (2 TP + FP + FN)"),
        ("iou", "IoU", "TP / (TP + FP + FN)"),
        ("precision", "precision", "TP / (TP + FP)"),
        ("recall", "recall", "TP / (TP + FN)"),
    ):
        info = MetricInfo(name=name, label=label, summary=summary)
        register(info, f"benchbcss.scoring.per_class:{name}")


@hookimpl
def benchbcss_register_readers(register: Callable[..., None]) -> None:
    register("bcss", "benchbcss.data.bcss:BcssReader", "BCSS's layout")
    register("folders", "benchbcss.data.folders:FolderReader", "images and masks that pair")


@hookimpl
def benchbcss_register_augmentations(register: Callable[..., None]) -> None:
    for name, factory, summary in (
        ("flips", "Flips", "mirrored left to right, upside down, or both"),
        ("rot90", "QuarterTurns", "turned by a multiple of 90 degrees"),
        ("rotate", "Rotation", "turned by any angle up to a bound"),
        ("elastic", "ElasticDeformation", "bent smoothly (Simard et al. 2003)"),
        ("stain", "StainPerturbation", "H&E concentrations scaled and shifted"),
        ("color_jitter", "ColorJitter", "brightness, contrast, saturation and hue"),
        ("blur", "GaussianBlur", "blurred by a Gaussian"),
    ):
        register(name, f"benchbcss.training.augment:{factory}", summary)


@hookimpl
def benchbcss_register_executors(register: Callable[..., None]) -> None:
    register("local", "benchbcss.runs.executors.local:Local", "processes on this machine")


@hookimpl
def benchbcss_register_exporters(register: Callable[..., None]) -> None:
    for name, module, extension, summary in (
        ("table", "terminal", ".txt", "for a terminal"),
        ("json", "data", ".json", "everything, in one document"),
        ("csv", "data", ".csv", "one line per row and class"),
        ("md", "markdown", ".md", "GitHub-flavoured Markdown"),
        ("latex", "latex", ".tex", "booktabs tables"),
        ("html", "page", ".html", "one page that needs nothing else"),
    ):
        target = f"benchbcss.board.exporters.{module}:{name}"
        register(name, target, summary, extension=extension)


@hookimpl
def benchbcss_register_labellers(register: Callable[..., None]) -> None:
    register("clip", "benchbcss.inference.labellers:ClipText", "CLIP, the nearest text")


@hookimpl
def benchbcss_register_commands(register: Callable[..., None]) -> None:
    for name, module, summary in (
        ("run", "run", "Train, predict and score backends on a suite."),
        ("sweep", "sweep", "Try settings; validation chooses, only the chosen are tested."),
        ("evaluate", "evaluate", "Score a checkpoint made elsewhere, without training."),
        ("leaderboard", "leaderboard", "Show results, verdicts and failures."),
        ("cancel", "cancel", "Stop runs, at work here or in a cluster's queue."),
        ("status", "status", "Show what runs, what was interrupted, failed or is done."),
        ("show-roi", "show_roi", "Write an ROI's image, truth, prediction and errors as a PNG."),
        ("report", "report", "Write results as one HTML file to read, print and pass on."),
        ("compare", "compare", "Paired differences between backends, with intervals."),
        ("score", "score", "Score label maps made by any other tool."),
        ("rescore", "rescore", "Compute metrics anew from stored predictions."),
        ("runs", "runs", "List, show and remove runs of a workspace, and clean up."),
        ("backends", "listing", "List the backends."),
        ("suites", "listing", "List the suites."),
        ("plugins", "listing", "List plugins and what they add, broken ones with their reason."),
        ("show", "listing", "Show a backend's resolved recipe."),
        ("new-plugin", "new_plugin", "Write an installable package for a new backend."),
        ("check", "check", "Check that a backend keeps the contract."),
        ("data", "data", "Verify a BCSS folder, show statistics, write a phantom."),
        ("doctor", "doctor", "Examine this machine, weights and data; say what to do."),
        ("cite", "cite", "Print how to cite benchbcss, BCSS and the models that were run."),
        ("completion", "completion", "Print a script that makes a shell complete names."),
    ):
        register(name, f"benchbcss.cli.{module}:{name.replace('-', '_')}", summary)
