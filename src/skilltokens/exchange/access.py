"""The way to a Hugging Face Hub: its client, loaded when it is used, and one sentence for whatever that raises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from skilltokens.types import SettingError, SkilltokensError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

PATIENCE = 30.0
"""Seconds without an answer, or without another byte of it, after which a connection has failed."""
LOGIN = "log in with `hf auth login`, or set HF_TOKEN"


def hub_api(endpoint: str | None, error: type[SkilltokensError], token: str | None = None) -> HfApi:
    """The client of a Hub; its `endpoint` is the address, without a slash at the end.

    Args:
        endpoint: the address; None: the environment variable HF_ENDPOINT, or https://huggingface.co.
        error: what to raise where huggingface_hub is missing.
        token: None: HF_TOKEN, or that of `hf auth login`.

    Raises:
        SettingError: the endpoint is no address.
    """
    if endpoint is not None and not endpoint.startswith(("http://", "https://")):
        raise SettingError(f"{endpoint!r} is no address of a Hub: it begins with https://")
    try:
        from huggingface_hub import HfApi, constants
    except ImportError as problem:
        raise error('the Hub needs huggingface_hub: run `pip install "skilltokens[hub]"`') from problem
    return HfApi(endpoint=(endpoint or constants.ENDPOINT).rstrip("/"), token=token)


def sentence(
    problem: Exception, repository: str, revision: str, endpoint: str, kind: Literal["dataset", "model"]
) -> str:
    """One sentence for what huggingface_hub raised. Its classes move between versions, so names are compared."""
    kinds = {cls.__name__ for link in _chain(problem) for cls in type(link).__mro__}
    page = f"{endpoint}/datasets/{repository}" if kind == "dataset" else f"{endpoint}/{repository}"
    if "OfflineModeIsEnabled" in kinds:
        return "HF_HUB_OFFLINE is set: unset it to reach the Hub"
    if "GatedRepoError" in kinds:
        return f"{repository} asks for consent: give it at {page} and {LOGIN}"
    if "RepositoryNotFoundError" in kinds:
        what = "public data set" if kind == "dataset" else "repository that you may read called"
        return f"{endpoint} has no {what} {repository!r}: check its name, or {LOGIN}"
    if "RevisionNotFoundError" in kinds:
        return f"{repository} has no revision {revision!r}: check its name"
    if "EntryNotFoundError" in kinds and "LocalEntryNotFoundError" not in kinds:
        return f"{repository} was changed meanwhile: run the same command again"
    if "HFValidationError" in kinds:
        return f"{repository!r} cannot name a repository: it is OWNER/NAME"
    if "Invalid metadata" in str(problem):
        said = "; ".join(line.strip("- ") for line in str(problem).splitlines()[1:])
        return f"{endpoint} does not take the model card ({said[:300]}): say it otherwise"
    answer = next((link for link in _chain(problem) if getattr(link, "response", None) is not None), None)
    if answer is not None:
        return _refused(answer, repository, endpoint)
    reason = _first_line(_chain(problem)[-1])
    return f"{endpoint} could not be reached ({reason}): check the connection, or name a mirror with --endpoint"


def _refused(problem: Any, repository: str, endpoint: str) -> str:
    """One sentence for an answer of the Hub that is none of its named ones."""
    status = int(problem.response.status_code)
    said = _first_line(getattr(problem, "server_message", None) or problem)
    match status:
        case 401:
            return f"{endpoint} does not know who you are ({said}): {LOGIN}"
        case 403:
            return f"{endpoint} does not allow that at {repository} ({said}): use a token that has the right to"
        case 409 | 412:
            return f"{repository} was changed meanwhile ({said}): run the same command again"
        case 408 | 429:
            return f"{endpoint} is asked too much at once ({status}): wait a minute and run the same command again"
        case _ if status >= 500:
            return f"{endpoint} has a fault of its own ({status}): run the same command again later"
    return f"{endpoint} refuses {repository} ({status}: {said}): check its name and your rights there"


def _chain(problem: BaseException) -> list[BaseException]:
    """A problem and what caused it: huggingface_hub wraps a broken connection in other errors."""
    links = [problem]
    while (cause := links[-1].__cause__) is not None and cause not in links:
        links.append(cause)
    return links


def _first_line(said: object) -> str:
    lines = [line.strip() for line in str(said).splitlines() if line.strip()]
    return (lines[0] if lines else type(said).__name__)[:160]
