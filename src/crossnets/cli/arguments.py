"""Arguments that several commands share."""

from typing import Annotated, TypeAlias

import tyro

Source: TypeAlias = tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="SOURCE")]]
Sources: TypeAlias = tyro.conf.Positional[Annotated[tuple[str, ...], tyro.conf.arg(metavar="[SOURCE ...]")]]
