"""The commands under `prefrontal knowledge`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prefrontal.cli import options
from prefrontal.cli.edge import edge
from prefrontal.cli.encoder_commands import Encoder, embed, encoder_app
from prefrontal.cli.options import place, system_clock
from prefrontal.cli.screen import Screen

knowledge_app = typer.Typer(
    name="knowledge",
    help="Take files into engrams, search them, and get them back.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

knowledge_app.add_typer(encoder_app)
knowledge_app.command()(embed)

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="The engram, as `prefrontal knowledge list` shows it, or the path of its file.")
]
Engram = Annotated[
    str, typer.Option("--engram", "-e", metavar="NAME", help="The engram, made when there is none; or the path of its file.")
]
Glob = Annotated[
    list[str] | None,
    typer.Option("--glob", "-g", metavar="GLOB", help="Only files that match, as *.py or docs/**; may be given again."),
]
Exclude = Annotated[
    list[str] | None, typer.Option("--exclude", metavar="GLOB", help="Leave out files that match; may be given again.")
]
Workers = Annotated[
    int | None,
    typer.Option(metavar="N", min=0, help="Processes that read and encode; left out: as many as help."),
]
K = Annotated[int, typer.Option("-k", metavar="N", min=1, max=1000, help="How many results.")]
Scope = Annotated[str, typer.Option(metavar="PATH", help="Only in this folder of the engram.")]
Type = Annotated[
    list[str] | None, typer.Option("--type", metavar="TYPE", help="Only this type, as python or pdf; may be given again.")
]
Mode = Annotated[
    str,
    typer.Option(
        metavar="MODE", help="lexical: by words; dense: by dense vectors; hybrid: by both; auto: by both where vectors help."
    ),
]
Version = Annotated[int | None, typer.Option(metavar="N", min=1, help="Of this version; left out: the newest.")]


@knowledge_app.command()
@edge
def ingest(
    engram: Engram,
    folders: Annotated[
        list[str] | None, typer.Argument(metavar="[FOLDER...]", help="Folders and files. - takes one document from the pipe.")
    ] = None,
    glob: Glob = None,
    exclude: Exclude = None,
    jsonl: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="A corpus, one object a line; - is the pipe; may be given again."),
    ] = None,
    id_field: Annotated[str, typer.Option(metavar="NAME", help="Field of the corpus with a document's id.")] = "_id",
    title_field: Annotated[str, typer.Option(metavar="NAME", help="Field with its title.")] = "title",
    text_field: Annotated[str, typer.Option(metavar="NAME", help="Field with its text.")] = "text",
    path_field: Annotated[
        str | None, typer.Option(metavar="NAME", help="Field with the path of the file it was taken from, where there is one.")
    ] = None,
    prefix: Annotated[str, typer.Option(metavar="PATH", help="Stands before the paths in the engram; for -, the name.")] = "",
    tag: Annotated[list[str] | None, typer.Option(metavar="TAG", help="A tag for the files; may be given again.")] = None,
    dim: Annotated[int, typer.Option(metavar="N", help="Dimensions of the vectors of a new engram.")] = 65_536,
    nonzeros: Annotated[int, typer.Option(metavar="N", help="Most non-zeros of a vector of a new engram.")] = 200,
    ternary: Annotated[bool, typer.Option("--ternary", help="Vectors of -1, 0 and 1 only, in a new engram.")] = False,
    gitignore: Annotated[
        bool, typer.Option("--gitignore/--no-gitignore", help="Whether what .gitignore names is left out.")
    ] = True,
    keep_binary: Annotated[bool, typer.Option("--keep-binary", help="Keep binary files too, to get them back.")] = False,
    workers: Workers = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Take files into an engram. Run again it takes up where it was stopped; `update` brings the engram up to date."""
    from prefrontal.cli import knowledge_ingest as room

    taking = room.Taking(
        engram=engram,
        folders=tuple(folders or ()),
        include=tuple(glob or ()),
        exclude=tuple(exclude or ()),
        corpora=tuple(jsonl or ()),
        fields=(id_field, title_field, text_field, path_field),
        prefix=prefix,
        tags=tuple(tag or ()),
        dim=dim,
        nonzeros=nonzeros,
        ternary=ternary,
        gitignore=gitignore,
        keep_binary=keep_binary,
        workers=workers,
    )
    room.ingest(taking, place(config), Screen(), system_clock(), as_json=as_json)


@knowledge_app.command()
@edge
def update(
    name: Name,
    full: Annotated[bool, typer.Option("--full", help="Read and hash every file, whatever its time stamp says.")] = False,
    since: Annotated[
        str | None, typer.Option(metavar="REV", help="Look only at what Git says has changed since this revision.")
    ] = None,
    workers: Workers = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Make an engram what its folders are now: changed files again, new ones too, lost ones gone. One new version."""
    from prefrontal.cli.knowledge_ingest import update as run

    run(name, place(config), Screen(), system_clock(), full=full, workers=workers, since=since, as_json=as_json)


@knowledge_app.command()
@edge
def search(
    name: Name,
    query: Annotated[str | None, typer.Argument(metavar="[QUERY]", help="What to look for.")] = None,
    k: K = 10,
    glob: Glob = None,
    scope: Scope = "",
    kind: Type = None,
    tag: Annotated[list[str] | None, typer.Option(metavar="TAG", help="Only files with this tag.")] = None,
    symbol: Annotated[list[str] | None, typer.Option(metavar="GLOB", help="Only in functions and classes that match.")] = None,
    vector_only: Annotated[bool, typer.Option("--vector-only", help="Leave the order to the vectors alone.")] = False,
    beam: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Look into the N best files only; for large engrams."),
    ] = None,
    phrases: Annotated[
        bool, typer.Option("--phrases", help='Every word, "phrase in order" and prefix* of the query must be there.')
    ] = False,
    mode: Mode = "auto",
    encoder: Encoder = None,
    queries: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Answer these, JSON lines with _id and text, by files; needs --run.")
    ] = None,
    run: Annotated[Path | None, typer.Option(metavar="OUT", help="Where the answers to --queries go, as JSON lines.")] = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Find passages, with where they stand and which words matched; or answer a file of queries."""
    from prefrontal.cli import knowledge as room
    from prefrontal.knowledge.installed import require

    require()
    from prefrontal.knowledge.search.filters import Filter

    where = Filter(
        paths=tuple(glob or ()), scope=scope, types=tuple(kind or ()), tags=tuple(tag or ()), symbols=tuple(symbol or ())
    )
    at, screen = place(config), Screen()
    way = room.Way(exact=not vector_only, beam=beam, phrases=phrases, mode=mode, encoder=encoder)
    if queries is not None or run is not None:
        if query is not None or queries is None or run is None:
            raise typer.BadParameter("--queries and --run go together, without a query")
        room.answer_all(name, queries, run, at, screen, system_clock(), k=k, where=where, way=way, as_json=as_json)
    elif query is None:
        raise typer.BadParameter("a query is needed")
    else:
        room.search(name, query, at, screen, k=k, where=where, way=way, as_json=as_json)


@knowledge_app.command()
@edge
def similar(
    name: Name,
    file: Annotated[
        str | None, typer.Argument(metavar="[PATH[:LINE]]", help="A file of the engram, or the passage of it with that line.")
    ] = None,
    duplicates: Annotated[bool, typer.Option("--duplicates", help="Find passages that are nearly the same instead.")] = False,
    least: Annotated[float, typer.Option(metavar="COSINE", help="Least similarity of duplicates.")] = 0.9,
    k: K = 10,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Find passages like one, or pairs that are nearly the same."""
    from prefrontal.cli import knowledge as room

    if duplicates == (file is not None):
        raise typer.BadParameter("either a file or --duplicates is needed")
    if file is None:
        room.duplicates(name, place(config), Screen(), k=k, least=least, as_json=as_json)
    else:
        room.similar(name, file, place(config), Screen(), k=k, as_json=as_json)


@knowledge_app.command()
@edge
def extract(
    name: Name,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Where the files go; made when it is missing.")],
    glob: Glob = None,
    version: Version = None,
    replace: Annotated[bool, typer.Option("--replace", help="Write over files that are there.")] = False,
    inside: Annotated[
        bool, typer.Option("--inside", help="Also what was read out of files: texts of PDFs and the like, members of archives.")
    ] = False,
    config: options.Config = None,
    as_json: options.Json = False,
) -> int:
    """Write files back, bit for bit, each checked against its hash. Exit status 1: some were refused, and are listed."""
    from prefrontal.cli.knowledge import extract as run

    at, globs = place(config), tuple(glob or ())
    return run(name, out, at, Screen(), globs=globs, version=version, replace=replace, inside=inside, as_json=as_json)


@knowledge_app.command()
@edge
def tree(
    name: Name,
    depth: Annotated[int, typer.Option(metavar="N", min=1, help="Levels of folders to show.")] = 2,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Show the folders of an engram with files, passages and bytes below each."""
    from prefrontal.cli.knowledge_view import tree as run

    run(name, depth, place(config), Screen(), as_json=as_json)


@knowledge_app.command()
@edge
def stats(name: Name, config: options.Config = None, as_json: options.Json = False) -> None:
    """Show what an engram holds, how its vectors are made, its versions and its size."""
    from prefrontal.cli.knowledge_view import stats as run

    run(name, place(config), Screen(), as_json=as_json)


@knowledge_app.command()
@edge
def history(name: Name, config: options.Config = None, as_json: options.Json = False) -> None:
    """List the versions of an engram, the newest first."""
    from prefrontal.cli.knowledge_view import history as run

    run(name, place(config), Screen(), as_json=as_json)


@knowledge_app.command()
@edge
def diff(
    name: Name,
    first: Annotated[int, typer.Argument(metavar="V1", help="A version, as `history` lists it.")],
    second: Annotated[int, typer.Argument(metavar="V2", help="Another one.")],
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Show which files differ between two versions, and how far apart their texts are."""
    from prefrontal.cli.knowledge_view import diff as run

    run(name, first, second, place(config), Screen(), as_json=as_json)


@knowledge_app.command()
@edge
def manifest(
    name: Name,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write here instead of to stdout.")] = None,
    version: Version = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Write the citation trail: every file and passage with its bytes, lines and hash. JSON, with or without --json."""
    from prefrontal.cli.knowledge_view import manifest as run

    run(name, out, place(config), Screen(), version=version, as_json=as_json)


@knowledge_app.command()
@edge
def verify(name: Name, config: options.Config = None, as_json: options.Json = False) -> int:
    """Check every byte against its hash, every passage, and every sum. Exit status 1: something is wrong, and is listed."""
    from prefrontal.cli.knowledge_view import verify as run

    return run(name, place(config), Screen(), as_json=as_json)


@knowledge_app.command()
@edge
def gc(
    name: Name,
    keep: Annotated[int, typer.Option(metavar="N", min=1, help="Newest versions to keep.")] = 1,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Remove what only older versions need."""
    from prefrontal.cli.knowledge_view import clear as run

    run(name, keep, place(config), Screen(), system_clock(), as_json=as_json)


@knowledge_app.command("list")
@edge
def list_(config: options.Config = None, as_json: options.Json = False) -> None:
    """List the engrams of this machine."""
    from prefrontal.cli.knowledge_view import list_engrams

    list_engrams(place(config), Screen(), as_json=as_json)
