"""Run an index as a program, for tests whose clients live in containers or in other processes.

    python -m index --port 0 --github octo/demo:release.yml:demo --gitlab octo/demo:.gitlab-ci.yml:demo

The first line that is printed is JSON: `url`, `token` (an API token), `authority` (a certificate), `github` and
`gitlab` (the environments of jobs). `/-/requests` shows the log of requests. It ends with SIGTERM or SIGINT.
"""

from __future__ import annotations

import argparse
import json
import signal
import threading

from index import GitHubPublisher, GitLabPublisher, LocalIndex, Settings


def main() -> None:
    arguments = _arguments()
    settings = Settings(token_lifetime=arguments.token_lifetime, lag=arguments.lag)
    with LocalIndex(
        tls=arguments.tls,
        host=arguments.host,
        port=arguments.port,
        public_host=arguments.public_host,
        settings=settings,
    ) as index:
        for text in arguments.github:
            repository, workflow, project = text.split(":")
            index.trust(GitHubPublisher(project=project, repository=repository, workflow=workflow))
        for text in arguments.gitlab:
            path, workflow, project = text.split(":")
            index.trust(GitLabPublisher(project=project, project_path=path, workflow=workflow))
        print(json.dumps(_card(index)), flush=True)
        ended = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: ended.set())
        ended.wait()


def _card(index: LocalIndex) -> dict[str, object]:
    return {
        "url": index.url,
        "token": index.api_token(),
        "authority": str(index.authority),
        "github": index.github_environment(),
        "gitlab": index.gitlab_environment(),
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m index")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--public-host", help="what clients call this machine")
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--github", action="append", default=[], metavar="OWNER/REPO:WORKFLOW:PROJECT")
    parser.add_argument("--gitlab", action="append", default=[], metavar="GROUP/PROJECT:FILE:PROJECT")
    parser.add_argument("--token-lifetime", type=float, default=900.0, metavar="SECONDS")
    parser.add_argument("--lag", type=int, default=0, metavar="REQUESTS")
    return parser.parse_args()


if __name__ == "__main__":
    main()
