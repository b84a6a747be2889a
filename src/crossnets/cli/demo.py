"""The command `demo`."""

from pathlib import Path

from crossnets.cli.ending import end


def demo(
    out: Path = Path("demo"),
    budget: str = "60s",
    frames: int = 200,
    seed: int = 0,
    model: Path | None = None,
    open_page: bool = True,
) -> None:
    """Render hands, estimate them, train a small model, score both, and write one page.

    Example: crossnets demo --budget 2m

    Args:
        out: Folder for index.html and the run of the small model. An earlier demo there is replaced.
        budget: Time for the training, such as 60s or 5m.
        frames: Number of hands.
        seed: Seed of the hands and of the training.
        model: Run or model folder instead of the model of the package.
        open_page: --no-open-page prints the path of the page only, as happens without a display.
    """
    from crossnets.demo.command import demo_command
    from crossnets.training import presets
    from crossnets.training.loop import DivergedError, TrainingStoppedError

    try:
        demo_command(
            presets.crossnets(seed=seed), out=out, budget=budget, frames=frames, model=model, open_page=open_page
        )
    except TrainingStoppedError:
        end("The demo was stopped; the next one begins anew.", 130)
    except DivergedError as error:
        end(str(error), 1)
