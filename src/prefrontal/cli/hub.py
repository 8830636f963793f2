"""The Hugging Face hub as `pull` sees it, through its own client (extra ``local``), loaded when it is used."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from prefrontal.cli.pull import HubFile
from prefrontal.config.reach import general_rule
from prefrontal.config.schema_egress import Egress
from prefrontal.errors import EgressDenied, NotAllowed, NotFound, PrefrontalError, ProviderUnreachable

T = TypeVar("T")
EVERYWHERE = Egress()
INSTALL = 'Install it with: pip install "prefrontal[local]"'


class HuggingFaceHub:
    """Reads repositories and downloads files. Access tokens are the client's own business (`HF_TOKEN`, ``hf auth login``).

    `egress` says which hosts may be contacted; redirects, such as those to a store of large files, are asked about one by one.
    quiet: no progress bar.
    """

    def __init__(self, *, egress: Egress = EVERYWHERE, quiet: bool = False) -> None:
        """Load the client.

        Raises:
            NotFound: it is not installed. EgressDenied: the hub may not be contacted.
        """
        try:
            self._hub: Any = import_module("huggingface_hub")
            self._errors: Any = import_module("huggingface_hub.errors")
            self._utils: Any = import_module("huggingface_hub.utils")
            constants: Any = import_module("huggingface_hub.constants")
        except ImportError as error:
            raise NotFound("Fetching models needs the package huggingface-hub.", hint=INSTALL) from error
        self._quiet = quiet
        if general_rule(egress) is not None:
            _restrict(egress, constants, self._utils)

    def files(self, repo: str) -> list[HubFile]:
        """See `Hub.files`."""
        info = self._call(repo, lambda: self._hub.HfApi().model_info(repo, files_metadata=True))
        return [
            HubFile(name=item.rfilename, size_bytes=item.size, sha256=getattr(item.lfs, "sha256", None) if item.lfs else None)
            for item in info.siblings or ()
        ]

    def download(self, repo: str, name: str, folder: Path) -> Path:
        """See `Hub.download`. Shows the client's progress bar on stderr."""
        if self._quiet:
            self._utils.disable_progress_bars()
        return Path(self._call(repo, lambda: self._hub.hf_hub_download(repo, name, local_dir=folder)))

    def _call(self, repo: str, work: Callable[[], T]) -> T:
        errors = self._errors
        try:
            return work()
        except EgressDenied:
            raise
        except errors.GatedRepoError as error:
            raise NotAllowed(
                f"{repo} wants its terms accepted first.", hint=f"Accept them at https://huggingface.co/{repo} and set HF_TOKEN."
            ) from error
        except errors.RepositoryNotFoundError as error:
            raise NotFound(
                f"There is no repository {repo} on the hub, or it is private.", hint="Check the name, or set HF_TOKEN."
            ) from error
        except errors.EntryNotFoundError as error:
            raise NotFound(f"{repo} has lost that file.", hint="Run the command again.") from error
        except errors.HfHubHTTPError as error:
            raise PrefrontalError(f"The hub answered with an error: {_first_line(error)}") from error
        except errors.LocalEntryNotFoundError as error:
            raise _offline() from error
        except Exception as error:  # an edge: the client lets its HTTP library's errors through, which change with its version
            if isinstance(error, OSError) and error.errno is not None and error.filename is not None:
                raise PrefrontalError(f"{error.filename}: {error.strerror}.") from error
            raise _offline(_first_line(error)) from error


def _offline(detail: str = "") -> ProviderUnreachable:
    said = f" ({detail})" if detail else ""
    return ProviderUnreachable(
        f"The hub cannot be reached{said}.",
        hint="Without a network, copy a .gguf file into the models folder by hand; `prefrontal doctor` names it.",
    )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _restrict(egress: Egress, constants: Any, utils: Any) -> None:
    """Let the client contact only what `egress` allows. Raises EgressDenied when the hub itself is not, or it cannot be held."""
    from prefrontal.execute.egress import egress_guard

    guard = egress_guard(lambda: egress)

    def check(url: str) -> None:
        try:
            guard(url)
        except EgressDenied as error:
            raise EgressDenied(error.message, hint="Add it to egress.allow to fetch models from it.") from error

    check(str(constants.ENDPOINT))
    try:
        http: Any = import_module("huggingface_hub.utils._http")
        make, install = http.default_client_factory, http.set_client_factory
    except (ImportError, AttributeError) as error:
        hint = "Update huggingface-hub, or copy the file into the models folder by hand."
        raise EgressDenied("This version of huggingface-hub cannot be held to egress.allow.", hint=hint) from error
    constants.HF_HUB_DISABLE_XET = True  # its transfers go past the client that is watched here

    def watched() -> Any:
        client = make()
        client.event_hooks["request"].append(lambda request: check(str(request.url)))
        return client

    install(watched)
